package draw

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
)

// graph builds a graph of ids and what each needs.
func graph(t *testing.T, edges ...[]string) *engine.Graph {
	t.Helper()
	var nodes []engine.Node
	for _, e := range edges {
		id := engine.NodeID(e[0])
		n := engine.Node{ID: id, Step: engine.Step{ID: id.Step()}}
		for _, need := range e[1:] {
			n.Needs = append(n.Needs, engine.NodeID(need))
		}
		nodes = append(nodes, n)
	}
	g, err := engine.NewGraph(engine.App{Name: "app"}, nodes, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func app(t *testing.T) *engine.Graph {
	return graph(t,
		[]string{"oci_pull/nginx"},
		[]string{"zfs_dataset/tank/<a>"},
		[]string{"pct_create/db#create", "oci_pull/nginx"},
		[]string{"pct_create/web#create", "oci_pull/nginx"},
		[]string{"pct_create/db#start", "pct_create/db#create", "zfs_dataset/tank/<a>"},
		[]string{"pct_create/web#start", "pct_create/web#create", "pct_create/db#start"},
	)
}

func TestDot(t *testing.T) {
	var b strings.Builder
	if err := Dot(&b, Of(app(t), false)); err != nil {
		t.Fatal(err)
	}
	want := `digraph "app" {
	rankdir=LR
	node [shape=box, fontname="sans-serif"]
	n0 [label="oci_pull\nnginx"]
	n1 [label="zfs_dataset\ntank/<a>"]
	n2 [label="pct_create\ndb"]
	n3 [label="pct_create\nweb"]
	n0 -> n2
	n1 -> n2
	n0 -> n3
	n2 -> n3
}
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("dot (-want +got):\n%s", diff)
	}
}

func TestMermaidWithParts(t *testing.T) {
	var b strings.Builder
	if err := Mermaid(&b, Of(app(t), true)); err != nil {
		t.Fatal(err)
	}
	want := `flowchart LR
    n0["oci_pull<br/>nginx"]
    n1["zfs_dataset<br/>tank/#lt;a#gt;"]
    n2["pct_create create<br/>db"]
    n3["pct_create create<br/>web"]
    n4["pct_create start<br/>db"]
    n5["pct_create start<br/>web"]
    n0 --> n2
    n0 --> n3
    n1 --> n4
    n2 --> n4
    n3 --> n5
    n4 --> n5
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("mermaid (-want +got):\n%s", diff)
	}
}

// Two containers that each wait for a part of the other are a cycle of steps but
// not of nodes; the picture leaves one arrow out rather than fail.
func TestStepsThatWaitForPartsOfEachOther(t *testing.T) {
	d := Of(graph(t,
		[]string{"pct_create/a#create"},
		[]string{"pct_create/b#create", "pct_create/a#create"},
		[]string{"pct_create/a#start", "pct_create/b#create"},
		[]string{"pct_create/b#start", "pct_create/b#create"},
	), false)
	for i, box := range d.Boxes {
		for _, j := range box.Needs {
			if j >= i {
				t.Errorf("box %d needs box %d, which comes later", i, j)
			}
		}
	}
	if len(d.Boxes) != 2 {
		t.Errorf("got %d boxes, want 2", len(d.Boxes))
	}
}

func TestSVGIsWellFormedAndNothingOverlaps(t *testing.T) {
	edges := [][]string{}
	for i := range 40 {
		e := []string{fmt.Sprintf("file/%d-with-a-name-that-is-far-too-long-to-be-shown-&-whole", i)}
		for _, j := range []int{i / 2, i / 3} {
			if j < i {
				e = append(e, edges[j][0])
			}
		}
		edges = append(edges, e)
	}
	d := Of(graph(t, edges...), false)
	places, width, height := arrange(d)
	for i, p := range places {
		if p.x < 0 || p.y < 0 || p.x+p.w > width || p.y+boxHeight > height {
			t.Errorf("box %d at %v is outside of %.0f x %.0f", i, p, width, height)
		}
		for j, q := range places[:i] {
			if p.x < q.x+q.w && q.x < p.x+p.w && p.y < q.y+boxHeight && q.y < p.y+boxHeight {
				t.Errorf("boxes %d and %d overlap: %v, %v", i, j, p, q)
			}
		}
		for _, j := range d.Boxes[i].Needs {
			if places[j].x+places[j].w > p.x {
				t.Errorf("box %d is not right of box %d, which it needs", i, j)
			}
		}
	}

	var b strings.Builder
	if err := SVG(&b, d); err != nil {
		t.Fatal(err)
	}
	dec := xml.NewDecoder(strings.NewReader(b.String()))
	for {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnEmptyDiagramIsAPicture(t *testing.T) {
	var b strings.Builder
	if err := SVG(&b, Of(graph(t), false)); err != nil || !strings.HasSuffix(b.String(), "</svg>\n") {
		t.Errorf("got %q, %v", b.String(), err)
	}
}
