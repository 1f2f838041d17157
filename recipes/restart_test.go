package recipes_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/record"
)

// turn plans what a switch does.
func turn(t *testing.T, h engine.Host, s pct.Switch) *engine.Plan {
	t.Helper()
	g, node, err := pct.Power(t.Context(), h, s)
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Build(t.Context(), g, h, &engine.Facts{Node: node}, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestARestartThatIsCutIsFinishedByTheNext kills tg before and after each call of a
// restart; the next start or restart then brings all up, and nothing is left to do.
func TestARestartThatIsCutIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.mustRun("pair.star", pair, nil)
	g, err := load(t.Context(), r.facts(), "pair.star", pair, nil)
	if err != nil {
		t.Fatal(err)
	}
	containers, err := pct.Containers(g)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.host.WriteFile(t.Context(), record.Record{App: "pair", Containers: containers}.File()); err != nil {
		t.Fatal(err)
	}
	restart, start := pct.Switch{Turn: pct.Restart, App: "pair"}, pct.Switch{Turn: pct.TurnOn, App: "pair"}
	cut := true
	for at := 1; cut; at++ {
		for _, after := range []bool{false, true} {
			m := &mortal{Host: r.host, at: at, after: after}
			ctx, dead := context.WithCancel(t.Context())
			m.dead = dead
			_, err := exec.Run(ctx, turn(t, r.host, restart), m, quick)
			dead()
			if cut = m.calls >= at; cut && err == nil && !after {
				t.Fatalf("call %d: tg was killed and says that all is well", at)
			}
			next := start
			if at%2 == 0 {
				next = restart
			}
			if _, err := exec.Run(t.Context(), turn(t, r.host, next), r.host, quick); err != nil {
				t.Fatalf("killed at call %d (after it: %v), then %s: %v", at, after, next.Turn, err)
			}
			if left := turn(t, r.host, start); !left.Empty() {
				t.Fatalf("killed at call %d (after it: %v), then %s: still to do:\n%s", at, after, next.Turn, plan.Text(left))
			}
			guests, _, err := pct.Look(t.Context(), r.host)
			if err != nil {
				t.Fatal(err)
			}
			running := ""
			for _, c := range guests.Mine() {
				running += fmt.Sprintf("%s:%v ", c.ID.Name, c.Running)
			}
			if running != "db:true web:true " {
				t.Fatalf("killed at call %d: %s", at, running)
			}
		}
	}
	if p := r.mustPlan("pair.star", pair, nil); !p.Empty() {
		t.Errorf("a run has something to do:\n%s", plan.Text(p))
	}
}
