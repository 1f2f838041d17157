package sshhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tengil/tengil/engine"
)

// sshLink is one connection to a node, made anew when it was lost.
type sshLink struct {
	name string
	make func(context.Context) (*chain, error)
	ping time.Duration // between two pings
	log  *slog.Logger

	lock   chan struct{} // held while connecting; a channel, so that waiting can be cancelled
	live   *chain        // nil if there is no connection; guarded by lock
	number int           // of live, or of the last one; guarded by lock
	closed bool          // guarded by lock
	wg     sync.WaitGroup
}

func newSSHLink(name string, ping time.Duration, dial func(context.Context) (*chain, error)) *sshLink {
	return &sshLink{name: name, make: dial, ping: ping, lock: make(chan struct{}, 1)}
}

var errClosed = errors.New("host is closed")

func (l *sshLink) connect(ctx context.Context) (int, error) {
	_, number, err := l.client(ctx)
	return number, err
}

// client returns the connection and its number; it connects if need be.
func (l *sshLink) client(ctx context.Context) (*chain, int, error) {
	select {
	case l.lock <- struct{}{}:
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	}
	defer func() { <-l.lock }()
	if l.closed {
		return nil, 0, fmt.Errorf("%s: %w", l.name, errClosed)
	}
	if l.live != nil {
		return l.live, l.number, nil
	}
	c, err := l.make(ctx)
	if err != nil {
		return nil, 0, transientNet(err)
	}
	l.live = c
	l.number++
	l.wg.Go(func() { l.watch(c) })
	return c, l.number, nil
}

// transientNet marks errors of the network, which may be gone in a moment; those of
// names, keys and logins are not.
func transientNet(err error) error {
	var op *net.OpError
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return err
	}
	if errors.As(err, &op) || errors.Is(err, io.EOF) {
		return engine.Transient(err)
	}
	return err
}

// watch keeps a connection alive until it ends, and then forgets it.
func (l *sshLink) watch(c *chain) {
	ctx, cancel := context.WithCancel(context.Background())
	var alive sync.WaitGroup
	alive.Go(func() {
		keepAlive(ctx, l.ping, func() error {
			_, _, err := c.last().SendRequest("keepalive@openssh.com", true, nil)
			return err
		}, func() {
			l.log.Warn("connection does not answer")
			c.close()
		})
	})
	_ = c.last().Wait()
	close(c.ended)
	cancel()
	c.close()
	alive.Wait()
	l.forget(c)
}

func (l *sshLink) forget(c *chain) {
	l.lock <- struct{}{}
	defer func() { <-l.lock }()
	if l.live == c {
		l.live = nil
	}
}

// aliveMissed is ServerAliveCountMax of ssh.
const aliveMissed = 3

// keepAlive calls ping every interval until ctx ends or ping fails, and lost when
// aliveMissed intervals went by since the oldest ping without an answer. ping
// must return once lost was called.
func keepAlive(ctx context.Context, interval time.Duration, ping func() error, lost func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	answers := make(chan error, 1)
	waiting, missed := false, 0
	for {
		select {
		case <-ctx.Done():
			if waiting {
				<-answers
			}
			return
		case err := <-answers:
			waiting, missed = false, 0
			if err != nil {
				return
			}
		case <-tick.C:
			if waiting {
				if missed++; missed == aliveMissed {
					lost()
				}
				continue
			}
			waiting = true
			go func() { answers <- ping() }()
		}
	}
}

func (l *sshLink) open(ctx context.Context, number int, script string) (*process, error) {
	return l.begin(ctx, number, script, nil)
}

// begin is open, on a terminal if t is not nil.
func (l *sshLink) begin(ctx context.Context, number int, script string, t *engine.Terminal) (*process, error) {
	c, now, err := l.client(ctx)
	if err != nil {
		return nil, err
	}
	if now != number {
		return nil, fmt.Errorf("%s: %w", l.name, errStale)
	}
	p, err := start(ctx, c, script, t)
	var refused *ssh.OpenChannelError
	switch {
	case err == nil:
		return p, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", l.name, context.Cause(ctx))
	case errors.As(err, &refused):
		return nil, engine.Transient(engine.WithHint(fmt.Errorf("%s: %w: %w", l.name, errRefused, refused),
			"sshd on the node allows as many at once as MaxSessions in sshd_config says; tg needs two or more"))
	case errors.Is(err, errStale):
		l.drop(c)
		return nil, fmt.Errorf("%s: %w", l.name, err)
	}
	return nil, engine.Transient(fmt.Errorf("%s: connection lost: %w", l.name, err))
}

// drop closes a connection that does not work.
func (l *sshLink) drop(c *chain) {
	l.lock <- struct{}{}
	defer func() { <-l.lock }()
	if l.live == c {
		c.close()
		l.live = nil
	}
}

// errEnded says that the connection ended while a session was made.
var errEnded = errors.New("it ended while a session was made")

// start runs script in a new session. If ctx ends first, the session is closed as
// soon as the server lets it. The end of the connection is watched for apart: a
// session that is asked for at that moment is waited for without end by x/crypto,
// which lets go of those it knows of before it stops to take new ones.
func start(ctx context.Context, c *chain, script string, t *engine.Terminal) (*process, error) {
	type started struct {
		p   *process
		err error
	}
	done := make(chan started, 1)
	go func() {
		p, err := startSession(c.last(), script, t)
		if ctx.Err() != nil && p != nil {
			p.close()
		}
		done <- started{p, err}
	}()
	select {
	case s := <-done:
		return s.p, s.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.ended:
	}
	select {
	case s := <-done: // it knows better what was lost
		return s.p, s.err
	case <-time.After(endedGrace):
		return nil, errEnded
	}
}

// endedGrace is how long what waits for a session has to hear that its connection
// has ended.
const endedGrace = time.Second

func startSession(client *ssh.Client, script string, t *engine.Terminal) (*process, error) {
	s, err := client.NewSession()
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errStale, err)
	}
	stdin, err := s.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := s.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := s.StderrPipe()
	if err != nil {
		return nil, err
	}
	if t != nil {
		if err := onTerminal(s, t); err != nil {
			s.Close()
			return nil, err
		}
	}
	if err := s.Start(script); err != nil {
		s.Close()
		return nil, err
	}
	return &process{
		stdin: stdin, stdout: stdout, stderr: stderr,
		wait: func() bool {
			err := s.Wait()
			var exit *ssh.ExitError
			return err == nil || errors.As(err, &exit)
		},
		resize: func(size engine.WindowSize) error { return s.WindowChange(size.Rows, size.Cols) },
		status: func() (int, bool) { return statusOf(s.Wait()) },
		close:  func() { _ = s.Close() },
	}, nil
}

// unreachable is why the SSH server could not connect, in its own words, without
// those of the protocol around them.
type unreachable struct{ open *ssh.OpenChannelError }

func (e *unreachable) Error() string {
	if e.open.Message == "" {
		return e.open.Error()
	}
	return e.open.Message
}

func (e *unreachable) Unwrap() error { return e.open }

// dial is DialContext of the last client, which ends with the connection; see start.
func (c *chain) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-c.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	return c.last().DialContext(ctx, network, addr)
}

func (l *sshLink) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, _, err := l.client(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := c.dial(ctx, network, addr)
	var refused *ssh.OpenChannelError
	switch {
	case err == nil:
		return conn, nil
	case errors.As(err, &refused) && refused.Reason == ssh.Prohibited:
		return nil, engine.WithHint(fmt.Errorf("connect from %s to %s: %w: %w", l.name, addr, engine.ErrForwarding, err),
			"sshd on the node must allow forwarding (AllowTcpForwarding yes or local)")
	case errors.As(err, &refused):
		return nil, fmt.Errorf("connect from %s to %s: %w", l.name, addr, &unreachable{refused})
	case ctx.Err() != nil:
		return nil, fmt.Errorf("connect from %s to %s: %w", l.name, addr, context.Cause(ctx))
	}
	return nil, engine.Transient(fmt.Errorf("connect from %s to %s: %w", l.name, addr, err))
}

func (l *sshLink) close() error {
	l.lock <- struct{}{}
	l.closed = true
	if l.live != nil {
		l.live.close()
	}
	<-l.lock
	l.wg.Wait()
	return nil
}
