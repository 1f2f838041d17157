package exec_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
)

// stuck is a host whose commands end with their context, as often as times says, and
// at once after that.
type stuck struct {
	host
	times int
}

func (s *stuck) Run(ctx context.Context, _ engine.Cmd) (engine.Result, error) {
	if s.times == 0 {
		return engine.Result{}, nil
	}
	s.times--
	<-ctx.Done()
	return engine.Result{}, context.Cause(ctx)
}

func runs(argv ...string) func(context.Context, engine.Work) (engine.Outputs, error) {
	return func(ctx context.Context, w engine.Work) (engine.Outputs, error) {
		_, err := w.Host.Run(ctx, engine.Cmd{Argv: argv})
		return nil, err
	}
}

func TestWorkThatDoesNotEndIsEndedAndTriedOnceMore(t *testing.T) {
	for _, c := range []struct {
		class engine.Class
		limit time.Duration
	}{{engine.Light, 5 * time.Minute}, {engine.Configure, 10 * time.Minute}, {engine.Start, 10 * time.Minute}, {engine.Unpack, time.Hour}, {engine.Download, 6 * time.Hour}} {
		t.Run(string("class "+c.class), func(t *testing.T) {
			for times := range 3 {
				synctest.Test(t, func(t *testing.T) {
					p := planOf(t, nodeSpec{id: "k/a", class: c.class, apply: runs("pct", "start", "101", "--debug", "1")})
					h, begin := &stuck{times: times}, time.Now()
					_, err := exec.Run(t.Context(), p, h, exec.Options{})
					took := time.Since(begin).Truncate(time.Minute)
					if took != time.Duration(times)*c.limit {
						t.Errorf("hung %d times: took %s, want %s each", times, took, c.limit)
					}
					if (err == nil) != (times < 2) {
						t.Errorf("hung %d times: error %v", times, err)
					}
					if times < 2 {
						return
					}
					var late *engine.TimeoutError
					if !errors.As(err, &late) || !strings.Contains(err.Error(), "pct start 101: no end after "+c.limit.String()) || !strings.Contains(err.Error(), "journalctl") {
						t.Errorf("error is %v", err)
					}
				})
			}
		})
	}
}

// A waiting Spec is given as long as it says on top.
type waiting struct{ work }

func (waiting) Patience() time.Duration { return time.Hour }

func TestPatienceComesOnTop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := planOf(t, nodeSpec{id: "k/a", class: engine.Start, apply: runs("pct", "exec")})
		p.Nodes[0].Spec = waiting{p.Nodes[0].Spec.(work)}
		begin := time.Now()
		_, err := exec.Run(t.Context(), p, &stuck{times: 1}, exec.Options{Deadlines: map[engine.Class]time.Duration{engine.Start: time.Minute}})
		if took := time.Since(begin).Truncate(time.Minute); took != time.Hour+time.Minute || err != nil {
			t.Errorf("took %s, error %v", took, err)
		}
	})
}

// A lingering Spec starts what may outlive it.
type lingering struct{ work }

func (lingering) Lingers() {}

func TestWhatMayLingerIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := planOf(t, nodeSpec{id: "k/a", apply: runs("pct", "exec")})
		p.Nodes[0].Spec = lingering{p.Nodes[0].Spec.(work)}
		h := &stuck{times: 2}
		_, err := exec.Run(t.Context(), p, h, exec.Options{})
		var late *engine.TimeoutError
		if !errors.As(err, &late) || h.times != 1 {
			t.Errorf("ran %d times, error %v", 2-h.times, err)
		}
	})
}

func TestARemovalThatDoesNotEndIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := planOf(t)
		p.Orphans = []engine.Orphan{{Found: engine.Found{App: "t", Step: "k/gone", What: "CT 101",
			Remove: func(ctx context.Context, h engine.Host, _ func(string, int64, int64)) error {
				_, err := h.Run(ctx, engine.Cmd{Argv: []string{"systemd-run", "--wait", "--", "pct", "destroy", "101"}})
				return err
			}}}}
		_, err := exec.Run(t.Context(), p, &stuck{times: 2}, exec.Options{})
		if err == nil || !strings.Contains(err.Error(), "k/gone: pct destroy 101: no end after 1h0m0s") {
			t.Errorf("error is %v", err)
		}
	})
}

func TestASecondCtrlCIsNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		cut := make(chan struct{})
		time.AfterFunc(time.Second, func() { stop(); close(cut) })
		_, err := exec.Run(ctx, planOf(t, nodeSpec{id: "k/a", apply: runs("sleep", "1")}), &stuck{times: 1}, exec.Options{Cut: cut})
		var late *engine.TimeoutError
		if errors.As(err, &late) || !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
	})
}
