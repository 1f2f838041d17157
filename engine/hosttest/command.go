package hosttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine"
)

// awkward are arguments that a shell would change if it saw them bare.
var awkward = []string{
	"plain", "", " ", "two words", " lead and trail ", "tab\there", "line\nfeed", "trailing\n", "cr\r\nlf", "cr\ralone",
	"'", "''", "it's", `"`, `a"b`, "`id`", "$(id)", "$HOME", "${HOME}", "$$", `\`, `\\`, `a\nb`, `\'`, "*", "?", "[a-z]", "{a,b}",
	"~", "~root", "!", "!!", "#", "a#b", ";", "a;b", "&", "&&", "|", "||", "<", ">", ">>", "(", ")", "=", "a=b", "-", "--", "-n", "--help",
	"%s", "%d%%", "héllo", "日本語", "🚀", "\x01\x1b[31m", "\x7f", strings.Repeat("long ", 4000),
}

// argvArrives has a shell script print its parameters, each followed by a mark.
func argvArrives(t *testing.T, s suite) {
	argv := append([]string{"sh", "-c", `for a in "$@"; do printf '%s<end>' "$a"; done`, "sh"}, awkward...)
	got := s.run(t, argv...)
	want := strings.Join(awkward, "<end>") + "<end>"
	if got != want {
		for i, g := range strings.Split(got, "<end>") {
			if i < len(awkward) && g != awkward[i] {
				t.Errorf("argument %d: got %.60q, want %.60q", i, g, awkward[i])
			}
		}
		t.Errorf("got %d bytes, want %d", len(got), len(want))
	}
}

func argvRefused(t *testing.T, s suite) {
	dir := s.fresh(t, "refused")
	for _, argv := range [][]string{
		nil, {""}, {"-x"}, {"--", "true"},
		{"mkdir", dir + "/made", "a\x00b"}, {"mk\x00dir", dir + "/made"},
	} {
		r, err := s.Run(t.Context(), engine.Cmd{Argv: argv})
		var exit *engine.ExitError
		if err == nil || errors.As(err, &exit) {
			t.Errorf("%q: got %v and %+v, want it refused", argv, err, r)
		}
	}
	if got := s.list(t, dir); got != "" {
		t.Errorf("made %q, want nothing", got)
	}
}

func exitStatus(t *testing.T, s suite) {
	for _, c := range []struct {
		name, script   string
		exit           int
		stdout, stderr string
	}{
		{"success", "echo out; echo err >&2", 0, "out\n", "err\n"},
		{"status 3", "echo out; echo err >&2; exit 3", 3, "out\n", "err\n"},
		{"status 255", "exit 255", 255, "", ""},
		{"no newline at the end", "printf out; printf err >&2; exit 1", 1, "out", "err"},
	} {
		t.Run(c.name, func(t *testing.T) {
			argv := []string{"sh", "-c", c.script}
			r, err := s.Run(t.Context(), engine.Cmd{Argv: argv})
			if string(r.Stdout) != c.stdout || string(r.Stderr) != c.stderr || r.Exit != c.exit {
				t.Errorf("got %q, %q, %d; want %q, %q, %d", r.Stdout, r.Stderr, r.Exit, c.stdout, c.stderr, c.exit)
			}
			var exit *engine.ExitError
			if c.exit == 0 {
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			if !errors.As(err, &exit) {
				t.Fatalf("got %v, want an *ExitError", err)
			}
			if exit.Exit != c.exit || string(exit.Stderr) != c.stderr || strings.Join(exit.Argv, " ") != strings.Join(argv, " ") {
				t.Errorf("got %+v", exit)
			}
		})
	}
	_, err := s.Run(t.Context(), engine.Cmd{Argv: []string{"no-such-program-here"}})
	var exit *engine.ExitError
	if !errors.As(err, &exit) || exit.Exit != 127 {
		t.Errorf("program that is not there: got %v, want exit status 127", err)
	}
}

func stdinArrives(t *testing.T, s suite) {
	big := bytes.Repeat([]byte("0123456789abcde\n"), 200_000) // over any window or pipe buffer
	for _, in := range [][]byte{nil, []byte("x"), []byte("0\nok\n0\n"), {0, 255, '\n', 0}, big} {
		// Without bytes.Reader's WriteTo, in pieces of any size.
		r, err := s.Run(t.Context(), engine.Cmd{Argv: []string{"cat"}, Stdin: io.MultiReader(bytes.NewReader(in))})
		if err != nil || !bytes.Equal(r.Stdout, in) {
			t.Errorf("%d bytes: got %d, %v", len(in), len(r.Stdout), err)
		}
	}
	r, err := s.Run(t.Context(), engine.Cmd{Argv: []string{"cat"}})
	if err != nil || len(r.Stdout) != 0 {
		t.Errorf("no input: got %q, %v", r.Stdout, err)
	}
}

func stdinLeft(t *testing.T, s suite) {
	big := bytes.Repeat([]byte("x"), 8<<20)
	r, err := s.Run(t.Context(), engine.Cmd{Argv: []string{"head", "-c", "3"}, Stdin: bytes.NewReader(big)})
	if err != nil || string(r.Stdout) != "xxx" {
		t.Errorf("got %q, %v", r.Stdout, err)
	}
	// A reader that never says anything must not keep the command.
	quiet, w := io.Pipe()
	defer w.Close()
	if _, err := s.Run(t.Context(), engine.Cmd{Argv: []string{"true"}, Stdin: quiet}); err != nil {
		t.Error(err)
	}
}

type brokenReader struct{ sent bool }

var errBroken = errors.New("disk on fire")

func (b *brokenReader) Read(p []byte) (int, error) {
	if b.sent {
		return 0, errBroken
	}
	b.sent = true
	return copy(p, "half"), nil
}

func stdinBroken(t *testing.T, s suite) {
	dir := s.fresh(t, "broken")
	script := `cat >"$1/part" && mv "$1/part" "$1/whole"`
	_, err := s.Run(t.Context(), engine.Cmd{Argv: []string{"sh", "-c", script, "sh", dir}, Stdin: &brokenReader{}})
	if !errors.Is(err, errBroken) {
		t.Errorf("got %v, want %v", err, errBroken)
	}
	if got := s.list(t, dir); strings.Contains(got, "whole") {
		t.Errorf("the program took a broken input for complete: %q", got)
	}
}

// counter counts what it is given.
type counter struct{ n, calls int }

func (c *counter) Write(p []byte) (int, error) {
	c.n += len(p)
	c.calls++
	return len(p), nil
}

func largeOutput(t *testing.T, s suite) {
	const size = 6 << 20
	var seen counter
	in := bytes.Repeat([]byte("line of output\n"), size/15)
	r, err := s.Run(t.Context(), engine.Cmd{Argv: []string{"cat"}, Stdin: bytes.NewReader(in), Stdout: &seen})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.Stdout, in) || seen.n != len(in) || seen.calls < 2 {
		t.Errorf("got %d bytes, and %d in %d writes; want %d", len(r.Stdout), seen.n, seen.calls, len(in))
	}
}

func hugeOutput(t *testing.T, s suite) {
	const size = 40 << 20
	var seen counter
	in := io.MultiReader(strings.NewReader("first\n"), io.LimitReader(zeros{}, size), strings.NewReader("last\n"))
	r, err := s.Run(t.Context(), engine.Cmd{Argv: []string{"cat"}, Stdin: in, Stdout: &seen})
	if err != nil {
		t.Fatal(err)
	}
	if seen.n != size+11 {
		t.Errorf("streamed %d bytes, want %d", seen.n, size+11)
	}
	if !bytes.HasPrefix(r.Stdout, []byte("first\n")) || !bytes.HasSuffix(r.Stdout, []byte("last\n")) ||
		!bytes.Contains(r.Stdout, []byte("bytes left out")) || len(r.Stdout) > 17<<20 {
		t.Errorf("kept %d bytes, want the first and last, and a note", len(r.Stdout))
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// liveOutput lets a program wait for its input between the words it says, so that
// neither stream can come late.
func liveOutput(t *testing.T, s suite) {
	r, w := io.Pipe()
	defer w.Close()
	out, errs := make(heard, 10), make(heard, 10)
	type ended struct {
		res engine.Result
		err error
	}
	done := make(chan ended, 1)
	go func() {
		res, err := s.Run(t.Context(), engine.Cmd{
			Argv:  []string{"sh", "-c", "echo one; echo two >&2; read x; echo three >&2; exit 5"},
			Stdin: r, Stdout: out, Stderr: errs,
		})
		done <- ended{res, err}
	}()
	out.wants(t, "one\n")
	errs.wants(t, "two\n")
	if _, err := io.WriteString(w, "go on\n"); err != nil {
		t.Fatal(err)
	}
	errs.wants(t, "three\n")
	d := <-done
	var exit *engine.ExitError
	if !errors.As(d.err, &exit) || exit.Exit != 5 || string(d.res.Stderr) != "two\nthree\n" {
		t.Errorf("got %+v, %v; want status 5 and all of standard error", d.res, d.err)
	}
	close(errs)
	for more := range errs {
		t.Errorf("standard error also got %q", more)
	}
}

// heard passes on what is written to it.
type heard chan string

func (h heard) Write(p []byte) (int, error) {
	h <- string(p)
	return len(p), nil
}

// wants waits for text, in whatever pieces.
func (h heard) wants(t *testing.T, text string) {
	t.Helper()
	for got := ""; got != text; {
		select {
		case p := <-h:
			got += p
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
		if !strings.HasPrefix(text, got) {
			t.Fatalf("got %q, want %q", got, text)
		}
	}
}

// holdAndSleep takes a lock, says so and sleeps for longer than any test.
func holdAndSleep(lock string) []string {
	return []string{"flock", lock, "sh", "-c", "echo locked; exec sleep 600"}
}

// signalled tells when something was written.
type signalled chan struct{}

func (s signalled) Write(p []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(p), nil
}

// free waits until nobody holds lock, or fails.
func (s suite) free(t *testing.T, lock string) {
	t.Helper()
	if _, err := s.Run(t.Context(), engine.Cmd{Argv: []string{"flock", "-w", "10", lock, "true"}}); err != nil {
		t.Errorf("the program still holds its lock: %v", err)
	}
}

func cancelEnds(t *testing.T, s suite) {
	lock := s.fresh(t, "cancel") + "/lock"
	ctx, cancel := context.WithCancel(t.Context())
	started := make(signalled, 1)
	done := make(chan error, 1)
	go func() {
		_, err := s.Run(ctx, engine.Cmd{Argv: holdAndSleep(lock), Stdout: started})
		done <- err
	}()
	select {
	case <-started:
	case err := <-done:
		t.Fatalf("ended before it was cancelled: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	s.free(t, lock)
}

func cancelEndsReader(t *testing.T, s suite) {
	dir := s.fresh(t, "cancel-reader")
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer w.Close()
	started := make(signalled, 1)
	done := make(chan error, 1)
	script := `head -c 4; cat >"$1/part" && mv "$1/part" "$1/whole"`
	go func() {
		_, err := s.Run(ctx, engine.Cmd{
			Argv:  []string{"flock", dir + "/lock", "sh", "-c", script, "sh", dir},
			Stdin: r, Stdout: started,
		})
		done <- err
	}()
	go func() { _, _ = w.Write([]byte("half of it")) }()
	<-started
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	s.free(t, dir+"/lock")
	if got := s.list(t, dir); strings.Contains(got, "whole") {
		t.Errorf("the program took a cut input for complete: %q", got)
	}
}

func cancelBefore(t *testing.T, s suite) {
	dir := s.fresh(t, "cancel-before")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Run(ctx, engine.Cmd{Argv: []string{"mkdir", dir + "/made"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if got := s.list(t, dir); got != "" {
		t.Errorf("made %q, want nothing", got)
	}
}
