package engine

import (
	"fmt"
	"slices"
	"strings"
)

// An App is what a recipe declares about itself and what it was evaluated with.
type App struct {
	Name     string `json:"name"`
	Title    string `json:"title,omitempty"`
	Summary  string `json:"summary,omitempty"`
	Category string `json:"category,omitempty"`
	Homepage string `json:"homepage,omitempty"`
	License  string `json:"license,omitempty"`
	Source   string `json:"source"` // file as the user named it, or "catalog:immich"
	Digest   string `json:"digest"` // sha256 over the recipe and all it loads
	// Options are the values used, by name, as text; no secrets.
	Options map[string]string `json:"options,omitempty"`
}

// An AppOutput is a named result that the end of a run lists: output("url", …).
type AppOutput struct {
	Name string
	Text Text
	Doc  string
	Pos  Pos
}

// A Graph is the nodes of one app, sound by construction: names are unique, all
// needs exist, and there is no cycle.
type Graph struct {
	App     App
	Outputs []AppOutput // in recipe order
	nodes   []Node
	index   map[NodeID]int
}

// NewGraph checks that names are unique, that everything needed exists and that
// there is no cycle, and returns the graph with nodes sorted so that needs come
// before needers, ties in the order given. Errors name the step and its position.
func NewGraph(app App, nodes []Node, outputs []AppOutput) (*Graph, error) {
	at := make(map[NodeID]int, len(nodes))
	for i, n := range nodes {
		if j, dup := at[n.ID]; dup {
			return nil, &Error{Pos: n.Step.Pos, Via: n.Step.Via, Step: n.Step.ID,
				Err: fmt.Errorf("made twice, first at %s", nodes[j].Step.Pos)}
		}
		at[n.ID] = i
	}
	waiting := make([]int, len(nodes))
	needers := make([][]int, len(nodes))
	for i, n := range nodes {
		for _, need := range n.Needs {
			j, ok := at[need]
			if !ok {
				return nil, &Error{Pos: n.Step.Pos, Via: n.Step.Via, Step: n.Step.ID,
					Err: fmt.Errorf("%s needs %s, which is not in the recipe", n.ID, need)}
			}
			waiting[i]++
			needers[j] = append(needers[j], i)
		}
	}
	g := &Graph{App: app, Outputs: outputs, nodes: make([]Node, 0, len(nodes)), index: make(map[NodeID]int, len(nodes))}
	var ready intHeap
	for i := range nodes {
		if waiting[i] == 0 {
			ready.push(i)
		}
	}
	for len(ready) > 0 {
		i := ready.pop()
		g.index[nodes[i].ID] = len(g.nodes)
		g.nodes = append(g.nodes, nodes[i])
		for _, j := range needers[i] {
			if waiting[j]--; waiting[j] == 0 {
				ready.push(j)
			}
		}
	}
	if len(g.nodes) < len(nodes) {
		return nil, cycleError(nodes, at, waiting)
	}
	return g, nil
}

// A Built is a step and what its kind made of it.
type Built struct {
	Step Step
	Made *Made
}

// Assemble turns steps, in recipe order, into a Graph: every part becomes a
// node, and Uses, After, Before and AttachTo become Needs and Attached.
func Assemble(app App, steps []Built, outputs []AppOutput) (*Graph, error) {
	parts := 0
	for _, b := range steps {
		parts += len(b.Made.Parts)
	}
	nodes := make([]Node, 0, parts)
	at := make(map[NodeID]int, parts)
	for _, b := range steps {
		for _, p := range b.Made.Parts {
			n := Node{ID: b.Step.ID.Node(p.Name), Step: b.Step, Spec: p.Spec, Class: p.Class}
			n.Needs = slices.Clone(p.After)
			for _, r := range p.Uses {
				n.Needs = append(n.Needs, r.Node)
			}
			if _, dup := at[n.ID]; !dup {
				at[n.ID] = len(nodes)
			}
			nodes = append(nodes, n)
		}
	}
	for _, b := range steps {
		for _, p := range b.Made.Parts {
			id := b.Step.ID.Node(p.Name)
			before := p.Before
			if p.AttachTo != "" {
				before = append(slices.Clone(before), p.AttachTo)
			}
			for _, target := range before {
				i, ok := at[target]
				if !ok {
					return nil, &Error{Pos: b.Step.Pos, Via: b.Step.Via, Step: b.Step.ID,
						Err: fmt.Errorf("%s belongs before %s, which is not in the recipe", id, target)}
				}
				nodes[i].Needs = append(nodes[i].Needs, id)
				if target == p.AttachTo {
					nodes[i].Attached = append(nodes[i].Attached, id)
				}
			}
		}
	}
	for i := range nodes {
		slices.Sort(nodes[i].Needs)
		nodes[i].Needs = slices.Compact(nodes[i].Needs)
	}
	return NewGraph(app, nodes, outputs)
}

// cycleError names one cycle among the nodes that still wait.
func cycleError(nodes []Node, at map[NodeID]int, waiting []int) error {
	i := slices.IndexFunc(waiting, func(n int) bool { return n > 0 })
	seen := map[int]int{}
	var path []NodeID
	for {
		if start, again := seen[i]; again {
			path = append(path[start:], nodes[i].ID)
			break
		}
		seen[i] = len(path)
		path = append(path, nodes[i].ID)
		for _, need := range nodes[i].Needs {
			if waiting[at[need]] > 0 {
				i = at[need]
				break
			}
		}
	}
	names := make([]string, len(path))
	for k, id := range path {
		names[k] = string(id)
	}
	n := nodes[at[path[0]]]
	return &Error{Pos: n.Step.Pos, Via: n.Step.Via, Step: n.Step.ID,
		Err: fmt.Errorf("steps wait for each other: %s", strings.Join(names, " needs "))}
}

// Nodes returns the nodes, needs before needers. The caller must not change them.
func (g *Graph) Nodes() []Node { return g.nodes }

// Node returns the node of that id.
func (g *Graph) Node(id NodeID) (Node, bool) {
	i, ok := g.index[id]
	if !ok {
		return Node{}, false
	}
	return g.nodes[i], true
}

// intHeap is a binary heap, smallest first.
type intHeap []int

func (h *intHeap) push(v int) {
	*h = append(*h, v)
	s := *h
	for i := len(s) - 1; i > 0; {
		p := (i - 1) / 2
		if s[p] <= s[i] {
			break
		}
		s[p], s[i] = s[i], s[p]
		i = p
	}
}

func (h *intHeap) pop() int {
	s := *h
	top, last := s[0], len(s)-1
	s[0] = s[last]
	s = s[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= len(s) {
			break
		}
		if c+1 < len(s) && s[c+1] < s[c] {
			c++
		}
		if s[i] <= s[c] {
			break
		}
		s[i], s[c] = s[c], s[i]
		i = c
	}
	*h = s
	return top
}
