//go:build unix

package sshhost_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/lab/labtest"
	"github.com/tengil/tengil/engine/sshhost"
)

func labHost(t *testing.T) engine.Host {
	t.Helper()
	l, err := lab.Open(t.Context(), lab.Options{Dir: labtest.TempDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	le := l.Endpoint()
	e := sshhost.Endpoint{Addr: le.Addr, User: le.User, HostKey: le.HostKey, KeyFile: le.ClientKey, Name: "lab"}
	return dialed(t, e, sshhost.Options{})
}

func TestATerminalCarriesWhatIsTypedAndShown(t *testing.T) {
	t.Parallel()
	h := labHost(t)
	for _, tt := range []struct {
		name, typed string
		argv        []string
		shown       string
		status      int
	}{
		{"lines are echoed and passed on", "hallo\x7f\x7f\x7f\x7fello\r\x04", []string{"cat"}, "hallo\b \b\b \b\b \b\b \bello\r\nhello\r\n", 0},
		{"the status is the program's", "", []string{"sh", "-c", "exit 7"}, "", 7},
		{"errors are shown too", "", []string{"sh", "-c", "echo bad >&2"}, "bad\r\n", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var shown bytes.Buffer
			typed, keys := io.Pipe()
			defer keys.Close()
			go func() { _, _ = io.WriteString(keys, tt.typed) }() // the program may end before
			res, err := h.Run(t.Context(), engine.Cmd{
				Argv: tt.argv, Stdin: typed, Stdout: &shown,
				Terminal: &engine.Terminal{Type: "xterm", Size: engine.WindowSize{Rows: 24, Cols: 80}},
			})
			var exit *engine.ExitError
			if errors.As(err, &exit) == (tt.status == 0) || res.Exit != tt.status {
				t.Errorf("status %d, error %v; want %d", res.Exit, err, tt.status)
			}
			if shown.String() != tt.shown {
				t.Errorf("shown %q, want %q", shown.String(), tt.shown)
			}
		})
	}
}

func TestATerminalIsHungUpWhenTheContextEnds(t *testing.T) {
	t.Parallel()
	h := labHost(t)
	ctx, cancel := context.WithCancel(t.Context())
	typed, keys := io.Pipe()
	defer keys.Close()
	echoed := &onWrite{do: cancel}
	go func() { _, _ = io.WriteString(keys, "x\r") }()
	_, err := h.Run(ctx, engine.Cmd{Argv: []string{"cat"}, Stdin: typed, Stdout: echoed, Terminal: &engine.Terminal{Type: "xterm"}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if res, err := h.Run(t.Context(), engine.Cmd{Argv: []string{"echo", "on"}}); err != nil || string(res.Stdout) != "on\n" {
		t.Errorf("the connection does not go on: %q, %v", res.Stdout, err)
	}
}

// An onWrite calls do when something is written.
type onWrite struct{ do func() }

func (w *onWrite) Write(b []byte) (int, error) { w.do(); return len(b), nil }

func TestATerminalOfThisMachineIsPassedOnAndAudited(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log", "audit.log")
	h := sshhost.Local(sshhost.Options{AuditLog: log})
	t.Cleanup(func() { h.Close() })
	var shown bytes.Buffer
	res, err := h.Run(t.Context(), engine.Cmd{
		Argv: []string{"sh", "-c", "cat; echo bad >&2; exit 7"}, Stdin: strings.NewReader("in\n"), Stdout: &shown,
		Terminal: &engine.Terminal{Type: "xterm"}, Audit: &engine.Audit{App: "app", Argv: []string{"sh"}},
	})
	var exit *engine.ExitError
	if !errors.As(err, &exit) || res.Exit != 7 || shown.String() != "in\nbad\n" {
		t.Errorf("status %d, %v, shown %q", res.Exit, err, shown.String())
	}
	line, err := os.ReadFile(log)
	if err != nil || !strings.Contains(string(line), `"app":"app","argv":["sh"],"stdin":true,"exit":7}`) {
		t.Errorf("logged %q, %v", line, err)
	}
}
