package unit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/unit"
)

// working is a node with one unit that works until it is stopped or end has come.
type working struct {
	engine.Host
	end      time.Time
	received func(time.Duration) int64 // after it has worked for so long
	computes time.Duration             // each minute
	began    time.Time
	stopped  []string
	gone     chan struct{}
}

func newWorking(works time.Duration, received func(time.Duration) int64) *working {
	now := time.Now()
	return &working{end: now.Add(works), began: now, received: received, gone: make(chan struct{})}
}

func (w *working) Run(ctx context.Context, c engine.Cmd) (engine.Result, error) {
	switch {
	case c.Argv[0] == "systemd-run":
		select {
		case <-ctx.Done():
			return engine.Result{}, context.Cause(ctx)
		case <-time.After(time.Until(w.end)):
			return engine.Result{}, nil
		}
	case c.Argv[0] == "systemctl" && c.Argv[1] == "stop":
		if ctx.Err() != nil {
			return engine.Result{}, context.Cause(ctx)
		}
		w.stopped = append(w.stopped, c.Argv[2])
		w.end = time.Now()
	case c.Argv[0] == "systemctl" && c.Argv[1] == "reset-failed":
		r := engine.Result{Exit: 1, Stderr: []byte("Failed to reset failed state of unit x: Unit x not loaded.\n")}
		return r, &engine.ExitError{Argv: c.Argv, Exit: 1, Stderr: r.Stderr}
	case c.Argv[0] == "systemctl" && slices.Contains(c.Argv, "ActiveState"):
		if ctx.Err() != nil {
			return engine.Result{}, context.Cause(ctx)
		}
		state := "active"
		if !time.Now().Before(w.end) {
			state = "inactive"
		}
		return engine.Result{Stdout: []byte("ActiveState=" + state + "\n")}, nil
	case c.Argv[0] == "systemctl":
		worked := time.Since(w.began)
		return engine.Result{Stdout: fmt.Appendf(nil, "IPIngressBytes=%d\nIOWriteBytes=[not set]\nCPUUsageNSec=%d\n",
			w.received(worked), int64(worked.Minutes()*float64(w.computes)))}, nil
	}
	return engine.Result{}, nil
}

func nothing(time.Duration) int64 { return 0 }

func steady(d time.Duration) int64 { return int64(d.Seconds()) }

// what is asked of a unit: to run it, and to wait for one that an earlier run began.
var ways = map[string]func(context.Context, engine.Host) error{
	"run":   func(ctx context.Context, h engine.Host) error { return unit.Run(ctx, h, task) },
	"await": func(ctx context.Context, h engine.Host) error { return unit.Await(ctx, h, task.Unit()) },
}

func TestAUnitThatStandsStillIsStopped(t *testing.T) {
	for name, wait := range ways {
		for _, c := range []struct {
			name     string
			received func(time.Duration) int64
			computes time.Duration
			stops    bool
		}{
			{"it does nothing", nothing, 0, true},
			{"its runtime has timers", nothing, time.Millisecond, true},
			{"it receives", steady, 0, false},
			{"it computes", nothing, time.Second, false},
			{"it received for an hour", func(d time.Duration) int64 { return steady(min(d, time.Hour)) }, 0, true},
		} {
			t.Run(name+" "+c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorking(3*time.Hour, c.received)
					w.computes = c.computes
					err := wait(t.Context(), w)
					var late *engine.TimeoutError
					if errors.As(err, &late) != c.stops || (len(w.stopped) > 0) != c.stops {
						t.Errorf("error %v, stopped %q; want it stopped: %v", err, w.stopped, c.stops)
					}
					if took := time.Since(w.began); c.stops != (took < 2*time.Hour) {
						t.Errorf("took %s", took)
					}
				})
			})
		}
	}
}

func TestADeadlineStopsTheUnitAndACallOffDoesNot(t *testing.T) {
	for name, wait := range ways {
		for _, cause := range []error{&engine.TimeoutError{After: time.Minute}, context.Canceled} {
			t.Run(fmt.Sprint(name, " ", cause), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorking(time.Hour, steady)
					ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, cause)
					defer cancel()
					if err := wait(ctx, w); !errors.Is(err, cause) {
						t.Errorf("error is %v", err)
					}
					var want []string
					if cause != context.Canceled {
						want = []string{task.Unit()}
					}
					if diff := cmp.Diff(want, w.stopped); diff != "" {
						t.Errorf("stopped (-want +got):\n%s", diff)
					}
				})
			})
		}
	}
}

func TestProgressIsWhatTheUnitReceived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorking(21*time.Second, steady)
		var seen []int64
		mine := task
		mine.Progress = func(n int64) { seen = append(seen, n) }
		if err := unit.Run(t.Context(), w, mine); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int64{5, 10, 15, 20}, seen); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
