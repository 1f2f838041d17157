package exec

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/plan"
)

// tries is how often work is tried that fails for a transient reason.
const tries = 5

// A worker applies one job and reports to the loop, which waits for it.
type worker struct {
	run  *run
	job  *job
	late *late
	host engine.Host
	in   engine.Inputs
}

func (w worker) work(ctx context.Context) {
	grows := backoff.NewExponentialBackOff()
	grows.InitialInterval, grows.MaxInterval = w.run.opts.Pause, 20*w.run.opts.Pause
	b := &patient{BackOff: grows}
	try, late := 0, 0
	out, err := backoff.Retry(ctx, func() (engine.Outputs, error) {
		try++
		out, err := w.inTime(ctx, try)
		again := errors.Is(err, engine.ErrTransient)
		var busy *engine.BusyError
		if b.least = 0; errors.As(err, &busy) {
			b.least = busy.After
			again = busy.After <= mostPause
		}
		var timeout *engine.TimeoutError
		if errors.As(err, &timeout) {
			late++
			again = late < lateTries && !w.lingers()
		}
		if err != nil && !again {
			err = backoff.Permanent(err)
		}
		return out, err
	}, backoff.WithBackOff(b), backoff.WithMaxTries(tries), backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, wait time.Duration) {
			w.report(report{event: engine.Event{Kind: engine.Retrying, Text: fmt.Sprintf("%v; next try in %s", err, wait.Round(100*time.Millisecond))}})
		}))
	var permanent *backoff.PermanentError
	if errors.As(err, &permanent) {
		err = permanent.Err
	}
	w.report(report{outputs: out, err: err})
}

// mostPause is for how long a registry may want to be left alone so that it is worth
// waiting for.
const mostPause = time.Minute

// A patient waits no less than the other side asks for.
type patient struct {
	backoff.BackOff
	least time.Duration
}

func (p *patient) NextBackOff() time.Duration {
	next := p.BackOff.NextBackOff()
	if next == backoff.Stop {
		return next
	}
	return max(next, p.least)
}

// lingers reports whether what the work started may still be at it after its time.
func (w worker) lingers() bool {
	if w.job.node == nil {
		return false
	}
	_, ok := w.job.node.Spec.(engine.Lingering)
	return ok
}

func (w worker) report(r report) {
	r.job = w.job
	w.run.reports <- r
}

// try does the work once. A bug in a step kind fails that step, not the run.
func (w worker) try(ctx context.Context, n int) (out engine.Outputs, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("bug in tengil: %v\n%s", p, debug.Stack())
		}
	}()
	progress := func(text string, done, total int64) {
		w.report(report{event: engine.Event{Kind: engine.Progress, Text: text, Done: done, Total: total}})
	}
	if w.job.orphan != nil {
		return nil, w.job.orphan.Remove(ctx, w.host, progress)
	}
	spec, now := w.job.node.Spec, w.job.node.Now
	if n > 1 {
		// What the failed try did is not known, so look again, as a new run would.
		if now, err = w.observe(ctx); err != nil {
			return nil, err
		}
	}
	d, err := spec.Diff(now, w.in)
	if err != nil {
		return nil, err
	}
	if len(d.Changes) == 0 {
		return d.Outputs, nil
	}
	for _, c := range d.Changes {
		if c.Action == engine.AdoptRefused {
			return nil, engine.WithHint(errors.New(c.Why), c.Hint) // it came since the plan was made
		}
	}
	return spec.Apply(ctx, engine.Work{App: w.run.app, Host: w.host, In: w.in, Now: now, Todo: d.Changes, Report: progress})
}

func (w worker) observe(ctx context.Context) (engine.State, error) {
	seen, _, err := plan.Observe(ctx, w.host, w.job.node.Spec.Asks)
	if err != nil {
		return nil, err
	}
	return w.job.node.Spec.Observe(seen)
}
