package lab

import (
	"context"
	"errors"
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
	mu   sync.Mutex
	held map[string]*heldLock
}

// A heldLock is one locked file. Waiters watch freed.
type heldLock struct {
	shared int // number of holders if shared, 0 if held by one alone
	freed  chan struct{}
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
	var timeout <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		timeout = t.C
	}
	for {
		release, freed := n.locks.try(path, shared)
		if release != nil {
			return release, nil
		}
		if wait == 0 {
			return nil, errBusy
		}
		select {
		case <-freed:
		case <-timeout:
			return nil, errTimedOut
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// try returns how to release the lock, or what is closed when it may be free.
func (t *lockTable) try(path string, shared bool) (release func(), freed chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.held[path]
	switch {
	case h == nil:
		h = &heldLock{freed: make(chan struct{})}
		if t.held == nil {
			t.held = map[string]*heldLock{}
		}
		t.held[path] = h
	case !shared || h.shared == 0:
		return nil, h.freed
	}
	if shared {
		h.shared++
	}
	return sync.OnceFunc(func() { t.release(path, h) }), nil
}

func (t *lockTable) release(path string, h *heldLock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h.shared > 1 {
		h.shared--
		return
	}
	delete(t.held, path)
	close(h.freed)
}
