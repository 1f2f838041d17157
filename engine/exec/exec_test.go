package exec_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
)

// work is a Spec whose Apply is the test's.
type work struct {
	apply   func(ctx context.Context, w engine.Work) (engine.Outputs, error)
	diff    func(in engine.Inputs) engine.Diff
	observe func() engine.State
}

func (work) Asks(*engine.Answers) []engine.Ask { return nil }
func (s work) Observe(*engine.Answers) (engine.State, error) {
	if s.observe != nil {
		return s.observe(), nil
	}
	return nil, nil
}
func (s work) Diff(_ engine.State, in engine.Inputs) (engine.Diff, error) {
	if s.diff != nil {
		return s.diff(in), nil
	}
	return engine.Diff{Changes: []engine.Change{{Action: engine.Create, Why: "test"}}}, nil
}
func (s work) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	return s.apply(ctx, w)
}

// host answers every question with nothing and fails the test for all else.
type host struct{ engine.Host }

func (host) Batch(context.Context, []engine.Ask) (*engine.Answers, error) {
	return engine.NewAnswers(nil), nil
}

type nodeSpec struct {
	id    engine.NodeID
	needs []engine.NodeID
	class engine.Class
	apply func(ctx context.Context, w engine.Work) (engine.Outputs, error)
}

func planOf(t *testing.T, nodes ...nodeSpec) *engine.Plan {
	t.Helper()
	var ns []engine.Node
	for _, n := range nodes {
		apply := n.apply
		if apply == nil {
			apply = func(context.Context, engine.Work) (engine.Outputs, error) { return nil, nil }
		}
		ns = append(ns, engine.Node{ID: n.id, Step: engine.Step{ID: n.id.Step(), Pos: engine.Pos{File: "t.star", Line: len(ns) + 1, Col: 1}},
			Needs: n.needs, Class: n.class, Spec: work{apply: apply}})
	}
	g, err := engine.NewGraph(engine.App{Name: "t"}, ns, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &engine.Plan{App: g.App}
	for _, n := range g.Nodes() {
		d, _ := n.Spec.Diff(nil, engine.Inputs{})
		p.Nodes = append(p.Nodes, engine.PlanNode{Node: n, Diff: d})
	}
	return p
}

type recorder struct {
	mu     sync.Mutex
	events []string
}

func (r *recorder) event(e engine.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := string(e.Kind) + " " + string(e.Node)
	if e.Cause != "" {
		s += " because of " + string(e.Cause)
	}
	r.events = append(r.events, s)
}

func fail(err error) func(context.Context, engine.Work) (engine.Outputs, error) {
	return func(context.Context, engine.Work) (engine.Outputs, error) { return nil, err }
}

func TestAFailureSkipsDependentsNamingTheCauseAndLetsTheRestFinish(t *testing.T) {
	broken := errors.New("broken")
	p := planOf(t,
		nodeSpec{id: "k/a", apply: fail(broken)},
		nodeSpec{id: "k/b", needs: []engine.NodeID{"k/a"}},
		nodeSpec{id: "k/c", needs: []engine.NodeID{"k/b"}},
		nodeSpec{id: "k/d"},
	)
	var r recorder
	sum, err := exec.Run(t.Context(), p, host{}, exec.Options{Events: r.event})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "t.star:1:1: k/a: broken") {
		t.Errorf("error is %v", err)
	}
	got := map[engine.NodeID]string{}
	for _, o := range sum.Outcomes {
		switch {
		case o.Err != nil:
			got[o.Node] = "failed"
		case o.Cause != "":
			got[o.Node] = "skipped: " + string(o.Cause)
		default:
			got[o.Node] = "done"
		}
	}
	want := map[engine.NodeID]string{"k/a": "failed", "k/b": "skipped: k/a", "k/c": "skipped: k/a", "k/d": "done"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	for _, want := range []string{"failed k/a", "skipped k/b because of k/a", "skipped k/c because of k/a", "done k/d"} {
		if !slices.Contains(r.events, want) {
			t.Errorf("no event %q in %q", want, r.events)
		}
	}
}

func TestOutputsReachTheInputsOfNeeders(t *testing.T) {
	var got engine.Value
	p := planOf(t,
		nodeSpec{id: "k/a", apply: func(context.Context, engine.Work) (engine.Outputs, error) {
			return engine.Outputs{"x": engine.Known("42")}, nil
		}},
		nodeSpec{id: "k/b", needs: []engine.NodeID{"k/a"}, apply: func(_ context.Context, w engine.Work) (engine.Outputs, error) {
			got = w.In.Value(engine.Ref{Node: "k/a", Output: "x"})
			return nil, nil
		}},
	)
	if _, err := exec.Run(t.Context(), p, host{}, exec.Options{}); err != nil {
		t.Fatal(err)
	}
	if got.String() != "42" {
		t.Errorf("k/b got %v, want 42", got)
	}
}

func TestOnlyWhatIsTransientIsTriedAgain(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		tries int
	}{
		{"a lock timeout passes", engine.Transient(errors.New("got timeout")), 3},
		{"anything else does not", errors.New("no such pool"), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				p := planOf(t, nodeSpec{id: "k/a", apply: func(context.Context, engine.Work) (engine.Outputs, error) {
					if tries++; tries < 3 {
						return nil, c.err
					}
					return nil, nil
				}})
				_, err := exec.Run(t.Context(), p, host{}, exec.Options{})
				if tries != c.tries || (err == nil) != (c.tries == 3) {
					t.Errorf("%d tries, error %v; want %d tries", tries, err, c.tries)
				}
			})
		})
	}
}

// What a try that failed has done is not known: the next one is told what is there
// by then.
func TestATryIsToldWhatTheOneBeforeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there := "nothing"
		var told []engine.State
		p := planOf(t, nodeSpec{id: "k/a"})
		p.Nodes[0].Now = there
		p.Nodes[0].Spec = work{
			observe: func() engine.State { return there },
			apply: func(_ context.Context, w engine.Work) (engine.Outputs, error) {
				told = append(told, w.Now)
				if there == "half" {
					return nil, nil
				}
				there = "half"
				return nil, engine.Transient(errors.New("connection lost"))
			},
		}
		_, err := exec.Run(t.Context(), p, host{}, exec.Options{})
		if want := []engine.State{"nothing", "half"}; err != nil || !slices.Equal(told, want) {
			t.Errorf("told %v, %v; want %v", told, err, want)
		}
	})
}

func TestLimitsHoldByClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := 0, 0
		var nodes []nodeSpec
		for i := range 20 {
			nodes = append(nodes, nodeSpec{id: engine.NodeID(fmt.Sprintf("k/%02d", i)), class: engine.Unpack,
				apply: func(ctx context.Context, _ engine.Work) (engine.Outputs, error) {
					mu.Lock()
					now++
					most = max(most, now)
					mu.Unlock()
					<-time.After(time.Second)
					mu.Lock()
					now--
					mu.Unlock()
					return nil, nil
				}})
		}
		begin := time.Now()
		_, err := exec.Run(t.Context(), planOf(t, nodes...), host{}, exec.Options{Limits: map[engine.Class]int{engine.Unpack: 3}})
		if err != nil || most != 3 {
			t.Errorf("at most %d at once, error %v; want exactly 3", most, err)
		}
		if took := time.Since(begin); took != 7*time.Second {
			t.Errorf("20 of 1 s, 3 at once, took %s; want 7s", took)
		}
	})
}

func TestCtrlCStopsStartingAndWaitsAndASecondOneCuts(t *testing.T) {
	for _, second := range []bool{false, true} {
		t.Run(fmt.Sprintf("second=%v", second), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				cut := make(chan struct{})
				var uncut bool
				p := planOf(t,
					nodeSpec{id: "k/a", apply: func(ctx context.Context, _ engine.Work) (engine.Outputs, error) {
						stop()
						if second {
							close(cut)
						}
						select {
						case <-ctx.Done():
							return nil, ctx.Err()
						case <-time.After(time.Minute):
							uncut = true
							return nil, nil
						}
					}},
					nodeSpec{id: "k/b", needs: []engine.NodeID{"k/a"}},
				)
				sum, err := exec.Run(ctx, p, host{}, exec.Options{Cut: cut})
				if !errors.Is(err, context.Canceled) {
					t.Errorf("error is %v, want canceled", err)
				}
				if uncut == second {
					t.Errorf("work ran to its end: %v; second Ctrl-C: %v", uncut, second)
				}
				if b := sum.Outcomes[1]; b.Err == nil && b.Cause == "" {
					t.Error("k/b counts as done although it never started")
				}
			})
		})
	}
}

// patient is work that a stop may end.
type patient struct{ work }

func (patient) Interruptible() {}

func TestCtrlCEndsAtOnceWhatOnlyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		p := planOf(t, nodeSpec{id: "k/a", apply: func(ctx context.Context, _ engine.Work) (engine.Outputs, error) {
			stop()
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		p.Nodes[0].Spec = patient{p.Nodes[0].Spec.(work)}
		_, err := exec.Run(ctx, p, host{}, exec.Options{})
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "k/a: interrupted") {
			t.Errorf("error is %v", err)
		}
	})
}

func TestABugInAStepFailsThatStepOnly(t *testing.T) {
	p := planOf(t,
		nodeSpec{id: "k/a", apply: func(context.Context, engine.Work) (engine.Outputs, error) { panic("oops") }},
		nodeSpec{id: "k/b"},
	)
	sum, err := exec.Run(t.Context(), p, host{}, exec.Options{})
	if err == nil || !strings.Contains(err.Error(), "bug in tengil: oops") {
		t.Errorf("error is %v", err)
	}
	if sum.Outcomes[1].Err != nil {
		t.Errorf("k/b: %v", sum.Outcomes[1].Err)
	}
}

func TestSecretsThatAProgramEchoesAreMasked(t *testing.T) {
	const secret = "correct-horse-battery"
	p := planOf(t,
		nodeSpec{id: "secret/s", apply: func(context.Context, engine.Work) (engine.Outputs, error) {
			return engine.Outputs{"value": engine.Known(secret).Sensitive()}, nil
		}},
		nodeSpec{id: "k/b", needs: []engine.NodeID{"secret/s"}, apply: func(_ context.Context, w engine.Work) (engine.Outputs, error) {
			w.Report("using "+secret, 0, 0)
			return nil, fmt.Errorf("tool said: bad password %s", secret)
		}},
	)
	var texts []string
	_, err := exec.Run(t.Context(), p, host{}, exec.Options{Events: func(e engine.Event) { texts = append(texts, e.Text, e.Error, fmt.Sprint(e.Err)) }})
	all := strings.Join(texts, "\n") + err.Error()
	if strings.Contains(all, secret) {
		t.Errorf("the secret shows:\n%s", all)
	}
	if !strings.Contains(err.Error(), "bad password ***") {
		t.Errorf("error is %v", err)
	}
}

func TestRemovalsWaitForImagesAndStartsWaitForRemovals(t *testing.T) {
	var mu sync.Mutex
	var order []string
	note := func(s string) func(context.Context, engine.Work) (engine.Outputs, error) {
		return func(context.Context, engine.Work) (engine.Outputs, error) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, s)
			return nil, nil
		}
	}
	p := planOf(t,
		nodeSpec{id: "k/a#create", class: engine.Unpack, apply: note("unpack")},
		nodeSpec{id: "k/a#start", class: engine.Start, needs: []engine.NodeID{"k/a#create"}, apply: note("start")},
	)
	for i, what := range []string{"second", "first"} {
		p.Orphans = append(p.Orphans, engine.Orphan{Found: engine.Found{App: "t", Step: engine.StepID("k/" + what), Order: 1 - i,
			Remove: func(ctx context.Context, _ engine.Host, _ func(string, int64, int64)) error {
				_, err := note("remove "+what)(ctx, engine.Work{})
				return err
			}}})
	}
	slices.SortFunc(p.Orphans, func(a, b engine.Orphan) int { return a.Order - b.Order })
	if _, err := exec.Run(t.Context(), p, host{}, exec.Options{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"unpack", "remove first", "remove second", "start"}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}
