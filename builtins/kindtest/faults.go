package kindtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tengil/tengil/engine/lab"
)

// matcher matches the programs that changed the node in a run without faults.
func matcher(commands []string) func(argv []string) bool {
	set := map[string]bool{}
	for _, c := range commands {
		set[verb(strings.Fields(c))] = true
	}
	return func(argv []string) bool { return set[verb(argv)] && !housekeeping(argv) }
}

// verb is what tells commands apart: the program, of the larger ones also what
// it is to do.
func verb(argv []string) string {
	if len(argv) == 0 {
		return ""
	}
	if len(argv) > 1 && slices.Contains([]string{"pct", "zfs", "pvesm", "pvesh", "skopeo", "systemctl"}, argv[0]) {
		return argv[0] + " " + argv[1]
	}
	return argv[0]
}

// sample is at how many commands of a case a fault is set, spread evenly, unless
// the environment says EXHAUSTIVE=1 (make exhaust): then at each. The promise
// "crash-only" is tested at each call either way, in recipes.
// Of a change it is fewer.
const (
	sample       = 5
	changeSample = 3
)

// points returns at which of the commands a fault is set.
func points(commands []string, sample int) []int {
	n := len(commands)
	var out []int
	for i := range n {
		sample := sample
		if testing.Short() {
			sample = 1
		}
		if os.Getenv("EXHAUSTIVE") == "1" || n <= sample || i*sample/n != (i-1)*sample/n || i == n-1 {
			out = append(out, i+1)
		}
	}
	return out
}

// survives breaks a run at every command in turn; the runs after it must arrive.
func (s suite) survives(t *testing.T, commands []string, when lab.When, effect lab.Effect) {
	match := matcher(commands)
	for _, nth := range points(commands, s.sample) {
		t.Run(fmt.Sprintf("command %d", nth), func(t *testing.T) {
			n := s.open(t)
			p := n.plan(s.Recipe)
			var over atomic.Bool // a run may have one look fewer than the one that was counted
			n.lab.Fault(lab.Fault{
				Match: func(argv []string) bool { return !over.Load() && match(argv) }, Nth: nth,
				When: when, Do: effect, Exit: 1, Stderr: "kindtest: fault\n",
			})
			broken := n.run(t.Context(), p, nil)
			over.Store(true)
			n.arrive(s.Recipe, broken)
		})
	}
}

// runsToArrive is how many further runs a broken one may need: a unit of it may
// still work during the first.
const runsToArrive = 3

// arrive runs the recipe until nothing is left to do.
func (n *node) arrive(text string, broken error) {
	n.t.Helper()
	var err error
	for range runsToArrive {
		p := n.plan(text)
		if p.Empty() {
			n.settled(text)
			return
		}
		err = n.run(n.t.Context(), p, nil)
	}
	if err != nil {
		n.t.Fatalf("run after the broken one: %v\nthe broken one said: %v", err, broken)
	}
	n.settled(text)
}

// inUnit are commands that run as units: they outlive a run that is cut off, and
// the next run waits for them, so one that hangs would hang that too.
func inUnit(command string) bool {
	return slices.Contains([]string{"pct create", "pct destroy", "skopeo copy"}, verb(strings.Fields(command)))
}

// cancels hangs the command in the middle and cuts the run off.
func (s suite) cancels(t *testing.T, commands []string) {
	commands = slices.DeleteFunc(slices.Clone(commands), inUnit)
	if len(commands) == 0 {
		return
	}
	n := s.open(t)
	p := n.plan(s.Recipe)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cut := make(chan struct{})
	nth := len(commands)/2 + 1
	n.lab.Fault(lab.Fault{Match: hook(matcher(commands), nth, func() { stop(); close(cut) }), Nth: nth, When: lab.Before, Do: lab.Hang})
	ended := make(chan error, 1)
	go func() { ended <- n.run(ctx, p, cut) }()
	select {
	case err := <-ended:
		if err == nil && n.lab.Pending() == 0 {
			t.Error("a run that was cut off says that it succeeded")
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Logf("the run that was cut off said: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the run goes on a minute after it was cut off")
	}
	n.arrive(s.Recipe, nil)
}

// hook returns match, which calls f at the nth match.
func hook(match func([]string) bool, nth int, f func()) func([]string) bool {
	seen := 0 // the lab calls Match under its own lock
	return func(argv []string) bool {
		if !match(argv) {
			return false
		}
		if seen++; seen == nth {
			f()
		}
		return true
	}
}
