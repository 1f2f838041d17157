package builtins_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/lab"
)

// A command that was ended in its middle, or whose end nobody saw, may still be at
// work, and its guard does not tell. So the run does not begin it a second time; the
// next one does, and arrives.
func TestACommandThatMayLingerIsNotBegunTwiceInARun(t *testing.T) {
	for _, kind := range []struct {
		name, base, step string
		begins           []string // what the node is sent
	}{
		{"node_exec", "", `node_exec(["mkdir", "/srv/made"], creates = "/srv/made")`, []string{"mkdir", "/srv/made"}},
		{"pct_exec", alpine, `pct_exec(web, ["mkdir", "-p", "/srv/made"], creates = "/srv/made")`, []string{"pct", "exec", "mkdir", "/srv/made"}},
	} {
		for _, c := range []struct {
			name string
			do   lab.Effect
			want string // of the error
		}{
			{"its time is up", lab.Hang, "no end after "},
			{"the connection drops", lab.Cut, "connection lost while it ran; it may still be at work"},
			{"it is killed", lab.Kill, "exit status 137"},
		} {
			t.Run(kind.name+" "+c.name, func(t *testing.T) {
				t.Parallel()
				b := openBench(t)
				if kind.base != "" {
					b.mustRun(kind.base)
				}
				p := b.plan(kind.base + kind.step)
				for _, n := range p.Nodes {
					if _, lingers := n.Spec.(engine.Lingering); lingers != (n.ID.Step().Kind() == kind.name) {
						t.Errorf("%s is an engine.Lingering: %v", n.ID, lingers)
					}
				}
				command := func(argv []string) bool {
					return argv[0] == kind.begins[0] && !slices.ContainsFunc(kind.begins, func(word string) bool { return !slices.Contains(argv, word) })
				}
				var begun atomic.Int32
				b.lab.Fault(lab.Fault{Match: func(argv []string) bool { // never fires
					if command(argv) {
						begun.Add(1)
					}
					return false
				}})
				// Time is up when the command hangs, for the try that it is.
				var timeUp atomic.Value
				deadline := func(ctx context.Context, _ time.Duration, cause error) (context.Context, context.CancelFunc) {
					ctx, cancel := context.WithCancelCause(ctx)
					timeUp.Store(func() { cancel(cause) })
					return ctx, func() { cancel(nil) }
				}
				b.lab.Fault(lab.Fault{Match: command, Do: c.do, Then: func([]string) {
					if c.do == lab.Hang {
						timeUp.Load().(func())()
					}
				}})
				_, err := exec.Run(t.Context(), p, b.host, exec.Options{Pause: time.Millisecond, Deadline: deadline})
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error is %v", err)
				}
				if n := begun.Load(); n != 1 {
					t.Errorf("begun %d times", n)
				}
				b.mustRun(kind.base + kind.step)
				if n := begun.Load(); n != 2 {
					t.Errorf("begun %d times in both runs", n)
				}
			})
		}
	}
}
