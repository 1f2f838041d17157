// Package script makes step kinds of what files of a catalog define with kind(). It
// keeps on the node what the removal of a step needs: the text of its kind and its
// arguments.
package script

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/builtins/host"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// Kinds returns what turns scripts into kinds, and finds what they made.
func Kinds() engine.Kind {
	return engine.Kind{
		Name:     "kind",
		Define:   define,
		FindAsks: findAsks,
		Find:     find,
	}
}

func define(s engine.Script) engine.Kind {
	k := s.Kind()
	k.New = func(c engine.Call) (*engine.Made, error) { return newStep(s, k, c) }
	return k
}

// stepName is the form of the names of steps; a kind may want less, see check.
var stepName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$`)

func newStep(s engine.Script, k engine.Kind, c engine.Call) (*engine.Made, error) {
	name := c.Args.String("name")
	if !stepName.MatchString(name) {
		return nil, engine.ArgErrorf("name", "%q is no name; wanted 1 to 64 letters, digits, dots, dashes or underscores", name)
	}
	call := engine.ScriptCall{Name: name, Args: c.Args}
	if err := s.Check(call); err != nil {
		return nil, err
	}
	st := step{script: s, call: call, app: c.App, id: engine.StepID(k.Name + "/" + name), node: c.Facts.Node, adopt: c.Args.Bool("adopt")}
	part := engine.Part{Spec: st, Uses: refs(c.Args)}
	for _, h := range c.Args.Steps("after") {
		part.After = append(part.After, host.Last(h))
	}
	return &engine.Made{Name: name, Parts: []engine.Part{part}}, nil
}

// refs are the outputs that the arguments use.
func refs(a engine.Args) []engine.Ref {
	var out []engine.Ref
	for _, v := range a.Values {
		eachText(v, func(t engine.Text) { out = append(out, t.Refs()...) })
	}
	return out
}

func eachText(v any, f func(engine.Text)) {
	switch v := v.(type) {
	case engine.Text:
		f(v)
	case []engine.Text:
		for _, t := range v {
			f(t)
		}
	case []engine.Entry:
		for _, e := range v {
			if t, ok := e.Value.(engine.Text); ok {
				f(t)
			}
		}
	}
}

// A step is the wanted state.
type step struct {
	script engine.Script
	call   engine.ScriptCall
	app    string
	id     engine.StepID
	node   string
	adopt  bool
}

// A state is what is there.
type state struct {
	seen    engine.State // what the script's observe returned
	mine    *memory      // nil: the app has not made it
	other   string       // the app that has
	sealKey []byte
}

// ours asks what the node remembers of the steps of all apps.
func ours() engine.Ask { return engine.AskGlob(record.PrivGlob("*")) }

func (s step) Asks(known *engine.Answers) []engine.Ask {
	_, asks, _, _ := s.script.Observe(s.call, known) // what is wrong with it, Observe tells
	return append(asks, ours(), engine.AskGlob(record.PrivGlob(s.app)))
}

func (s step) Observe(a *engine.Answers) (engine.State, error) {
	seen, _, ok, err := s.script.Observe(s.call, a)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, engine.WithHint(fmt.Errorf("%s: observe still asks when the node has been asked three times", s.script.Pos()),
			"let it ask all that it can before it looks at the first answer")
	}
	all, err := memories(a)
	if err != nil {
		return nil, err
	}
	st := &state{seen: seen, sealKey: sealKey(a, s.app)}
	for _, m := range all {
		switch {
		case m.Step != s.id || m.Node != s.node:
		case m.App == s.app:
			st.mine = m
		default:
			st.other = m.App
		}
	}
	return st, nil
}

// sealKey returns the key in the app's record, if there is one. What is wrong with a
// record is told by those who cannot do without.
func sealKey(a *engine.Answers, app string) []byte {
	r, err := record.Read(a, app)
	if err != nil {
		return nil
	}
	return r.SealKey
}

func (s step) Diff(now engine.State, in engine.Inputs) (engine.Diff, error) {
	st := now.(*state)
	call := s.call
	call.In = in
	call.Seal = func(values ...string) string {
		return engine.Seal(st.sealKey, append([]string{string(s.id)}, values...)...)
	}
	changes, err := s.script.Diff(call, st.seen)
	if err != nil {
		return engine.Diff{}, err
	}
	return engine.Diff{Changes: s.owned(st, changes), Outputs: engine.Outputs{}}, nil
}

// owned adds what the script cannot know: whose the thing is that it found, and
// whether it was finished.
func (s step) owned(st *state, changes []engine.Change) []engine.Change {
	isNew := false
	for _, c := range changes {
		isNew = isNew || c.Action == engine.Create && c.Field == ""
	}
	switch {
	case st.mine != nil && st.mine.Stage == making && len(changes) == 0:
		return []engine.Change{{Action: engine.Update, Why: "an earlier run did not come to its end"}}
	case st.mine != nil || isNew:
		return changes
	case st.other != "":
		return []engine.Change{{Action: engine.AdoptRefused, Why: "it is there and belongs to the app " + st.other,
			Hint: "give the step another name"}}
	case s.adopt:
		return append([]engine.Change{{Action: engine.Update, Field: "owner", To: s.app, Why: "the recipe adopts what is there"}}, changes...)
	}
	return []engine.Change{{Action: engine.AdoptRefused, Why: "it is there, and tengil did not make it",
		Hint: "to take it over, as it is to become what the recipe says, add adopt = True; or give the step another name"}}
}

// Apply notes what is to be removed one day before anything is made.
func (s step) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	call := s.call
	call.In = w.In
	m, err := s.memory(w.In)
	if err != nil {
		return nil, err
	}
	if err := act.WriteFile(ctx, w.Host, m.file()); err != nil {
		return nil, err
	}
	if err := s.script.Apply(ctx, call, w.Now.(*state).seen, reporting{w.Host, w.Report}); err != nil {
		return nil, err
	}
	m.Stage = made
	return engine.Outputs{}, act.WriteFile(ctx, w.Host, m.file())
}

// A reporting host tells what a script does, and explains what goes wrong.
type reporting struct {
	engine.Host
	report func(text string, done, total int64)
}

// Run tells the program and its first arguments.
func (r reporting) Run(ctx context.Context, c engine.Cmd) (engine.Result, error) {
	r.report("run "+(&engine.ExitError{Argv: c.Argv}).Command(), 0, 0)
	res, err := r.Host.Run(ctx, c)
	return res, pve.Explain(err)
}

// WriteFile takes a file that has changed meanwhile for a reason to look again.
func (r reporting) WriteFile(ctx context.Context, f engine.File) error {
	r.report("write "+f.Name, 0, 0)
	if f.Was != nil {
		f.Lock = record.LockPath(".files")
	}
	err := pve.Explain(r.Host.WriteFile(ctx, f))
	if errors.Is(err, engine.ErrChanged) {
		return engine.Transient(err)
	}
	return err
}
