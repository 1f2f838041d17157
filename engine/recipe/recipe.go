// Package recipe evaluates a recipe, a Starlark file, to an engine.Graph. It owns
// the language: what a recipe may call, how arguments are checked, where every
// step came from, and what a recipe that never ends runs into.
//
// Evaluation is pure: it sees the catalog it was given, the option values and
// the facts of the node, and nothing else; no clock, no network, no environment.
// So the same inputs give the same graph.
//
// A step's output that only a running container can tell (db.address) is an
// opaque value, see unknown.go. It concatenates and formats; to keep it from
// being compared by accident the syntax tree is rewritten before it is compiled,
// see rewrite.go.
package recipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/tengil/tengil/engine"
)

// Options say what a recipe is evaluated with. Facts and FS are required.
type Options struct {
	Kinds        []engine.Kind
	Constructors []engine.Constructor
	// Facts are what the recipe sees as host. Load does not change them.
	Facts *engine.Facts
	// FS is the catalog that the recipe and its loads resolve in. To keep a
	// recipe from following a symbolic link out of a directory, give the FS of an
	// os.Root.
	FS fs.FS
	// Source is the recipe as the user named it, for App.Source; "" means name.
	Source string
	// Dir is put before the paths of files of FS where positions name them: the
	// directory of the catalog as the user wrote it; "" puts nothing.
	Dir string
	// Values are option values as text, from the command line or a values file.
	Values map[string]string
	// Catalogs are what load("@name//…") resolves in.
	Catalogs map[string]fs.FS
	Limits   Limits
	// Print gets what print() was given; nil drops it.
	Print func(pos engine.Pos, text string)
}

// Limits bound an evaluation. Zero fields mean the default.
type Limits struct {
	Steps      uint64      // computation steps; 10 million
	Memory     engine.Size // approximately, of what the recipe builds besides steps; 64 MiB
	LoadDepth  int         // files that load one another; 16
	FileSize   engine.Size // of each file; 1 MiB
	GraphSteps int         // calls of step functions that make a new step; 100000
	String     engine.Size // of each string; 1 MiB
}

func (l Limits) orDefaults() Limits {
	return Limits{
		Steps:      or(l.Steps, 10_000_000),
		Memory:     or(l.Memory, 64*engine.MiB),
		LoadDepth:  or(l.LoadDepth, 16),
		FileSize:   or(l.FileSize, engine.MiB),
		GraphSteps: or(l.GraphSteps, 100_000),
		String:     or(l.String, engine.MiB),
	}
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// A Recipe is an evaluated recipe.
type Recipe struct {
	Graph    *engine.Graph
	Options  []Option           // in the order declared
	Outputs  []engine.AppOutput // in the order declared
	Requires []Requirement      // in the order declared; all of them are met
	Files    []string           // everything read, the recipe first: "immich.star", "lib/x.star", "@name//x.star"
	Bundle   Bundle             // their contents
}

// An Option is one option that a recipe declares.
type Option struct {
	Name     string
	Type     string   // one of OptionTypes
	Default  string   // as text; "" if there is none
	Choices  []string // nil if any value of Type will do
	Pattern  string   // a regular expression that the whole value matches; "" if none
	Help     string
	Value    string // the value used, as text
	Given    bool   // Value comes from Options.Values
	Required bool   // there is no default, not even one of the host
	Pos      engine.Pos
}

// A Requirement is one argument of requires().
type Requirement struct {
	Name string // pve, gpu, pool
	Want string // as the recipe wrote it
	Pos  engine.Pos
}

// A MissingError says that options without a default have no value. The caller
// asks for them and calls Load again; that may bring up further ones.
type MissingError struct{ Options []Option }

func (e *MissingError) Error() string {
	lines := make([]string, len(e.Options))
	for i, o := range e.Options {
		lines[i] = fmt.Sprintf("%s: option %q needs a value", o.Pos, o.Name)
		if o.Help != "" {
			lines[i] += ": " + o.Help
		}
	}
	return strings.Join(lines, "\n")
}

// Load evaluates the recipe of that name in o.FS. Errors about the recipe are
// *engine.Error, or a join of those in the order of the lines they blame, or a
// *MissingError; a missing recipe wraps fs.ErrNotExist.
func Load(ctx context.Context, name string, o Options) (r *Recipe, err error) {
	if o.Facts == nil || o.FS == nil {
		return nil, errors.New("recipe.Load needs Facts and FS")
	}
	ev := newEvaluation(ctx.Err, o)
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, &engine.Error{Err: fmt.Errorf("tengil has a bug: evaluating %s: %v", name, p)}
		}
	}()
	if err := ev.checkTables(); err != nil {
		return nil, err
	}
	err = ev.runRecipe(source{path: name})
	if missing := ev.missingOptions(); missing != nil && ctx.Err() == nil {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	return ev.finish(or(o.Source, name))
}
