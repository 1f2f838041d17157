package sshhost

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tengil/tengil/engine"
)

// An attempt is one login to a server, over a connection that is already there.
type attempt struct {
	ctx  context.Context // as long as the attempt, no longer
	hop  hop
	conn net.Conn
	// limit closes conn after hop.timeout. It is no deadline of conn, because a
	// connection through a jump host has none.
	limit *time.Timer
	late  atomic.Bool
	// hostKeyErr is why the host key was refused, which the handshake hides in text.
	hostKeyErr func() error
	// credentials is called once the host is known and asks who we are.
	credentials func() *credentials
}

func newAttempt(ctx context.Context, conn net.Conn, h hop) *attempt {
	a := &attempt{ctx: ctx, hop: h, conn: conn}
	a.limit = time.AfterFunc(h.timeout, func() {
		a.late.Store(true)
		_ = conn.Close() // makes the handshake fail
	})
	return a
}

// asking is called before a person is asked, who may take longer than any limit.
func (a *attempt) asking() { a.limit.Stop() }

// abandon closes the connection.
func (a *attempt) abandon() error {
	a.limit.Stop()
	return a.conn.Close()
}

// handshake logs in; on error the connection is closed.
func (a *attempt) handshake(check ssh.HostKeyCallback, algorithms []string) (*ssh.Client, error) {
	defer a.limit.Stop()
	stop := context.AfterFunc(a.ctx, func() { _ = a.conn.Close() }) // makes the handshake fail
	var creds *credentials
	cfg := &ssh.ClientConfig{
		User:              a.hop.user,
		HostKeyCallback:   check,
		HostKeyAlgorithms: algorithms,
		Auth: []ssh.AuthMethod{ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
			creds = a.credentials()
			return creds.signers, nil
		})},
	}
	c, chans, reqs, err := ssh.NewClientConn(a.conn, a.hop.addr, cfg)
	stopped := stop()
	if err == nil && stopped {
		return ssh.NewClient(c, chans, reqs), nil
	}
	_ = a.conn.Close() // may be closed already
	return nil, a.explain(creds, err)
}

// explain says why a handshake failed.
func (a *attempt) explain(creds *credentials, err error) error {
	switch {
	case a.ctx.Err() != nil:
		return fmt.Errorf("connect to %s: %w", a.hop.name, context.Cause(a.ctx))
	case a.late.Load():
		return engine.Transient(noAnswer(a.hop, fmt.Errorf("connect to %s: no answer within %s", a.hop.name, a.hop.timeout)))
	case a.hostKeyErr() != nil:
		return a.hostKeyErr()
	case creds != nil:
		return loginError(a.hop, creds, err)
	}
	return engine.WithHint(fmt.Errorf("connect to %s: %w", a.hop.name, err),
		fmt.Sprintf("what answers at %s may be no SSH server, or may have had too many logins; ssh says more:\n    ssh -v %s", a.hop.addr, a.hop.sshArgs()))
}

// loginError says which keys were tried.
func loginError(h hop, creds *credentials, err error) error {
	wrapped := fmt.Errorf("log in to %s as %s: %w", h.name, h.user, err)
	if strings.Contains(err.Error(), "unable to authenticate") {
		wrapped = fmt.Errorf("log in to %s as %s: the node accepts no key of this machine", h.name, h.user)
	}
	var locked *keyError
	if errors.As(err, &locked) {
		hint := "ssh-add takes the passphrase once for all:\n    ssh-add " + locked.path
		if !errors.Is(err, x509.IncorrectPasswordError) {
			hint = "another key can be named with IdentityFile in the ssh_config"
		}
		return engine.WithHint(wrapped, hint)
	}
	list := "there is none in ~/.ssh, and no agent has one"
	if len(creds.tried) > 0 {
		list = "tried:\n    " + strings.Join(creds.tried, "\n    ")
	}
	hint := fmt.Sprintf("give the node your public key:\n    ssh-copy-id %s", h.sshArgs())
	if h.pinned {
		hint = "the server was started anew, with other keys; look up anew how to reach it"
	}
	return engine.WithHint(fmt.Errorf("%w; %s", wrapped, list), hint)
}

// dialTCP connects to h, through via if that is not nil.
func dialTCP(ctx context.Context, via *ssh.Client, h hop) (net.Conn, error) {
	short, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	var conn net.Conn
	var err error
	if via != nil {
		conn, err = via.DialContext(short, "tcp", h.addr)
	} else {
		var d net.Dialer
		conn, err = d.DialContext(short, "tcp", h.addr)
	}
	if err == nil {
		return conn, nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("connect to %s: %w", h.name, context.Cause(ctx))
	}
	return nil, netError(h, err)
}

// netError adds what can be done about an error of dialTCP.
func netError(h hop, err error) error {
	var dns *net.DNSError
	var open *ssh.OpenChannelError
	wrapped := fmt.Errorf("connect to %s: %w", h.name, withoutCalls(err))
	host, port, _ := net.SplitHostPort(h.addr)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return engine.WithHint(wrapped, fmt.Sprintf("no address for %q is known; give the node's IP address, or add it to ~/.ssh/config", host))
	case errors.As(err, &dns):
		return engine.WithHint(wrapped, fmt.Sprintf("the name %q could not be looked up; is there a network, or what is the node's IP address?", host))
	case errors.Is(err, syscall.ECONNREFUSED):
		return engine.WithHint(wrapped, fmt.Sprintf("nothing listens on port %s of %s; is it the right host, and does ssh run there?", port, host))
	case errors.As(err, &open):
		return engine.WithHint(wrapped, "the jump host cannot reach it, or does not forward (AllowTcpForwarding)")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return noAnswer(h, wrapped)
	}
	return wrapped
}

// withoutCalls takes from an error the names of the calls of package net around it:
// what failed, at which address, is said by who reports it.
func withoutCalls(err error) error {
	var dns *net.DNSError
	var errno syscall.Errno
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return &plain{"no such host", err}
	case errors.As(err, &errno):
		return &plain{errno.Error(), err}
	}
	return err
}

// plain is an error in fewer words.
type plain struct {
	text string
	error
}

func (p *plain) Error() string { return p.text }
func (p *plain) Unwrap() error { return p.error }

func noAnswer(h hop, err error) error {
	host, _, _ := net.SplitHostPort(h.addr)
	return engine.WithHint(err, fmt.Sprintf("%s does not answer; is it on, and is the network the right one?", host))
}
