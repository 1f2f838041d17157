package pve

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEncodeEntrypoint(t *testing.T) {
	for _, c := range []struct {
		name string
		argv []string
		want string
	}{
		{"plain words stay bare", []string{"/bin/httpd", "-f", "$HOME", `a\b`, "*"}, `/bin/httpd -f $HOME a\b *`},
		{"blanks need quotes", []string{"sh", "-c", "exec sleep 9"}, `sh -c "exec sleep 9"`},
		{"double quotes inside", []string{"sh", "-c", `echo "a b"`, "x"}, `sh -c 'echo "a b"' x`},
		{"a quote inside a word stays bare", []string{"echo", "a'b"}, `echo a'b`},
		{"an empty argument", []string{"echo", ""}, `echo ""`},
		{"outer quotes of one kind change on one side", []string{"my prog", "last arg"}, `'my prog' "last arg"`},
		{"outer quotes that cannot change", []string{"it's one", "it's two"}, `/usr/bin/env "it's one" "it's two"`},
		{"one word in quotes", []string{"my prog"}, `/usr/bin/env "my prog"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := EncodeEntrypoint(c.argv)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestEncodeEntrypointRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		argv  []string
		wrong error
	}{
		{"nothing", nil, nil},
		{"an empty first word", []string{""}, nil},
		{"one word that env would take for a variable", []string{"A=b c"}, ErrUnwritable},
		{"both kinds of quotes with a blank", []string{"sh", "-c", `echo "it's"`}, ErrUnwritable},
		{"a newline", []string{"sh", "-c", "a\nb"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := EncodeEntrypoint(c.argv)
			if err == nil || c.wrong != nil && !errors.Is(err, c.wrong) {
				t.Errorf("got %q and error %v", got, err)
			}
		})
	}
}

// Where the process started, the arguments are those it saw. Captured: lxc-pve
// 6.0.5-3, 2026-11-23.
func TestSplitEntrypointAsLXC(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        []string
	}{
		{"outer quotes are removed first", `"/bin/sh" "-c" "exec sleep 9"`, []string{`/bin/sh"`, "-c"}},
		{"ShellQuote's quote breaks", `echo 'a'\''b'`, []string{"echo", "a", `\''b'`}},
		{"what an image's arguments became", `sh plain 'two words' 'a"b' 'a'\''b' 'x=y' 'back\slash' '#hash' ';' 'end'\'`,
			[]string{"sh", "plain", "two words", `a"b`, "a", `\''b'`, "x=y", `back\slash`, "#hash", ";", "end", `\'`}},
		{"an unterminated quote drops the rest", `/bin/sh -c 'exec sleep 1000`, []string{"/bin/sh", "-c"}},
		{"blanks around", "  /bin/sleep   1000  ", []string{"/bin/sleep", "1000"}},
		{"no comments", "/bin/sleep 1000 # comment", []string{"/bin/sleep", "1000", "#", "comment"}},
		{"empty arguments", `/bin/sh -c 'exec sleep 1000' '' "" x`, []string{"/bin/sh", "-c", "exec sleep 1000", "", "", "x"}},
		{"empty value", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, SplitEntrypoint(c.value)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Captured: pve-container 6.1.10, 2026-11-23: an image's command and the line it left.
func TestShellQuoteEntrypoint(t *testing.T) {
	for _, c := range []struct {
		argv []string
		want string
	}{
		{[]string{"/bin/httpd", "-f", "-v", "-p", "80", "-h", "/www"}, "/bin/httpd -f -v -p 80 -h /www"},
		{[]string{"/bin/sh", "-c", "trap 'exit 0' TERM"}, `/bin/sh -c 'trap '\''exit 0'\'' TERM'`},
		{[]string{"sh", "plain", "two words", `a"b`, "a'b", "x=y", "tab\tin", "*", `back\slash`, "#hash", ";", "end'"},
			`sh plain 'two words' 'a"b' 'a'\''b' 'x=y' 'tab` + "\t" + `in' '*' 'back\slash' '#hash' ';' 'end'\'`},
		{[]string{"zero", "", "two"}, "zero '' two"},
	} {
		if got := ShellQuoteEntrypoint(c.argv); got != c.want {
			t.Errorf("%q is quoted as %s, want %s", c.argv, got, c.want)
		}
	}
}

func FuzzEntrypoint(f *testing.F) {
	for _, s := range []string{"sh\x00-c\x00exec sleep 9", "a b\x00c d", "'\x00\"", "it's one\x00it's two", "x\x00\x00", "\"\x00\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, joined string) {
		SplitEntrypoint(joined)
		argv := strings.Split(joined, "\x00")
		s, err := EncodeEntrypoint(argv)
		if err != nil {
			return
		}
		got := SplitEntrypoint(s)
		if len(got) == len(argv)+1 && got[0] == "/usr/bin/env" {
			got = got[1:]
		}
		if diff := cmp.Diff(argv, got); diff != "" {
			t.Errorf("%q is written as %s (-want +got):\n%s", argv, s, diff)
		}
	})
}
