package probe

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// A Question is whether one application is ready.
type Question struct {
	Probe  Probe
	Target Target
}

// Look asks them all at the same time, each for so long at most: the commands in one
// round trip, the ports beside it. Its answers are those of Check, in order. An error
// of its own says that the node did not answer.
func Look(ctx context.Context, h engine.Host, all []Question, most time.Duration) ([]error, error) {
	got := make([]error, len(all))
	asks := map[int]engine.Ask{}
	var batch []engine.Ask
	var wg sync.WaitGroup
	for i, q := range all {
		if e, ok := q.Probe.(execProbe); ok {
			asks[i] = e.ask(q.Target, most)
			batch = append(batch, asks[i])
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, most)
			defer cancel()
			got[i] = q.Probe.Check(ctx, h, q.Target)
		})
	}
	defer wg.Wait()
	if len(batch) == 0 {
		return got, nil
	}
	answers, err := h.Batch(ctx, batch)
	if err != nil {
		return nil, err
	}
	for i, ask := range asks {
		got[i] = all[i].Probe.(execProbe).answer(answers.Get(ask), most)
	}
	return got, nil
}

// ask is the question of Check for a batch, in which nobody can end a single command:
// timeout(1) does.
func (p execProbe) ask(t Target, most time.Duration) engine.Ask {
	seconds := strconv.FormatFloat(min(p.timeout, most).Seconds(), 'f', -1, 64)
	return engine.AskRun(append([]string{"timeout", "-k", "1", seconds}, ExecArgv(t.VMID, p.argv...)...)...)
}

// Statuses of timeout(1): the time is over, and what ran had to be killed then.
const (
	exitOver   = 124
	exitKilled = 137
)

func (p execProbe) answer(a engine.Answer, most time.Duration) error {
	var exit *engine.ExitError
	switch {
	case a.Err == nil:
		return nil
	case errors.As(a.Err, &exit) && (exit.Exit == exitOver || exit.Exit == exitKilled):
		return fmt.Errorf("%s: it did not end within %s", p, min(p.timeout, most))
	case errors.As(a.Err, &exit):
		shown := *exit
		shown.Argv = exit.Argv[min(4, len(exit.Argv)):]
		return fmt.Errorf("%s: %w", p, pve.Explain(&shown))
	}
	return fmt.Errorf("%s: %w", p, a.Err)
}
