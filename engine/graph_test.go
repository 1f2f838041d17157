package engine_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
)

type noSpec struct{}

func (noSpec) Asks(*engine.Answers) []engine.Ask                          { return nil }
func (noSpec) Observe(*engine.Answers) (engine.State, error)              { return nil, nil }
func (noSpec) Diff(engine.State, engine.Inputs) (engine.Diff, error)      { return engine.Diff{}, nil }
func (noSpec) Apply(context.Context, engine.Work) (engine.Outputs, error) { return nil, nil }

func built(id engine.StepID, line int, parts ...engine.Part) engine.Built {
	for i := range parts {
		parts[i].Spec = noSpec{}
	}
	return engine.Built{Step: engine.Step{ID: id, Pos: engine.Pos{File: "t.star", Line: line, Col: 1}}, Made: &engine.Made{Name: id.Name(), Parts: parts}}
}

func TestAssembleMakesEdgesOfData(t *testing.T) {
	g, err := engine.Assemble(engine.App{Name: "t"}, []engine.Built{
		built("c/server", 1,
			engine.Part{Name: "create"},
			engine.Part{Name: "configure", Uses: []engine.Ref{{Node: "c/server#create", Output: "id"}, {Node: "c/db#start", Output: "address"}}}),
		built("c/db", 2, engine.Part{Name: "start"}),
		built("gpu/server", 3, engine.Part{After: []engine.NodeID{"c/server#create"}, AttachTo: "c/server#configure"}),
		built("x/early", 4, engine.Part{Before: []engine.NodeID{"c/db#start"}}),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var order []engine.NodeID
	for _, n := range g.Nodes() {
		order = append(order, n.ID)
	}
	want := []engine.NodeID{"c/server#create", "gpu/server", "x/early", "c/db#start", "c/server#configure"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	n, _ := g.Node("c/server#configure")
	if diff := cmp.Diff([]engine.NodeID{"c/db#start", "c/server#create", "gpu/server"}, n.Needs); diff != "" {
		t.Errorf("needs (-want +got):\n%s", diff)
	}
	if !slices.Equal(n.Attached, []engine.NodeID{"gpu/server"}) {
		t.Errorf("attached: %v", n.Attached)
	}
}

func TestUnsoundGraphsAreRefusedAtTheirLine(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []engine.Built
		want  string
	}{
		{"two steps of one name", []engine.Built{built("k/a", 1, engine.Part{}), built("k/a", 7, engine.Part{})},
			"t.star:7:1: k/a: made twice, first at t.star:1:1"},
		{"a need that is not there", []engine.Built{built("k/a", 2, engine.Part{After: []engine.NodeID{"k/b"}})},
			"t.star:2:1: k/a: k/a needs k/b, which is not in the recipe"},
		{"a cycle", []engine.Built{
			built("k/a", 1, engine.Part{After: []engine.NodeID{"k/c"}}),
			built("k/b", 2, engine.Part{After: []engine.NodeID{"k/a"}}),
			built("k/c", 3, engine.Part{After: []engine.NodeID{"k/b"}}),
			built("k/d", 4, engine.Part{After: []engine.NodeID{"k/c"}}),
		}, "k/a needs k/c needs k/b needs k/a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := engine.Assemble(engine.App{}, c.steps, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
}
