// Package plan compares a graph with a node: one batched observation, two round
// trips however many steps there are, at most three, then a pure diff.
package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tengil/tengil/engine"
)

// Options for Build.
type Options struct {
	// Kinds whose Find tells what an app has on the node that its recipe no
	// longer makes.
	Kinds []engine.Kind
	// Checks look at the plan as a whole.
	Checks []engine.Check
	// Also are questions whose answers the plan is to bring along in Seen.
	Also []engine.Ask
	// Pause is the wait before a registry that is asked too often is asked again, and
	// twice that the next time, unless it wants more. 0 means 1 s.
	Pause time.Duration
	// Waiting, if not nil, is told of it.
	Waiting func(err error, wait time.Duration)
}

// A plan that fails only because the other side is busy is made so often, if that does
// not want to be left alone for longer than mostPause.
const (
	tries     = 3
	mostPause = 30 * time.Second
)

// again waits before the next try, and reports whether there is one.
func (o Options) again(ctx context.Context, try int, err error) bool {
	wait := cmp.Or(o.Pause, time.Second) << (try - 1)
	var busy *engine.BusyError
	if errors.As(err, &busy) {
		wait = max(wait, busy.After)
	}
	if try == tries || wait > mostPause {
		return false
	}
	if o.Waiting != nil {
		o.Waiting(err, wait)
	}
	select {
	case <-time.After(wait):
		return true
	case <-ctx.Done():
		return false
	}
}

// Build observes the node and returns what would be done to reach the graph. It
// changes nothing. Independent errors are joined, in recipe order.
func Build(ctx context.Context, g *engine.Graph, h engine.Host, f *engine.Facts, o Options) (*engine.Plan, error) {
	ask := func(known *engine.Answers) []engine.Ask {
		asks := append(questions(g, o.Kinds, known), o.Also...)
		for _, c := range o.Checks {
			asks = append(asks, c.Asks(g, f)...)
		}
		return asks
	}
	p := &engine.Plan{App: g.App, Host: h.Name(), Facts: f}
	seen := engine.NewAnswers(nil)
	var err error
	for try := 1; ; try++ {
		var rounds int
		if seen, rounds, err = observe(ctx, h, ask, seen); err != nil {
			return nil, fmt.Errorf("look at %s: %w", h.Name(), err)
		}
		p.Rounds += rounds
		var busy []engine.Node
		if p.Nodes, busy, err = diff(g, seen); err == nil {
			break
		}
		if len(busy) == 0 || !o.again(ctx, try, err) {
			return nil, err
		}
		seen = seen.Without(unanswered(busy, seen))
	}
	p.Seen = seen.Only(o.Also)
	p.Outputs = outputs(g, p.Nodes)
	if p.Orphans, err = orphans(g, o.Kinds, seen); err != nil {
		return nil, err
	}
	if p.Empty() {
		return p, nil
	}
	for _, c := range o.Checks {
		found, err := c.Find(p, seen)
		if err != nil {
			return nil, fmt.Errorf("check %s: %w", h.Name(), err)
		}
		p.Findings = append(p.Findings, found...)
	}
	return p, nil
}

// Find tells what the app has on the node, without a recipe; app "" means all apps.
func Find(ctx context.Context, h engine.Host, kinds []engine.Kind, app string) ([]engine.Found, error) {
	all, _, err := FindAlso(ctx, h, kinds, app, func(*engine.Answers) []engine.Ask { return nil })
	return all, err
}

// FindAlso is Find that asks other questions in the same rounds, and returns all answers.
func FindAlso(ctx context.Context, h engine.Host, kinds []engine.Kind, app string, also func(known *engine.Answers) []engine.Ask) ([]engine.Found, *engine.Answers, error) {
	seen, _, err := Observe(ctx, h, func(known *engine.Answers) []engine.Ask { return append(findQuestions(kinds, known), also(known)...) })
	if err != nil {
		return nil, nil, fmt.Errorf("look at %s: %w", h.Name(), err)
	}
	all, err := found(kinds, app, seen)
	return all, seen, err
}

// Destroy returns the plan that removes what the app has on the node: its
// containers, and its data only where data is set.
func Destroy(ctx context.Context, h engine.Host, kinds []engine.Kind, app string, data bool) (*engine.Plan, error) {
	if app == "" { // which Find takes for all
		return nil, errors.New("destroy needs the name of an app")
	}
	all, err := Find(ctx, h, kinds, app)
	if err != nil {
		return nil, err
	}
	p := &engine.Plan{App: engine.App{Name: app}, Host: h.Name(), Facts: &engine.Facts{}, Destroys: true}
	for _, f := range all {
		p.Orphans = append(p.Orphans, engine.Orphan{Found: f, Keep: f.Data && !data})
	}
	return p, nil
}

// maxRounds is how often a node is asked: in the second round what only the first
// answers could tell; in the third, to which a plan with nothing to do never comes,
// for an image that is to be pulled and that the mirror of its registry did not know.
const maxRounds = 3

// Observe asks for what ask wants to know, until it wants no more.
func Observe(ctx context.Context, h engine.Host, ask func(known *engine.Answers) []engine.Ask) (*engine.Answers, int, error) {
	return observe(ctx, h, ask, engine.NewAnswers(nil))
}

// observe is Observe of which some answers are known.
func observe(ctx context.Context, h engine.Host, ask func(known *engine.Answers) []engine.Ask, seen *engine.Answers) (*engine.Answers, int, error) {
	rounds := 0
	for range maxRounds {
		known := seen
		if seen.Empty() {
			known = nil
		}
		more := seen.Missing(ask(known))
		if len(more) == 0 {
			break
		}
		got, err := h.Batch(ctx, more)
		if err != nil {
			return nil, rounds, err
		}
		rounds++
		seen = seen.Merge(got)
	}
	return seen, rounds, nil
}

// asksPerNode is about how many questions a node has, most of them shared.
const asksPerNode = 5

func questions(g *engine.Graph, kinds []engine.Kind, known *engine.Answers) []engine.Ask {
	asks := slices.Grow(findQuestions(kinds, known), asksPerNode*len(g.Nodes()))
	for _, n := range g.Nodes() {
		asks = append(asks, n.Spec.Asks(known)...)
	}
	return asks
}

func findQuestions(kinds []engine.Kind, known *engine.Answers) []engine.Ask {
	var asks []engine.Ask
	for _, k := range kinds {
		if k.FindAsks != nil {
			asks = append(asks, k.FindAsks(known)...)
		}
	}
	return asks
}

// unanswered returns the questions of nodes that were asked and not answered.
func unanswered(nodes []engine.Node, seen *engine.Answers) []engine.Ask {
	var asks []engine.Ask
	for _, n := range nodes {
		for _, q := range n.Spec.Asks(seen) {
			if q.Argv() != nil && seen.Has(q) && seen.Get(q).Err != nil {
				asks = append(asks, q)
			}
		}
	}
	return asks
}

// diff walks the nodes in order, so that each sees the outputs of those before. Busy are
// the nodes of which it failed, if that is because the other side wants to be asked
// later, and for no other reason.
func diff(g *engine.Graph, seen *engine.Answers) (nodes []engine.PlanNode, busy []engine.Node, err error) {
	known := make(map[engine.NodeID]engine.Outputs, len(g.Nodes()))
	nodes = make([]engine.PlanNode, 0, len(g.Nodes()))
	var errs []error
	said, others := map[string]bool{}, false
	fail := func(n engine.Node, err error, shared bool) {
		var late *engine.BusyError
		if errors.As(err, &late) {
			busy = append(busy, n)
		} else {
			others = true
		}
		what := err.Error() // steps look at what all share: the list of containers
		err = blame(n, err)
		if !shared {
			what = err.Error() // the parts of a step find the same fault
		}
		if !said[what] {
			said[what] = true
			errs = append(errs, err)
		}
	}
	for _, n := range g.Nodes() {
		pn := engine.PlanNode{Node: n}
		var err error
		if pn.Now, err = n.Spec.Observe(seen); err != nil {
			fail(n, err, true)
			continue
		}
		if pn.Diff, err = n.Spec.Diff(pn.Now, InputsOf(n, known)); err != nil {
			fail(n, err, false)
			continue
		}
		known[n.ID] = pn.Diff.Outputs
		nodes = append(nodes, pn)
	}
	if others {
		busy = nil
	}
	return nodes, busy, errors.Join(errs...)
}

// InputsOf returns the inputs of n as far as the outputs in known go.
func InputsOf(n engine.Node, known map[engine.NodeID]engine.Outputs) engine.Inputs {
	in := engine.Inputs{Value: func(r engine.Ref) engine.Value {
		if v, ok := known[r.Node][r.Output]; ok {
			return v
		}
		return engine.Unknown("after " + string(r.Node))
	}}
	for _, id := range n.Attached {
		in.Attached = append(in.Attached, engine.Attachment{Node: id, Outputs: known[id]})
	}
	return in
}

func blame(n engine.Node, err error) error {
	return &engine.Error{Pos: n.Step.Pos, Via: n.Step.Via, Step: n.Step.ID, Err: err, Hint: engine.HintOf(err)}
}

func outputs(g *engine.Graph, nodes []engine.PlanNode) []engine.PlanOutput {
	known := make(map[engine.NodeID]engine.Outputs, len(nodes))
	for _, n := range nodes {
		known[n.ID] = n.Diff.Outputs
	}
	in := InputsOf(engine.Node{}, known)
	filled := make([]engine.PlanOutput, 0, len(g.Outputs))
	for _, o := range g.Outputs {
		filled = append(filled, engine.PlanOutput{Name: o.Name, Value: o.Text.Fill(in), Doc: o.Doc, Text: o.Text})
	}
	return filled
}

// orphans are found things of the app whose step the recipe no longer has.
func orphans(g *engine.Graph, kinds []engine.Kind, seen *engine.Answers) ([]engine.Orphan, error) {
	all, err := found(kinds, g.App.Name, seen)
	if err != nil {
		return nil, err
	}
	steps := map[engine.StepID]bool{}
	for _, n := range g.Nodes() {
		steps[n.Step.ID] = true
	}
	var out []engine.Orphan
	for _, f := range all {
		if !steps[f.Step] && !f.Common {
			out = append(out, engine.Orphan{Found: f, Keep: f.Data})
		}
	}
	return out, nil
}

func found(kinds []engine.Kind, app string, seen *engine.Answers) ([]engine.Found, error) {
	var all []engine.Found
	var errs []error
	for _, k := range kinds {
		if k.Find == nil {
			continue
		}
		fs, err := k.Find(seen)
		if err != nil {
			err = fmt.Errorf("find what %s made: %w", k.Name, err)
			errs = append(errs, &engine.Error{Err: err, Hint: engine.HintOf(err)})
		}
		for _, f := range fs {
			if app == "" || f.App == app {
				all = append(all, f)
			}
		}
	}
	slices.SortFunc(all, func(a, b engine.Found) int {
		return cmp.Or(a.Order-b.Order, strings.Compare(a.App, b.App), strings.Compare(string(a.Step), string(b.Step)), strings.Compare(a.What, b.What))
	})
	return all, errors.Join(errs...)
}
