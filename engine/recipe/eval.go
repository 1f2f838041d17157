package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"go.starlark.net/starlark"

	"github.com/tengil/tengil/engine"
)

// An evaluation is the state of one Load.
type evaluation struct {
	o           Options
	kinds       map[string]*engine.Kind
	shared      *engine.Shared
	predeclared starlark.StringDict
	meter       *meter

	declared bool // recipe() was called
	app      engine.App
	options  []Option
	missing  []Option
	outputs  []engine.AppOutput
	requires []Requirement
	steps    []engine.Built
	made     map[engine.StepID]*madeStep
	unknowns []*unknown // by marker number

	files   []string          // display names in the order read
	content map[string][]byte // by display name
	modules map[source]*module
	loading []source              // the recipe and the loads under way, outermost first
	loads   map[source][]source   // what each file loads
	hosts   map[source]engine.Pos // where a file uses host

	scripts []*scriptKind // in the order defined
	alone   bool          // no recipe is evaluated: the file of a kind is
	stored  bool          // it is one that a node kept
	script  *scriptRun    // what runs of a kind; nil in a recipe
}

// A madeStep is a step with what tells whether another call is the same one.
type madeStep struct {
	step *step
	key  string // canonical text of the arguments
	pos  engine.Pos
}

func newEvaluation(cancelled func() error, o Options) *evaluation {
	ev := &evaluation{
		o:       o,
		kinds:   map[string]*engine.Kind{},
		shared:  &engine.Shared{},
		meter:   newMeter(o.Limits.orDefaults(), cancelled),
		made:    map[engine.StepID]*madeStep{},
		content: map[string][]byte{},
		modules: map[source]*module{},
		loads:   map[source][]source{},
		hosts:   map[source]engine.Pos{},
	}
	for i := range o.Kinds {
		ev.kinds[o.Kinds[i].Name] = &o.Kinds[i]
	}
	ev.predeclared = ev.universe()
	return ev
}

// universe returns every name that a recipe may use besides None, True and False.
func (ev *evaluation) universe() starlark.StringDict {
	names := starlark.StringDict{"host": hostStruct(ev.o.Facts)}
	maps.Copy(names, ev.guardedBuiltins())
	maps.Copy(names, ev.operators())
	for _, d := range declarations() {
		names[d.Name] = ev.declaration(d)
	}
	for i := range ev.o.Constructors {
		names[ev.o.Constructors[i].Name] = ev.constructor(&ev.o.Constructors[i])
	}
	for i := range ev.o.Kinds {
		if k := &ev.o.Kinds[i]; k.Define == nil {
			names[k.Name] = ev.kind(k, k.Name)
		}
	}
	return names
}

// runRecipe evaluates the recipe itself.
func (ev *evaluation) runRecipe(src source) error {
	_, err := ev.run(src)
	if err != nil {
		return err
	}
	if !ev.declared {
		return &engine.Error{Pos: engine.Pos{File: ev.shown(src), Line: 1, Col: 1},
			Err:  fmt.Errorf("a recipe starts with recipe(name = …), and this file has none"),
			Hint: "a file of functions for other recipes is loaded by them, not run"}
	}
	return nil
}

// run evaluates one file and returns its globals, frozen.
func (ev *evaluation) run(src source) (starlark.StringDict, error) {
	prog, err := ev.compile(src)
	if err != nil {
		return nil, err
	}
	ev.loading = append(ev.loading, src)
	defer func() { ev.loading = ev.loading[:len(ev.loading)-1] }()

	thread := &starlark.Thread{Name: src.String(), Load: ev.load, Print: ev.print}
	ev.meter.attach(thread)
	globals, err := prog.Init(thread, ev.predeclared)
	ev.meter.detach(thread)
	if err != nil {
		return nil, ev.blame(err)
	}
	globals.Freeze()
	return globals, nil
}

// inLibrary reports whether a loaded file, not the recipe, is being run.
func (ev *evaluation) inLibrary() bool { return len(ev.loading) > 1 }

// missingOptions returns nil, not a nil *MissingError in an interface, if there are none.
func (ev *evaluation) missingOptions() error {
	if len(ev.missing) == 0 {
		return nil
	}
	for _, name := range ev.unusedValues() {
		// A misspelt name is the likelier cause than an option left out.
		if engine.Nearest(name, ev.optionNames()) != "" {
			return ev.unknownOption(name)
		}
	}
	return &MissingError{ev.missing}
}

// finish makes the graph of a recipe that was evaluated to its end.
func (ev *evaluation) finish(from string) (*Recipe, error) {
	if unused := ev.unusedValues(); len(unused) > 0 {
		return nil, ev.unknownOption(unused[0])
	}
	ev.app.Source = from
	ev.app.Digest = ev.digest()
	ev.app.Options = map[string]string{}
	for _, o := range ev.options {
		ev.app.Options[o.Name] = o.Value
	}
	g, err := engine.Assemble(ev.app, ev.steps, ev.outputs)
	if err != nil {
		return nil, err
	}
	bundle := Bundle{}
	for name, data := range ev.content {
		bundle[name] = string(data)
	}
	return &Recipe{Graph: g, Options: ev.options, Outputs: ev.outputs, Requires: ev.requires, Files: ev.files, Bundle: bundle}, nil
}

// digest is a sha256 over the names and contents of all files read, sorted by
// name; lengths keep one file's end from passing for another's beginning.
func (ev *evaluation) digest() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(ev.content)) {
		fmt.Fprintf(h, "%d:%s%d:", len(name), name, len(ev.content[name]))
		h.Write(ev.content[name])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
