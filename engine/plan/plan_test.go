package plan_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/plan"
)

// spec is a node whose observation and comparison are the test's.
type spec struct {
	asks func(known *engine.Answers) []engine.Ask
	diff func(in engine.Inputs) (engine.Diff, error)
}

func (s spec) Asks(known *engine.Answers) []engine.Ask {
	if s.asks == nil {
		return nil
	}
	return s.asks(known)
}
func (spec) Observe(*engine.Answers) (engine.State, error) { return nil, nil }
func (s spec) Diff(_ engine.State, in engine.Inputs) (engine.Diff, error) {
	if s.diff == nil {
		return engine.Diff{}, nil
	}
	return s.diff(in)
}
func (spec) Apply(context.Context, engine.Work) (engine.Outputs, error) {
	panic("a plan applies nothing")
}

// host counts round trips and answers every question with its own text.
type host struct {
	engine.Host
	rounds [][]string
}

func (*host) Name() string { return "pve1" }
func (h *host) Batch(_ context.Context, asks []engine.Ask) (*engine.Answers, error) {
	m := map[string]engine.Answer{}
	var sent []string
	for _, q := range asks {
		sent = append(sent, q.String())
		m[q.Key()] = engine.Answer{Result: engine.Result{Stdout: []byte(q.String())}}
	}
	h.rounds = append(h.rounds, sent)
	return engine.NewAnswers(m), nil
}

func graph(t *testing.T, nodes ...engine.Node) *engine.Graph {
	t.Helper()
	for i := range nodes {
		nodes[i].Step = engine.Step{ID: nodes[i].ID.Step(), Pos: engine.Pos{File: "app.star", Line: i + 1, Col: 1}}
	}
	g, err := engine.NewGraph(engine.App{Name: "app"}, nodes, []engine.AppOutput{{Name: "url", Text: engine.Lit("http://").Append(engine.Hole(engine.Ref{Node: "k/a", Output: "x"}, false))}})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestEqualQuestionsOfManyStepsAreSentOnceInTwoRounds(t *testing.T) {
	asks := func(own string) func(*engine.Answers) []engine.Ask {
		return func(known *engine.Answers) []engine.Ask {
			out := []engine.Ask{engine.AskRun("zfs", "list")}
			if known != nil {
				out = append(out, engine.AskRun("cat", own))
			}
			return out
		}
	}
	h := &host{}
	p, err := plan.Build(t.Context(), graph(t, engine.Node{ID: "k/a", Spec: spec{asks: asks("a")}}, engine.Node{ID: "k/b", Spec: spec{asks: asks("b")}}), h, &engine.Facts{}, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{{"zfs list"}, {"cat a", "cat b"}}, h.rounds); diff != "" {
		t.Errorf("questions (-want +got):\n%s", diff)
	}
	if p.Rounds != 2 || !p.Empty() {
		t.Errorf("%d rounds, empty %v", p.Rounds, p.Empty())
	}
}

func TestAllErrorsAreToldWithTheirLines(t *testing.T) {
	broken := func(text string) spec {
		return spec{diff: func(engine.Inputs) (engine.Diff, error) { return engine.Diff{}, errors.New(text) }}
	}
	_, err := plan.Build(t.Context(), graph(t, engine.Node{ID: "k/a", Spec: broken("one")}, engine.Node{ID: "k/b", Spec: broken("two")}), &host{}, &engine.Facts{}, plan.Options{})
	if err == nil || err.Error() != "app.star:1:1: k/a: one\napp.star:2:1: k/b: two" {
		t.Errorf("error is %v", err)
	}
}

func changing(out engine.Value, changes ...engine.Change) spec {
	return spec{diff: func(engine.Inputs) (engine.Diff, error) {
		return engine.Diff{Changes: changes, Outputs: engine.Outputs{"x": out}}, nil
	}}
}

func TestTextTellsWhatWhyAndWhatIsLost(t *testing.T) {
	kind := engine.Kind{Name: "k", FindAsks: func(*engine.Answers) []engine.Ask { return nil }, Find: func(*engine.Answers) ([]engine.Found, error) {
		return []engine.Found{
			{App: "app", Step: "k/gone", What: "CT 7", Now: "running", Loses: "its root"},
			{App: "app", Step: "k/data", What: "dataset d", Data: true},
			{App: "app", Step: "k/a", What: "CT 1"},
			{App: "other", Step: "k/x", What: "CT 9"},
		}, nil
	}}
	g := graph(t,
		engine.Node{ID: "k/a", Spec: changing(engine.Unknown("after start"),
			engine.Change{Action: engine.Update, Field: "memory", From: "1G", To: "2G", Why: "the recipe says so", Restarts: true},
			engine.Change{Action: engine.Update, Field: "swap", From: "1G", Why: "the recipe says so"},
			engine.Change{Action: engine.Replace, Field: "image", From: "a\x1b[2J", To: "b", Why: "new", Loses: "everything"})},
		engine.Node{ID: "k/b", Spec: spec{}},
	)
	p, err := plan.Build(t.Context(), g, &host{}, &engine.Facts{}, plan.Options{Kinds: []engine.Kind{kind}})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimPrefix(`
± k/a  (app.star:1:1)
    ~ memory: 1G → 2G, restarts (the recipe says so)
    ~ swap: 1G → unset
    ± image: a·[2J → b (new)
        loses: everything
- k/gone: CT 7 (running)
    - remove (the recipe no longer has it)
        loses: its root
  k/data: dataset d stays: data is removed only by tg destroy --data

app on pve1: 1 to replace, 1 to remove, 1 unchanged
outputs:
  url = (known after start)
`, "\n")
	if diff := cmp.Diff(want, plan.Text(p)); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	later := *p
	later.Orphans = append([]engine.Orphan{}, p.Orphans...)
	later.Orphans[0].Now = "stopped"
	if d := plan.Difference(p, &later); d != "" {
		t.Error(d + ": what a container does at the moment makes another plan of it")
	}
	later.Orphans = later.Orphans[1:]
	if plan.Difference(p, &later) == "" {
		t.Error("a removal less is the same plan")
	}
}

func TestSecretsOfInputsStaySecretInThePlan(t *testing.T) {
	g := graph(t, engine.Node{ID: "k/a", Spec: changing(engine.Known("hunter22").Sensitive(), engine.Change{Action: engine.Create, Why: "new"})})
	p, err := plan.Build(t.Context(), g, &host{}, &engine.Facts{}, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	js, err := plan.JSON(p)
	if err != nil {
		t.Fatal(err)
	}
	if all := plan.Text(p) + string(js); strings.Contains(all, "hunter22") || !strings.Contains(all, "url = ***") {
		t.Errorf("plan:\n%s", all)
	}
}
