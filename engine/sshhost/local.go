package sshhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"sync"
	"time"

	"github.com/tengil/tengil/engine"
)

// Local returns the Host that tg runs on, without SSH.
func Local(o Options) *Host {
	name := o.Name
	if name == "" {
		name = "this node"
	}
	return newHost(name, &local{running: map[*exec.Cmd]io.Closer{}}, o)
}

// local starts shells on this machine.
type local struct {
	mu      sync.Mutex
	running map[*exec.Cmd]io.Closer // with its standard input
}

func (l *local) connect(context.Context) (int, error) { return 0, nil }

func (l *local) open(ctx context.Context, _ int, script string) (*process, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	// Not CommandContext: the frame ends the program, gently.
	cmd := exec.Command("/bin/sh", "-c", script)
	ownGroup(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a shell: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running[cmd] = stdin
	return &process{
		stdin: stdin, stdout: stdout, stderr: stderr,
		wait: func() bool { _ = cmd.Wait(); l.forget(cmd); return true },
		close: func() {
			if l.forget(cmd) {
				killGroup(cmd)
			}
			_ = stdout.Close()
			_ = stderr.Close()
		},
	}, nil
}

// terminal gives the program what tg itself reads and writes, which is a terminal
// already: it has the right size, and signals reach it.
func (l *local) terminal(ctx context.Context, _ int, script string, c engine.Cmd) (int, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script)
	cmd.Cancel = func() error { return hangUp(cmd.Process) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stdout
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), nil
	case errors.As(err, &exit):
		return 255, nil // a signal ended it
	}
	return 0, err
}

// forget reports whether cmd was not yet waited for: only then its process id is
// sure to be its own.
func (l *local) forget(cmd *exec.Cmd) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.running[cmd]
	delete(l.running, cmd)
	return ok
}

func (l *local) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// close cuts off what still runs, as the end of a connection would.
func (l *local) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, stdin := range l.running {
		_ = stdin.Close() // may be closed already
	}
	return nil
}
