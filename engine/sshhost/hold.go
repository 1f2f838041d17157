package sshhost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tengil/tengil/engine"
)

// A holder is the note that whoever holds a lock leaves in the lock file.
type holder struct {
	Holder string    `json:"holder"`
	Since  time.Time `json:"since"`
}

// Hold implements engine.Host. The lock is that of flock(1) on l.Path, held by a
// program that ends when its standard input does, so that neither a crash of tg nor
// of the node leaves it behind. The note about the holder is the content of l.Path.
//
// A lock that was lost with the connection is taken again before anything else
// runs; if somebody else has it by then, every call returns the *LockedError. A lock
// takes up one of the 8 sessions.
func (h *Host) Hold(ctx context.Context, l engine.Lock) (io.Closer, error) {
	if _, err := quotePath(l.Path); err != nil {
		return nil, err
	}
	held := &hold{host: h, lock: l}
	ctx, cancel := h.within(ctx)
	defer cancel()
	err := h.onConnection(ctx, func(number int) error { return held.take(ctx, number) })
	if err != nil {
		return nil, h.overdue(ctx, err)
	}
	h.holdMu.Lock()
	defer h.holdMu.Unlock()
	h.holds[held] = struct{}{}
	return held, nil
}

// A hold is one lock, as long as it is wanted.
type hold struct {
	host  *Host
	lock  engine.Lock
	in    io.WriteCloser
	over  int           // the number of the connection
	ended chan struct{} // closed when the lock is not held any more
	once  sync.Once
}

// keepScript runs under the lock, whose file is $1. It writes the note of the client
// there and then back to the client, by which the client knows that it has the lock and
// that others can read whose it is, and stays until its input ends.
const keepScript = `read -r note && printf '%s\n' "$note" >"$1" && printf '%s\n' "$note" && exec cat`

// holdScript runs keepScript. If somebody else has the lock, their note comes instead.
func holdScript(m mark, name string) string {
	file := word(name)
	return "LC_ALL=C.UTF-8; export LC_ALL\n" + m.define() +
		"printf '%ss\\n' \"$m\"\n" +
		fmt.Sprintf("{ %s; } && flock -n -E %d %s sh -c %s sh %[3]s && exit\n", parents(name), exitLocked, file, word(keepScript)) +
		"s=$?\nprintf '%se %s\\n' \"$m\" \"$s\"\n" +
		fmt.Sprintf("[ \"$s\" -ne %d ] || cat %s\n", exitLocked, file) +
		"printf '%sz\\n' \"$m\"\n"
}

// take acquires the lock over a connection, or fails; it can be called again when
// the lock was lost.
func (held *hold) take(ctx context.Context, number int) error {
	note, err := json.Marshal(holder{held.lock.Holder, held.lock.Since})
	if err != nil {
		return fmt.Errorf("lock %s: %w", held.lock.Path, err)
	}
	h, m := held.host, newMark()
	p, release, err := h.open(ctx, number, holdScript(m, held.lock.Path), true)
	if err != nil {
		return err
	}
	w := &holdWatch{note: append(note, '\n'), settled: make(chan struct{})}
	var said capture
	ended := make(chan struct{})
	h.wg.Go(func() { _, _ = io.Copy(&said, p.stderr) })
	h.wg.Go(func() {
		defer release()
		defer close(ended)
		s := newStream(m, w)
		_, _ = io.Copy(s, p.stdout)
		s.flush()
		w.settle()
		p.wait()
	})
	if _, err := p.stdin.Write(w.note); err != nil {
		_ = p.stdin.Close()
	}
	select {
	case <-w.settled:
	case <-ctx.Done():
		_ = p.stdin.Close() // gives back a lock that was just taken
		p.close()
		return fmt.Errorf("lock %s on %s: %w", held.lock.Path, h.name, context.Cause(ctx))
	}
	if w.got {
		held.in, held.over, held.ended = p.stdin, number, ended
		return nil
	}
	_ = p.stdin.Close()
	<-ended
	return h.notHeld(held.lock.Path, m, w.data, said.Bytes())
}

// notHeld explains why a lock was not taken.
func (h *Host) notHeld(name string, m mark, stdout, stderr []byte) error {
	_, status, note, ok := splitExit(m, stdout)
	switch {
	case !ok:
		return engine.Transient(fmt.Errorf("lock %s on %s: connection lost: %s", name, h.name, bytes.TrimSpace(stderr)))
	case status == exitLocked:
		var by holder
		if err := json.Unmarshal([]byte(note), &by); err != nil {
			by = holder{} // not left by tg, or not yet written
		}
		return &engine.LockedError{Path: name, Holder: by.Holder, Since: by.Since}
	}
	return fmt.Errorf("lock %s on %s: exit status %d: %s", name, h.name, status, bytes.TrimSpace(stderr))
}

// Close releases the lock and waits until it is free. An error means that the
// connection does not answer, so that it is free when the node notices that too.
func (held *hold) Close() error {
	var err error
	held.once.Do(func() {
		h := held.host
		h.holdMu.Lock()
		delete(h.holds, held)
		h.holdMu.Unlock()
		_ = held.in.Close()
		select {
		case <-held.ended:
		case <-time.After(10 * time.Second):
			err = engine.Transient(fmt.Errorf("unlock %s on %s: no answer", held.lock.Path, h.name))
		}
	})
	return err
}

// keepHolds takes those locks again that were lost with another connection.
func (h *Host) keepHolds(ctx context.Context, number int) error {
	h.holdMu.Lock()
	defer h.holdMu.Unlock()
	for held := range h.holds {
		if !held.lost(number) {
			continue
		}
		err := held.take(ctx, number)
		var other *engine.LockedError
		if errors.As(err, &other) && other.Holder == held.lock.Holder && other.Since.Equal(held.lock.Since) {
			// The node has not noticed yet that the old connection is gone.
			return engine.Transient(err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (held *hold) lost(number int) bool {
	select {
	case <-held.ended:
		return true
	default:
		return held.over != number
	}
}

// A holdWatch compares what comes with the note that is expected back.
type holdWatch struct {
	note    []byte
	data    []byte
	got     bool
	settled chan struct{} // closed when got is known
	once    sync.Once
}

// Write takes the note that came back, or why it did not. It never fails.
func (w *holdWatch) Write(p []byte) (int, error) {
	select {
	case <-w.settled:
		return len(p), nil
	default:
	}
	w.data = append(w.data, p...)
	if bytes.HasPrefix(w.data, w.note) {
		w.got = true
		w.settle()
	}
	return len(p), nil
}

func (w *holdWatch) settle() { w.once.Do(func() { close(w.settled) }) }
