package engine

import (
	"errors"
	"fmt"
)

// A Plan is what would be done, in a fixed order. engine/plan makes it and prints it.
type Plan struct {
	App     App
	Host    string
	Facts   *Facts
	Nodes   []PlanNode // needs before needers
	Orphans []Orphan   // what the app has on the node but the recipe no longer has
	Outputs []PlanOutput
	// Findings are what checks of the whole plan have found; none where there is
	// nothing to do.
	Findings []Finding
	// Destroys says that no recipe is behind the plan: it removes an app.
	Destroys bool
	Rounds   int // round trips that observation took
	// Seen are the answers to the questions that were asked besides those of the
	// steps. They are no part of what is shown or compared.
	Seen *Answers
}

// A PlanNode is one node with what was found and what is to be done.
type PlanNode struct {
	Node
	Now  State
	Diff Diff
}

// A Check looks at a whole plan. Its questions are sent with the first ones of the
// steps; Find does no I/O and is called for a plan that has something to do.
type Check struct {
	Asks func(g *Graph, f *Facts) []Ask
	Find func(p *Plan, a *Answers) ([]Finding, error)
}

// A Finding is what a check has to say of a step. One that refuses keeps the plan
// from being carried out; any other is a warning, which may tell of what changes by
// itself and so does not make another plan.
type Finding struct {
	Step    Step
	Text    string
	Hint    string
	Refuses bool
}

// An Orphan is something of the app that no step of the recipe makes any more.
// Data is kept; the rest is removed.
type Orphan struct {
	Found
	Keep bool
}

// A PlanOutput is an output of the app as far as it is known.
type PlanOutput struct {
	Name  string `json:"name"`
	Value Value  `json:"value"`
	Doc   string `json:"doc,omitempty"`
	Text  Text   `json:"-"` // what Value was filled from
}

// Empty reports whether there is nothing to do.
func (p *Plan) Empty() bool {
	for _, n := range p.Nodes {
		if len(n.Diff.Changes) > 0 {
			return false
		}
	}
	for _, o := range p.Orphans {
		if !o.Keep {
			return false
		}
	}
	return true
}

// Refused returns an error for each thing that keeps the plan from running: what
// is there and not ours, what the node has no room for, and what is to be removed
// and must not be.
func (p *Plan) Refused() []error {
	var out []error
	for _, n := range p.Nodes {
		for _, c := range n.Diff.Changes {
			if c.Action == AdoptRefused {
				out = append(out, &Error{Pos: n.Step.Pos, Via: n.Step.Via, Step: n.Step.ID, Err: errors.New(c.Why), Hint: c.Hint})
			}
		}
	}
	for _, f := range p.Findings {
		if f.Refuses {
			out = append(out, &Error{Pos: f.Step.Pos, Via: f.Step.Via, Step: f.Step.ID, Err: errors.New(f.Text), Hint: f.Hint})
		}
	}
	for _, o := range p.Orphans {
		if o.Refused != "" && !o.Keep {
			out = append(out, &Error{Step: o.Step, Err: fmt.Errorf("%s cannot be removed: %s", o.What, o.Refused), Hint: o.Hint})
		}
	}
	return out
}
