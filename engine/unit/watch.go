package unit

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tengil/tengil/engine"
)

const (
	// beat is how often a unit is looked at while it works.
	beat = 5 * time.Second
	// stall is how long a unit may stand still: receive nothing, write nothing and
	// compute nothing.
	stall = 10 * time.Minute
	// idle is how much a program may compute in a stall that only waits; runtimes
	// with timers of their own do.
	idle = 500 * time.Millisecond
	// stopping is how long systemctl stop may take: systemd gives a unit 90 s to end
	// before it kills it (DefaultTimeoutStopSec).
	stopping = 3 * time.Minute
)

// watch looks at a unit every beat, tells progress what it has received, and ends
// the context that it returns, with an *engine.TimeoutError, when the unit stands
// still. end must be called; it ends the looking, not the context.
func watch(ctx context.Context, h engine.Host, unit string, progress func(int64)) (watched context.Context, end func()) {
	watched, cancel := context.WithCancelCause(ctx)
	looking, over := context.WithCancel(watched)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(beat)
		defer tick.Stop()
		var last effort
		moved := time.Now()
		for {
			select {
			case <-looking.Done():
				return
			case <-tick.C:
			}
			now, err := effortOf(looking, h, unit)
			if err != nil {
				continue // whoever waits for the unit learns of it
			}
			if now.beyond(last) {
				last, moved = now, time.Now()
			} else if time.Since(moved) >= stall {
				cancel(&engine.TimeoutError{What: unit + " stands still", After: stall})
			}
			if progress != nil && now.received > 0 {
				progress(now.received)
			}
		}
	}()
	return watched, func() {
		over()
		<-done
	}
}

// An effort is what a unit has done so far, as systemd counts it
// (systemd.resource-control(5)); 0 where it does not.
type effort struct {
	received, written int64 // bytes: IPIngressBytes, IOWriteBytes
	computed          time.Duration
}

// beyond reports whether there is more than before.
func (e effort) beyond(before effort) bool {
	return e.received > before.received || e.written > before.written || e.computed > before.computed+idle
}

func effortOf(ctx context.Context, h engine.Host, unit string) (effort, error) {
	res, err := h.Run(ctx, engine.Cmd{Argv: []string{"systemctl", "show", "-p", "IPIngressBytes,IOWriteBytes,CPUUsageNSec", unit}, ReadOnly: true})
	if err != nil {
		return effort{}, err
	}
	var e effort
	for line := range strings.Lines(string(res.Stdout)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		n, err := strconv.ParseInt(v, 10, 64) // "[not set]" and the largest uint64 are no count
		if err != nil {
			continue
		}
		switch k {
		case "IPIngressBytes":
			e.received = n
		case "IOWriteBytes":
			e.written = n
		case "CPUUsageNSec":
			e.computed = time.Duration(n)
		}
	}
	return e, nil
}

// stopLate stops the unit if err comes of a deadline, and returns err.
func stopLate(ctx context.Context, h engine.Host, unit string, err error) error {
	if err == nil || !engine.TimedOut(ctx) {
		return err
	}
	free, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), stopping, &engine.TimeoutError{After: stopping})
	defer cancel()
	_, stopErr := h.Run(free, engine.Cmd{Argv: []string{"systemctl", "stop", unit}})
	if stopErr != nil && !strings.Contains(stderr(stopErr), "not loaded") {
		return fmt.Errorf("%w; stop it: %w", context.Cause(ctx), stopErr)
	}
	if clearErr := clearFailed(free, h, unit); clearErr != nil {
		return fmt.Errorf("%w; %w", context.Cause(ctx), clearErr)
	}
	return fmt.Errorf("%w: %w", err, context.Cause(ctx))
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
