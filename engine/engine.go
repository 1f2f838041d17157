// Package engine holds the nouns of tengil and imports the standard library
// only: positions and errors, values that may become known late, step kinds,
// the graph, the plan, events, and the host that all of it runs on.
//
// Data flows one way: a recipe is evaluated to a Graph (engine/recipe), a Graph
// is compared with a node to a Plan (engine/plan), a Plan is executed on a Host
// (engine/exec). Nothing flows back.
package engine

import (
	"context"
	"strings"
)

// A StepID names one step of a recipe: "pct_create/db". It is the same in every
// run of that recipe.
type StepID string

// Kind returns the part before the first slash: the recipe function.
func (id StepID) Kind() string { k, _, _ := strings.Cut(string(id), "/"); return k }

// Name returns the part after the first slash.
func (id StepID) Name() string { _, n, _ := strings.Cut(string(id), "/"); return n }

// Node returns the id of a part of the step; the only part of a one-part step is "".
func (id StepID) Node(part string) NodeID {
	if part == "" {
		return NodeID(id)
	}
	return NodeID(string(id) + "#" + part)
}

// A NodeID names one node of the graph: "pct_create/db#start", or the StepID
// itself where a step is a single node.
type NodeID string

// Step returns the step that the node is a part of.
func (id NodeID) Step() StepID { s, _, _ := strings.Cut(string(id), "#"); return StepID(s) }

// Part returns the part of the step, "" for a step of one node.
func (id NodeID) Part() string { _, p, _ := strings.Cut(string(id), "#"); return p }

// A Step is one call of a step function in a recipe.
type Step struct {
	ID  StepID
	Pos Pos   // the innermost line that made it
	Via []Pos // "called from", innermost first; empty when the recipe's own line made it
}

// A Class says which limit of the executor a node counts against.
type Class string

// The classes of work. Light work has no limit of its own.
const (
	Light    Class = ""
	Download Class = "download" // moves an image over the network
	Unpack   Class = "unpack"   // turns an archive into a root file system
	// Configure changes a container and stops it where that is needed.
	Configure Class = "configure"
	Start     Class = "start" // starts a container or waits for it
)

// A Node is the unit of planning and execution. A container is four of them.
type Node struct {
	ID    NodeID
	Step  Step
	Spec  Spec
	Class Class
	// Needs are the nodes that must have succeeded first, sorted, each once.
	Needs []NodeID
	// Attached are the nodes whose outputs this one takes although the recipe
	// passed them no value (gpu_attach feeds a container's configure), in recipe
	// order. They are also in Needs.
	Attached []NodeID
}

// A Spec is the wanted state of one node. It is immutable.
type Spec interface {
	// Asks lists the read-only questions whose answers Observe needs. It is
	// called at most three times: first with nil, then with all answers so far,
	// from which it may know what else to ask (the config of a container whose id
	// the first round told). A third round is for what has gone wrong: a plan of
	// which nothing is to be done takes two. Equal questions are sent once.
	Asks(known *Answers) []Ask
	// Observe reads out of the answers what is there now. It does no I/O.
	Observe(a *Answers) (State, error)
	// Diff compares; it does no I/O and returns the same for the same input.
	Diff(now State, in Inputs) (Diff, error)
	// Apply makes the changes. Running it again after any failure is safe.
	Apply(ctx context.Context, w Work) (Outputs, error)
}

// An Interruptible is a Spec whose Apply waits more than it does and may be cut at
// any moment: the first Ctrl-C ends it, as it ends what has not begun.
type Interruptible interface {
	Spec
	Interruptible()
}

// State is what Observe found; only the Spec that made it looks inside.
type State any

// A Diff is what a Spec found out by comparing: the changes, and what is already
// known of its outputs. With no Changes, Outputs are final.
type Diff struct {
	Changes []Change
	Outputs Outputs
	Notes   []Note // what a reader of the plan should know besides the changes
}

// A Note is one labelled fact shown under a step of the plan.
type Note struct {
	Label string `json:"label"` // "image", "user", "volume", "downtime"
	Text  string `json:"text"`
	Warn  bool   `json:"warn,omitempty"`
}

// Work is what Apply gets.
type Work struct {
	App  App // what the plan is for
	Host Host
	In   Inputs
	Now  State    // from the Observe that the plan was made of
	Todo []Change // the changes of the plan
	// Report tells how far the work is: what is being done, and bytes done of
	// total (0 where unknown). Never nil.
	Report func(text string, done, total int64)
}

// Inputs are the outputs of other nodes, as far as they are known.
type Inputs struct {
	Value    func(Ref) Value // never nil
	Attached []Attachment
}

// An Attachment is the outputs of one attached node.
type Attachment struct {
	Node    NodeID
	Outputs Outputs
}

// Outputs are the results of a node, by name.
type Outputs map[string]Value

// An Action says what happens to a step's object.
type Action string

// The actions, in the order in which a summary counts them. AdoptRefused never
// stands in a plan that can run: something of that name is there and not ours.
const (
	Create       Action = "create"
	Update       Action = "update"
	Restart      Action = "restart"
	Replace      Action = "replace"
	Remove       Action = "remove"
	AdoptRefused Action = "adopt-refused"
)

// A Change is one difference between what is there and what is wanted.
type Change struct {
	Action   Action `json:"action"`
	Field    string `json:"field,omitempty"` // "" for the whole object
	From     string `json:"from,omitempty"`
	To       string `json:"to,omitempty"`
	Why      string `json:"why"`                // always set
	Loses    string `json:"loses,omitempty"`    // what data this destroys; "" if none
	Restarts bool   `json:"restarts,omitempty"` // takes effect at the next start only
	Hint     string `json:"hint,omitempty"`     // with AdoptRefused: how to adopt it
	// Seal tells apart what From and To do not show; "" if they show all.
	Seal string `json:"seal,omitempty"`
}

// A Found is something that tengil made on a node, told by its own marks there,
// without a recipe.
type Found struct {
	App  string
	Step StepID
	What string // "CT 101", "dataset tank/immich/db"
	Now  string // how it is at this moment: "running", "1.2G used"; "" if there is nothing to say
	// Loses is what goes with it and cannot be made again; "" if nothing does.
	Loses string
	// Refused says why it cannot be removed; "" if it can. Hint says what to do.
	Refused, Hint string
	// Data is set where removing it loses what the user put in: never removed
	// unless asked for by name.
	Data bool
	// Common is set for what belongs to the app as a whole: no recipe has a step
	// for it, and it goes with the app only.
	Common bool
	// Address is where others reach it; "" if it is no such thing, or not known.
	Address string
	// Order sorts removals: lower first.
	Order  int
	Remove func(ctx context.Context, h Host, report func(text string, done, total int64)) error
}
