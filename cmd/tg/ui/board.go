package ui

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tengil/tengil/engine"
)

// A board is what is known of a run: a row for each container, and for each step
// that is of no container alone. It knows nothing of terminals.
type board struct {
	rows  []*row
	of    map[engine.NodeID]*row
	began time.Time
	done  int // nodes that have ended, in whatever way
	total int
	// stopping is what the last Stopping event said; "" while nothing was stopped.
	stopping string
	spans    map[string][]span // by phase, for Phases
}

// A row is what one line shows.
type row struct {
	name    string
	left    int // nodes that have not ended
	began   time.Time
	ended   time.Time
	active  []*work // in the order in which they started
	phases  []phase // ended ones, in that order
	failed  string
	skipped string
}

// A work is a node that runs now.
type work struct {
	node        engine.NodeID
	label       string
	began       time.Time
	text        string
	bytes, size int64
	seen        []sample
}

// A sample is how many bytes were done at a time.
type sample struct {
	at    time.Time
	bytes int64
}

// A phase is how long a part of a row took.
type phase struct {
	label string
	took  time.Duration
}

// A span is a time in which something of a phase ran.
type span struct{ from, to time.Time }

func newBoard(p *engine.Plan, now time.Time) *board {
	b := &board{of: map[engine.NodeID]*row{}, began: now, spans: map[string][]span{}}
	owner := owners(p)
	byStep := map[engine.StepID]*row{}
	for _, n := range p.Nodes {
		if len(n.Diff.Changes) == 0 {
			continue
		}
		step := n.Step.ID
		if o, ok := owner[step]; ok {
			step = o
		}
		r := byStep[step]
		if r == nil {
			r = &row{name: step.Name()}
			byStep[step] = r
			b.rows = append(b.rows, r)
		}
		r.left++
		b.total++
		b.of[n.ID] = r
	}
	for _, o := range p.Orphans {
		if !o.Keep {
			b.total++
			r := &row{name: o.Step.Name(), left: 1}
			b.rows = append(b.rows, r)
			b.of[o.Step.Node(removal)] = r
		}
	}
	return b
}

// removal is the part by which package exec reports what is removed.
const removal = "remove"

// owners tells for each step of a single node which step of several parts (a
// container) alone needs it, so that an image is shown on its container's line.
func owners(p *engine.Plan) map[engine.StepID]engine.StepID {
	needers := map[engine.StepID][]engine.StepID{}
	for _, n := range p.Nodes {
		for _, need := range n.Needs {
			if s := need.Step(); s != n.Step.ID && !slices.Contains(needers[s], n.Step.ID) {
				needers[s] = append(needers[s], n.Step.ID)
			}
		}
	}
	parts := map[engine.StepID]bool{}
	for _, n := range p.Nodes {
		if n.ID.Part() != "" {
			parts[n.Step.ID] = true
		}
	}
	owner := map[engine.StepID]engine.StepID{}
	for s, by := range needers {
		if len(by) == 1 && !parts[s] && parts[by[0]] {
			owner[s] = by[0]
		}
	}
	return owner
}

// label names what a node does: the part of a container, else the last word of
// its kind: "pull" for oci_pull.
func label(id engine.NodeID) string {
	if p := id.Part(); p != "" {
		return p
	}
	kind := id.Step().Kind()
	return kind[strings.LastIndex(kind, "_")+1:]
}

// row returns the row of a node; nodes that the plan did not list get their own.
func (b *board) row(id engine.NodeID) *row {
	if r := b.of[id]; r != nil {
		return r
	}
	r := &row{name: string(id), left: 1}
	b.rows = append(b.rows, r)
	b.of[id] = r
	return r
}

// take notes what an event tells. It returns the row if that has ended by it.
func (b *board) take(e engine.Event) *row {
	e.Text = clean(e.Text)
	if e.Kind == engine.Stopping {
		b.stopping = e.Text
		if b.stopping == "" {
			b.stopping = "stopping"
		}
		return nil
	}
	r := b.row(e.Node)
	switch e.Kind {
	case engine.Started:
		r.start(e)
	case engine.Progress, engine.Retrying:
		r.progress(e)
	case engine.Done, engine.Failed, engine.Skipped:
		b.end(r, e)
		if r.left == 0 {
			r.ended = e.Time
			return r
		}
	}
	return nil
}

func (r *row) start(e engine.Event) {
	if r.began.IsZero() {
		r.began = e.Time
	}
	r.active = append(r.active, &work{node: e.Node, label: label(e.Node), began: e.Time, text: e.Text})
}

func (r *row) work(id engine.NodeID) *work {
	for _, w := range r.active {
		if w.node == id {
			return w
		}
	}
	return nil
}

func (r *row) progress(e engine.Event) {
	w := r.work(e.Node)
	if w == nil {
		r.start(e)
		w = r.work(e.Node)
	}
	w.text = e.Text
	if e.Kind == engine.Retrying {
		w.text = "again: " + message(e)
	}
	w.bytes, w.size = e.Done, e.Total
	w.seen = append(w.seen, sample{e.Time, e.Done})
	// The rate is that of the last seconds, not of the whole.
	for len(w.seen) > 2 && e.Time.Sub(w.seen[0].at) > 3*time.Second {
		w.seen = w.seen[1:]
	}
}

// rate returns bytes per second, 0 while there is nothing to tell it from.
func (w *work) rate() int64 {
	if len(w.seen) < 2 {
		return 0
	}
	first, last := w.seen[0], w.seen[len(w.seen)-1]
	d := last.at.Sub(first.at)
	if d <= 0 {
		return 0
	}
	return int64(float64(last.bytes-first.bytes) / d.Seconds())
}

func (b *board) end(r *row, e engine.Event) {
	b.done++
	r.left--
	if e.Kind == engine.Skipped {
		if r.skipped == "" {
			r.skipped = "needs " + cause(e.Cause)
		}
		return
	}
	took := e.Took
	if w := r.work(e.Node); w != nil {
		b.spans[w.label] = append(b.spans[w.label], span{w.began, e.Time})
		if took == 0 {
			took = e.Time.Sub(w.began)
		}
		r.active = slices.DeleteFunc(r.active, func(o *work) bool { return o == w })
	}
	r.phases = append(r.phases, phase{label(e.Node), took})
	if e.Kind == engine.Failed && r.failed == "" {
		r.failed = label(e.Node) + " " + failed(e)
	}
}

// cause names the node that others wait for: "db (start)".
func cause(id engine.NodeID) string {
	if id.Part() == "" {
		return string(id)
	}
	return id.Step().Name() + " (" + id.Part() + ")"
}

// failed says that a node failed, not why: that is told once, at the end, with what to
// do about it.
func failed(e engine.Event) string {
	if errors.Is(e.Err, context.Canceled) {
		return "interrupted" // of which the end says nothing
	}
	return "failed"
}

// message returns what happened, without the position and the step, which the
// line shows already.
func message(e engine.Event) string {
	if err := bare(e.Err); err != nil {
		return err.Error()
	}
	if e.Error != "" {
		return e.Error
	}
	return e.Text
}

// A Phase is for how long something of a phase ran: unpacking two images side
// by side for 5 s is 5 s.
type Phase struct {
	Name string
	Took time.Duration
}

// MarshalJSON writes Took in seconds, with a fraction.
func (p Phase) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name string  `json:"name"`
		Took float64 `json:"took"`
	}{p.Name, p.Took.Seconds()})
}

// phases returns the phases in the order in which they first ended.
func (b *board) phases() []Phase {
	var out []Phase
	for name, spans := range b.spans {
		out = append(out, Phase{name, covered(spans)})
	}
	slices.SortFunc(out, func(x, y Phase) int {
		if c := firstEnd(b.spans[x.Name]).Compare(firstEnd(b.spans[y.Name])); c != 0 {
			return c
		}
		return strings.Compare(x.Name, y.Name)
	})
	return out
}

func firstEnd(spans []span) time.Time {
	first := spans[0].to
	for _, s := range spans[1:] {
		if s.to.Before(first) {
			first = s.to
		}
	}
	return first
}

// covered returns how much time the spans cover together.
func covered(spans []span) time.Duration {
	spans = slices.Clone(spans)
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	var sum time.Duration
	var end time.Time
	for _, s := range spans {
		if s.from.Before(end) {
			s.from = end
		}
		if s.to.After(s.from) {
			sum += s.to.Sub(s.from)
			end = s.to
		}
	}
	return sum
}
