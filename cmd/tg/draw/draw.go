// Package draw renders the graph of a recipe as Graphviz text, as Mermaid text,
// and as an SVG picture of its own layered layout.
package draw

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine"
)

// A Diagram is boxes and arrows. Arrows point from what is needed to what needs it.
type Diagram struct {
	Title string
	Boxes []Box // needs before needers
}

// A Box is a step, or a part of one.
type Box struct {
	ID    string
	Kind  string // the first line: "pct_create", or the part of a container
	Name  string // the second line
	Needs []int  // indices of boxes, all smaller than its own
}

// Of returns the diagram of a graph: a box for each step, or with parts one for
// each part of a step.
func Of(g *engine.Graph, parts bool) Diagram {
	d := Diagram{Title: g.App.Name}
	at := map[string]int{}
	key := func(id engine.NodeID) string {
		if parts {
			return string(id)
		}
		return string(id.Step())
	}
	nodes := g.Nodes()
	if !parts {
		nodes = byStep(nodes)
	}
	for _, n := range nodes {
		k := key(n.ID)
		i, ok := at[k]
		if !ok {
			i = len(d.Boxes)
			at[k] = i
			d.Boxes = append(d.Boxes, newBox(n, k, parts))
		}
		for _, need := range n.Needs {
			if j, ok := at[key(need)]; ok && j < i && !slices.Contains(d.Boxes[i].Needs, j) {
				d.Boxes[i].Needs = append(d.Boxes[i].Needs, j)
			}
		}
	}
	for i := range d.Boxes {
		slices.Sort(d.Boxes[i].Needs)
	}
	return d
}

// byStep sorts nodes so that the parts of a step follow one another, steps in the
// order in which they end: then a step comes after every step that it needs,
// unless two containers wait for parts of each other.
func byStep(nodes []engine.Node) []engine.Node {
	last := map[engine.StepID]int{}
	for i, n := range nodes {
		last[n.Step.ID] = i
	}
	nodes = slices.Clone(nodes)
	slices.SortStableFunc(nodes, func(a, b engine.Node) int { return last[a.Step.ID] - last[b.Step.ID] })
	return nodes
}

func newBox(n engine.Node, id string, parts bool) Box {
	b := Box{ID: id, Kind: n.Step.ID.Kind(), Name: n.Step.ID.Name()}
	if parts && n.ID.Part() != "" {
		b.Kind += " " + n.ID.Part()
	}
	return b
}

// Dot writes the diagram for Graphviz.
func Dot(w io.Writer, d Diagram) error {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n\trankdir=LR\n\tnode [shape=box, fontname=\"sans-serif\"]\n", quoteDot(d.Title))
	for i, box := range d.Boxes {
		fmt.Fprintf(&b, "\tn%d [label=%s]\n", i, quoteDot(box.Kind+"\n"+box.Name))
	}
	for i, box := range d.Boxes {
		for _, j := range box.Needs {
			fmt.Fprintf(&b, "\tn%d -> n%d\n", j, i)
		}
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func quoteDot(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// Mermaid writes the diagram for Mermaid, which the forges draw in Markdown.
func Mermaid(w io.Writer, d Diagram) error {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for i, box := range d.Boxes {
		fmt.Fprintf(&b, "    n%d[\"%s<br/>%s\"]\n", i, quoteMermaid(box.Kind), quoteMermaid(box.Name))
	}
	for i, box := range d.Boxes {
		for _, j := range box.Needs {
			fmt.Fprintf(&b, "    n%d --> n%d\n", j, i)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// quoteMermaid writes as entities what ends a label or is markup in one.
func quoteMermaid(s string) string {
	return strings.NewReplacer(`"`, "#quot;", "#", "#35;", "<", "#lt;", ">", "#gt;", "`", "#96;").Replace(s)
}
