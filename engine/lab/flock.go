package lab

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// What lock says when it has no lock to give.
var (
	errBusy     = errors.New("locked by another program")
	errTimedOut = errors.New("timed out waiting for a lock")
)

// A lockTable knows which files of the node are locked as by flock(2). Every
// lock of the node, whoever takes it, is in the one table.
type lockTable struct {
	mu    sync.Mutex
	files map[string]*lockedFile
}

// A lockedFile is a file with its holders and who waits for it, first come first
// served as in Linux.
type lockedFile struct {
	holders int
	shared  bool // the holders share it
	queue   []*lockWaiter
}

// A lockWaiter waits for a lock; given is closed when it has it.
type lockWaiter struct {
	shared bool
	given  chan struct{}
}

// lock takes the exclusive lock on the file path, which it makes if there is
// none. It waits at most wait; 0 means not at all (errBusy), less than 0 without
// limit. Otherwise the error is errTimedOut or ctx's. The caller must call
// release, which may be called twice.
func (n *node) lock(ctx context.Context, path string, wait time.Duration) (release func(), err error) {
	return n.flock(ctx, path, wait, false)
}

func (n *node) flock(ctx context.Context, path string, wait time.Duration, shared bool) (func(), error) {
	if err := n.touch(path); err != nil {
		return nil, err
	}
	t := &n.locks
	w := &lockWaiter{shared: shared, given: make(chan struct{})}
	if !t.ask(path, w, wait != 0) {
		return nil, errBusy
	}
	var timeout <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		timeout = timer.C
	}
	release := sync.OnceFunc(func() { t.release(path) })
	var err error
	select {
	case <-w.given:
		return release, nil
	case <-timeout:
		err = errTimedOut
	case <-ctx.Done():
		err = ctx.Err()
	}
	if !t.leave(path, w) {
		release() // it was given at the last moment
	}
	return nil, err
}

// ask takes the lock or, if it is not to be had and queue is set, queues for it.
func (t *lockTable) ask(path string, w *lockWaiter, queue bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.files[path]
	if f == nil {
		f = &lockedFile{}
		if t.files == nil {
			t.files = map[string]*lockedFile{}
		}
		t.files[path] = f
	}
	f.queue = append(f.queue, w)
	f.serve()
	select {
	case <-w.given:
		return true
	default:
	}
	if !queue {
		f.drop(w)
	}
	return queue
}

// serve gives the lock to those at the front of the queue that may have it.
func (f *lockedFile) serve() {
	for len(f.queue) > 0 {
		w := f.queue[0]
		if f.holders > 0 && !(f.shared && w.shared) {
			return
		}
		f.queue = f.queue[1:]
		f.holders++
		f.shared = w.shared
		close(w.given)
	}
}

func (f *lockedFile) drop(w *lockWaiter) bool {
	n := len(f.queue)
	f.queue = slices.DeleteFunc(f.queue, func(q *lockWaiter) bool { return q == w })
	return len(f.queue) < n
}

// leave takes a waiter out of the queue; false means that it has the lock.
func (t *lockTable) leave(path string, w *lockWaiter) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.files[path]
	left := f.drop(w)
	f.serve() // those behind it may share
	return left
}

func (t *lockTable) release(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.files[path]
	f.holders--
	f.serve()
	if f.holders == 0 && len(f.queue) == 0 {
		delete(t.files, path)
	}
}
