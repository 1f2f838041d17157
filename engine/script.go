package engine

import "context"

// A Script is a step kind that a file of a catalog defines: a table, as every kind
// has one, and functions that run when the engine observes, compares and applies.
// It is safe for parallel use. Errors say where in the file they come from.
type Script interface {
	// Kind describes it; New and Find are nil.
	Kind() Kind
	// Pos is where the file defines it.
	Pos() Pos
	// Source is what it can be loaded of again, without its recipe.
	Source() ScriptSource
	// Check looks at the arguments while the recipe is read.
	Check(c ScriptCall) error
	// Observe reads what is there out of the answers. It returns every question that it
	// asked; ok is false if it needs the answers to further ones to come to its end.
	Observe(c ScriptCall, a *Answers) (now State, asks []Ask, ok bool, err error)
	// Diff compares what Observe returned with the arguments.
	Diff(c ScriptCall, now State) ([]Change, error)
	// Apply makes the changes, and Remove undoes them.
	Apply(ctx context.Context, c ScriptCall, now State, h Host) error
	Remove(ctx context.Context, c ScriptCall, h Host) error
}

// A ScriptCall is one use of a Script in a recipe.
type ScriptCall struct {
	Name string // of the step within its kind
	Args Args
	In   Inputs // what the holes of Args are filled with, as far as it is known
	// Seal stands for values that a change must not show; nil for the passing one.
	Seal func(values ...string) string
}

// A ScriptSource is the text that defines a Script.
type ScriptSource struct {
	Kind string `json:"kind"`
	File string `json:"file"` // which of Files defines it
	// Files are that one and all that it loads, by the name that positions show.
	Files map[string]string `json:"files"`
}
