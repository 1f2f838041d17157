package sshhost

import (
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

func TestQuoteRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		argv []string
	}{
		{"nothing", nil},
		{"an empty program name", []string{""}},
		{"a program name that starts with a dash", []string{"-c"}},
		{"NUL in the program name", []string{"a\x00b"}},
		{"NUL in an argument", []string{"echo", "a\x00"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := quote(c.argv); err == nil {
				t.Errorf("got %q, want an error", got)
			}
		})
	}
}

func TestQuoteGlobLeavesOnlyStars(t *testing.T) {
	got, err := quoteGlob("/etc/pve/nodes/*/lxc/$(id)[a]?*.conf")
	if want := `'/etc/pve/nodes/'*'/lxc/$(id)[a]?'*'.conf'`; err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

// FuzzQuote sends two arguments through the real shell and through the parser that
// the lab uses; both must get them unchanged.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", " ", "'", `\`, "a\r\nb", "\n", "$(id)", "-n", "é", "\xff", "'\\''", "`", "!x", "\r", "\r\n\r\n"} {
		f.Add(s, s+"x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		words, err := quote([]string{"printf", `%s\0`, a, b})
		if strings.ContainsRune(a+b, 0) {
			if err == nil {
				t.Fatalf("%q, %q: want it refused", a, b)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(words) > maxScript {
			t.Skip("longer than an argument may be")
		}
		out, err := exec.Command("/bin/sh", "-c", words).Output()
		if want := a + "\x00" + b + "\x00"; err != nil || string(out) != want {
			t.Errorf("sh: got %q, %v; want %q", out, err, want)
		}
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			return // the parser takes UTF-8 only
		}
		if got := parsed(t, words); len(got) != 4 || got[2] != a || got[3] != b {
			t.Errorf("syntax: got %q, want %q and %q", got, a, b)
		}
	})
}

// parsed returns the words of one simple command.
func parsed(t *testing.T, script string) []string {
	t.Helper()
	file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(script), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Stmts) != 1 {
		t.Fatalf("%q: got %d statements, want 1", script, len(file.Stmts))
	}
	call, ok := file.Stmts[0].Cmd.(*syntax.CallExpr)
	if !ok {
		t.Fatalf("%q: not a simple command", script)
	}
	got, err := expand.Fields(&expand.Config{}, call.Args...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}
