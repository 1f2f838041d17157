package sshhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tengil/tengil/engine"
)

// Host implements engine.Host. Make one with Dial, DialEndpoint or Local.
type Host struct {
	name     string
	link     link
	log      *slog.Logger
	auditLog string
	lockWait time.Duration
	patience time.Duration
	// grace is how long a cancelled program may take to clean up before its
	// session is closed under it.
	grace time.Duration

	slots *slots
	trips atomic.Int64
	ends  sync.WaitGroup // sessions whose program has ended and that are being closed
	wg    sync.WaitGroup // other goroutines that outlive the call that started them

	holdMu sync.Mutex
	holds  map[*hold]struct{} // locks that must not be lost silently
}

var _ engine.Host = (*Host)(nil)

// A link starts shells on a node and connects from there.
type link interface {
	// connect returns the number of the connection, which it makes if there is
	// none. A connection that is made anew has another number.
	connect(ctx context.Context) (int, error)
	// open starts script in a new shell over the connection of that number. If that
	// is gone, nothing ran, and the error wraps errStale; so it does errRefused if
	// the node has no session left.
	open(ctx context.Context, number int, script string) (*process, error)
	// terminal runs script in a new shell on c.Terminal, and returns its status once it
	// has ended. Errors are those of open.
	terminal(ctx context.Context, number int, script string, c engine.Cmd) (int, error)
	dial(ctx context.Context, network, addr string) (net.Conn, error)
	close() error
}

func newHost(name string, l link, o Options) *Host {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	auditLog := o.AuditLog
	if auditLog == "" {
		auditLog = engine.AuditLog
	}
	return &Host{
		name: name, link: l, log: log.With("host", name), auditLog: auditLog, lockWait: o.lockWait(), patience: o.patience(),
		grace: 10 * time.Second,
		slots: newSlots(),
		holds: map[*hold]struct{}{},
	}
}

// Name implements engine.Host.
func (h *Host) Name() string { return h.name }

// RoundTrips returns how many exec requests there were so far: one for each Run,
// Batch, WriteFile and Hold that reached the node.
func (h *Host) RoundTrips() int64 { return h.trips.Load() }

// Sessions returns how many sessions are open now; there are never more than 8.
func (h *Host) Sessions() int { return h.slots.count() }

// Dial implements engine.Host. Over SSH the returned Conn ignores deadlines; to
// stop waiting, close it.
func (h *Host) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return h.link.dial(ctx, network, addr)
}

// Close ends the connection, and with it what still runs and is held, and waits
// for the goroutines of h. A Host must not be used after Close.
func (h *Host) Close() error {
	h.ends.Wait() // so that they are not taken for cut off
	err := h.link.close()
	h.ends.Wait()
	h.wg.Wait()
	return err
}

// within bounds what is small and must not take long.
func (h *Host) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, h.patience, &engine.TimeoutError{After: h.patience})
}

// overdue adds to an error that came because time was up what can be done.
func (h *Host) overdue(ctx context.Context, err error) error {
	if err == nil || !engine.TimedOut(ctx) {
		return err
	}
	return engine.WithHint(err, h.name+" is reached but does not answer; what it says itself:\n    journalctl --since -1h --priority warning")
}

// errStale is wrapped when a connection turned out to be gone before anything ran.
var errStale = errors.New("connection lost")

// onConnection calls f with a connection over which all locks are held. If it turns
// out to be gone before anything ran, it connects anew and calls f again.
func (h *Host) onConnection(ctx context.Context, f func(number int) error) error {
	const tries = 3
	var err error
	for range tries {
		var number int
		if number, err = h.link.connect(ctx); err != nil {
			return err
		}
		if err = h.keepHolds(ctx, number); err == nil {
			err = f(number)
		}
		if !errors.Is(err, errStale) {
			return err
		}
	}
	return engine.Transient(err)
}

// errRefused is wrapped when the server has no session to give.
var errRefused = errors.New("no session left")

// open takes a slot and starts script; whoever follows it must call release. Where
// the server allows fewer sessions than tg uses, open waits for one.
func (h *Host) open(ctx context.Context, number int, script string, kept bool) (p *process, release func(), err error) {
	for pause := 10 * time.Millisecond; ; {
		got, err := h.slots.take(ctx, kept)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", h.name, err)
		}
		p, err := h.link.open(ctx, number, script)
		if err == nil {
			h.trips.Add(1)
			return p, func() { h.slots.give(got) }, nil
		}
		if !errors.Is(err, errRefused) {
			h.slots.give(got)
			return nil, nil, err
		}
		if h.slots.refused(got) {
			continue
		}
		// sshd counts a closed session until it has dealt with all it has read, so
		// that one may be left in a moment.
		if pause > 500*time.Millisecond {
			return nil, nil, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause *= 2
	}
}
