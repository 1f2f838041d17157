package lab

import (
	"io"
	"sync"
)

// outboxSize is how much a program may write before somebody takes it, as with a
// pipe of Linux.
const outboxSize = 64 << 10

// An outbox carries what the programs of a session write to its client. Programs
// write little and often; what comes while the client is being sent something goes
// out together. The jobs of a script may write side by side.
type outbox struct {
	w      io.Writer
	before func() // called before each write to w

	mu      sync.Mutex
	change  sync.Cond
	waiting []byte
	spare   []byte // of the write before
	sending bool
	err     error // of w; no more is sent
}

func newOutbox(w io.Writer, before func()) *outbox {
	o := &outbox{w: w, before: before}
	o.change.L = &o.mu
	return o
}

// Write returns when b is on its way; the error is that of an earlier write.
func (o *outbox) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.waiting) > 0 && len(o.waiting)+len(b) > outboxSize && o.err == nil {
		o.change.Wait()
	}
	if o.err != nil {
		return 0, o.err
	}
	o.waiting = append(o.waiting, b...)
	if !o.sending && len(b) > 0 {
		o.sending = true
		go o.send()
	}
	return len(b), nil
}

// send sends until nothing waits.
func (o *outbox) send() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.waiting) > 0 && o.err == nil {
		b := o.waiting
		o.waiting, o.spare = o.spare[:0], nil
		o.mu.Unlock()
		o.before()
		_, err := o.w.Write(b)
		o.mu.Lock()
		o.err, o.spare = err, b
		o.change.Broadcast()
	}
	o.sending = false
	o.change.Broadcast()
}

// wait returns when all is sent, or cannot be.
func (o *outbox) wait() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.sending {
		o.change.Wait()
	}
}
