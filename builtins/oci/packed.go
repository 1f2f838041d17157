package oci

import "github.com/tengil/tengil/engine"

// A Packed is what the layers of an image take in its archive.
type Packed struct {
	Size  engine.Size // 0 where nobody has told: the registry was asked for an index only
	Pulls bool        // the archive is yet to be written
}

// PackedOf returns the size of the image of a planned oci_pull; ok is false for
// any other node.
func PackedOf(n engine.PlanNode) (Packed, bool) {
	_, ok := n.Spec.(pull)
	st, seen := n.Now.(*state)
	if !ok || !seen {
		return Packed{}, false
	}
	p := Packed{Size: engine.Size(st.size), Pulls: len(n.Diff.Changes) > 0}
	if !p.Pulls {
		p.Size = engine.Size(st.facts.Size)
	}
	return p, true
}
