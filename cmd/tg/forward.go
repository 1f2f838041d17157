package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/tengil/tengil/engine"
)

// A forward leads connections to a port of this machine on to one place.
type forward struct {
	listener net.Listener // closed by serve
	dial     func(ctx context.Context) (net.Conn, error)
	failed   func(error) // is told why connections could not be led on; never twice at once

	mu   sync.Mutex
	last string // what failed was told last
}

// How long an address may take to accept a connection, from here and from a node.
const (
	herePatience = 2 * time.Second
	nodePatience = 5 * time.Second
)

// answersHere reports whether this machine reaches an address.
func answersHere(ctx context.Context, addr string) bool {
	d := net.Dialer{Timeout: herePatience}
	conn, err := d.DialContext(ctx, "tcp", addr)
	return err == nil && conn.Close() == nil
}

// reaches tries whether a node reaches an address.
func reaches(ctx context.Context, host engine.Host, addr string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, nodePatience, &engine.TimeoutError{After: nodePatience})
	defer cancel()
	conn, err := host.Dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// listenNear listens on a port of this machine. Without a wanted one it is that of
// addr, as long as nobody has it and it takes no privilege, else any.
func listenNear(ctx context.Context, want int, addr string) (net.Listener, error) {
	var c net.ListenConfig
	listen := func(port int) (net.Listener, error) {
		return c.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	if want != 0 {
		ln, err := listen(want)
		if err != nil {
			return nil, engine.WithHint(fmt.Errorf("port %d of this machine: %w", want, err), "without --port tg takes one that is free")
		}
		return ln, nil
	}
	_, text, _ := net.SplitHostPort(addr)
	if port, err := strconv.Atoi(text); err == nil && port >= 1024 {
		if ln, err := listen(port); err == nil {
			return ln, nil
		}
	}
	return listen(0)
}

// serve returns when ctx ends, or nothing can connect any more. No connection is
// left then.
func (f *forward) serve(ctx context.Context) error {
	var open sync.WaitGroup
	defer open.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer f.listener.Close()
	defer context.AfterFunc(ctx, func() { f.listener.Close() })()
	for {
		near, err := f.listener.Accept()
		if err != nil {
			return errors.Join(context.Cause(ctx), ignoreClosed(err))
		}
		open.Go(func() { f.lead(ctx, near) })
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// lead leads one connection on until both sides have said all.
func (f *forward) lead(ctx context.Context, near net.Conn) {
	defer near.Close()
	short, cancel := context.WithTimeoutCause(ctx, nodePatience, &engine.TimeoutError{After: nodePatience})
	defer cancel()
	far, err := f.dial(short)
	if err != nil {
		if ctx.Err() == nil {
			f.tell(err)
		}
		return
	}
	defer far.Close()
	defer context.AfterFunc(ctx, func() { near.Close(); far.Close() })()
	var back sync.WaitGroup
	back.Go(func() { pump(near, far) })
	pump(far, near)
	back.Wait()
}

// tell says why, once for many connections that fail alike.
func (f *forward) tell(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if said := err.Error(); said != f.last {
		f.last = said
		f.failed(err)
	}
}

// pump hands on what one side says, and that it has said all. Where it cannot,
// both sides end.
func pump(to, from net.Conn) {
	_, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if err == nil && ok {
		err = half.CloseWrite()
	}
	if err != nil || !ok {
		to.Close()
		from.Close()
	}
}
