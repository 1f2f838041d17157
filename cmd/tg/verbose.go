package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
)

// A teller is a host that tells what it is asked, once that is done: how long it took,
// how it ended, and the command. Questions of one batch share a line and its time.
type teller struct {
	engine.Host
	mu  *sync.Mutex
	out io.Writer
}

// telling returns h, with --verbose as one that tells.
func (s *session) telling(h engine.Host) engine.Host {
	if !s.verbose {
		return h
	}
	return &teller{Host: h, mu: &sync.Mutex{}, out: s.term.Err}
}

// RoundTrips returns those of the host, 0 if it does not count.
func (t *teller) RoundTrips() int64 {
	if c, ok := t.Host.(interface{ RoundTrips() int64 }); ok {
		return c.RoundTrips()
	}
	return 0
}

// Run tells of a command as the audit log does, with secrets masked.
func (t *teller) Run(ctx context.Context, c engine.Cmd) (engine.Result, error) {
	began := time.Now()
	res, err := t.Host.Run(ctx, c)
	argv := c.Argv
	if c.Audit != nil {
		argv = c.Audit.Argv
	}
	t.tell(began, err, ui.Command(argv))
	return res, err
}

// Batch tells of all questions.
func (t *teller) Batch(ctx context.Context, asks []engine.Ask) (*engine.Answers, error) {
	began := time.Now()
	a, err := t.Host.Batch(ctx, asks)
	lines := make([]string, 1, len(asks)+1)
	seen := map[string]bool{}
	for _, q := range asks {
		if seen[q.Key()] {
			continue
		}
		seen[q.Key()] = true
		text := q.String()
		if q.Argv() != nil {
			text = ui.Command(q.Argv())
		}
		lines = append(lines, text)
	}
	lines[0] = fmt.Sprintf("%d questions at once", len(lines)-1)
	t.tell(began, err, lines...)
	return a, err
}

// WriteFile tells of the file's name and size.
func (t *teller) WriteFile(ctx context.Context, f engine.File) error {
	began := time.Now()
	err := t.Host.WriteFile(ctx, f)
	t.tell(began, err, fmt.Sprintf("write %s, %s", f.Name, ui.Bytes(int64(len(f.Data)))))
	return err
}

// Hold tells of the lock.
func (t *teller) Hold(ctx context.Context, l engine.Lock) (io.Closer, error) {
	began := time.Now()
	held, err := t.Host.Hold(ctx, l)
	t.tell(began, err, "lock "+l.Path)
	return held, err
}

// tell writes one entry in one piece, as several commands run side by side.
func (t *teller) tell(began time.Time, err error, lines ...string) {
	how := ""
	var exit *engine.ExitError
	switch {
	case errors.As(err, &exit):
		how = fmt.Sprintf(" (exit status %d)", exit.Exit)
	case err != nil:
		how = " (not done)"
	}
	text := fmt.Sprintf("%s: %7.3fs  %s%s\n", t.Name(), time.Since(began).Seconds(), oneLine(lines[0]), how)
	for _, l := range lines[1:] {
		text += strings.Repeat(" ", len(t.Name())+12) + oneLine(l) + "\n"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = io.WriteString(t.out, text) // who does not listen does not hear
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", `\n`) }
