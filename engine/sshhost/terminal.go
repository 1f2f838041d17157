package sshhost

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/ssh"

	"github.com/tengil/tengil/engine"
)

// runTerminal runs a program that talks to a person. There is no frame around it: a
// terminal carries what is typed and shown, and nothing else, so that the status
// is that of the session.
func (h *Host) runTerminal(ctx context.Context, c engine.Cmd, words string) (engine.Result, error) {
	after, err := auditScript(h.auditLog, c.Audit)
	if err != nil {
		return engine.Result{}, err
	}
	// The shell outlives what is typed and a lost connection, to write the log; the
	// program gets the signals as it would alone.
	script := "trap : HUP INT QUIT TERM 2>/dev/null\n(exec " + words + ")\ns=$?\n" + after + "exit $s\n"
	if len(script) > maxScript {
		return engine.Result{}, fmt.Errorf("%s: command of %d bytes is too long, wanted at most %d", c.Argv[0], len(script), maxScript)
	}
	var status int
	err = h.onConnection(ctx, func(number int) error {
		got, err := h.slots.take(ctx, false)
		if err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
		defer h.slots.give(got)
		h.trips.Add(1)
		status, err = h.link.terminal(ctx, number, script, c)
		return err
	})
	res := engine.Result{Exit: status}
	if err != nil || status == 0 {
		return res, err
	}
	return res, &engine.ExitError{Argv: c.Argv[:1], Exit: status}
}

func (l *sshLink) terminal(ctx context.Context, number int, script string, c engine.Cmd) (int, error) {
	p, err := l.begin(ctx, number, script, c.Terminal)
	if err != nil {
		return 0, err
	}
	defer p.close()
	stop := context.AfterFunc(ctx, p.close)
	defer stop()
	go func() { // hangs in Read until its owner ends it
		if _, err := io.Copy(p.stdin, c.Stdin); err == nil {
			_ = p.stdin.Close()
		}
	}()
	over := make(chan struct{})
	defer close(over)
	go func() {
		for {
			select {
			case size, ok := <-c.Terminal.Resized:
				if !ok {
					return
				}
				_ = p.resize(size) // it shows at the next size
			case <-over:
				return
			}
		}
	}()
	_, err = io.Copy(c.Stdout, p.stdout)
	status, ended := p.status()
	switch {
	case ctx.Err() != nil:
		return 0, fmt.Errorf("%s: %w", l.name, context.Cause(ctx))
	case err != nil:
		return 0, err
	case !ended:
		return 0, engine.Transient(fmt.Errorf("%s on %s: connection lost while it ran", c.Argv[0], l.name))
	}
	return status, nil
}

// onTerminal asks the server for a terminal, before the program starts there.
func onTerminal(s *ssh.Session, t *engine.Terminal) error {
	if err := s.RequestPty(t.Type, t.Size.Rows, t.Size.Cols, ssh.TerminalModes{}); err != nil {
		return engine.WithHint(fmt.Errorf("the server gives no terminal: %w", err), "PermitTTY in sshd_config on the node must be yes")
	}
	return nil
}

// statusOf returns the status that a session ended with, as a shell counts it.
func statusOf(err error) (status int, ended bool) {
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return 0, true
	case !errors.As(err, &exit):
		return 0, false
	case exit.Signal() != "":
		return 255, true
	}
	return exit.ExitStatus(), true
}
