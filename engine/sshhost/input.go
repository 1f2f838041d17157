package sshhost

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

const (
	maxChunk = 1 << 20  // of input, under one length
	maxSlice = 32 << 10 // written at once, so that a cancel need not wait for long
)

var errInputClosed = errors.New("input closed")

// An input writes the standard input of a frame: chunks, then "ok" or nothing.
type input struct {
	w io.WriteCloser
	// lock is held while a chunk is written, so that "ok" stands between chunks;
	// a channel, because whoever cancels must not wait for ever.
	lock      chan struct{}
	closed    bool // guarded by lock
	cancelled atomic.Bool
}

func newInput(w io.WriteCloser) *input {
	return &input{w: w, lock: make(chan struct{}, 1)}
}

// copy writes all of r, and the mark of its end. An error of r itself is returned;
// the caller must then cancel.
func (in *input) copy(r io.Reader) error {
	buf := make([]byte, maxChunk)
	for {
		n, err := r.Read(buf)
		if n > 0 && in.chunk(buf[:n]) != nil {
			return nil // the other side ended first, and says why
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = in.line("0")
			return nil
		case err != nil:
			return fmt.Errorf("read standard input: %w", err)
		}
	}
}

func (in *input) chunk(p []byte) error {
	in.lock <- struct{}{}
	defer func() { <-in.lock }()
	if in.closed {
		return errInputClosed
	}
	if _, err := fmt.Fprintf(in.w, "%d\n", len(p)); err != nil {
		return err
	}
	for len(p) > 0 {
		if in.cancelled.Load() {
			return errInputClosed
		}
		n := min(len(p), maxSlice)
		if _, err := in.w.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (in *input) line(s string) error {
	in.lock <- struct{}{}
	defer func() { <-in.lock }()
	if in.closed {
		return errInputClosed
	}
	_, err := io.WriteString(in.w, s+"\n")
	return err
}

// finish lets the watch leave. It reports whether it could within wait.
func (in *input) finish(wait time.Duration) bool {
	return in.close("ok\n", wait)
}

// cancel ends the input without "ok", so that the watch ends the program. It
// reports whether it could; if not, the session must be closed.
func (in *input) cancel() bool {
	in.cancelled.Store(true)
	return in.close("", time.Second)
}

func (in *input) close(last string, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case in.lock <- struct{}{}:
	case <-timer.C:
		return false
	}
	defer func() { <-in.lock }()
	if in.closed {
		return true
	}
	in.closed = true
	if last != "" {
		_, _ = io.WriteString(in.w, last)
	}
	_ = in.w.Close()
	return true
}
