package recipe

import (
	"errors"
	"fmt"

	"go.starlark.net/starlark"

	"github.com/tengil/tengil/engine"
)

// kind returns the recipe function of a step kind, which errors call by label.
func (ev *evaluation) kind(k *engine.Kind, label string) starlark.Value {
	return ev.function(label, func(t *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		b, err := ev.bind(k.Params, args, kwargs)
		if err != nil {
			return nil, err
		}
		made, err := k.New(ev.engineCall(b.args))
		if err != nil {
			return nil, err
		}
		pos, via := here(t)
		return ev.addStep(k, made, b.key, pos, via)
	})
}

// constructor returns the recipe function of a constructor.
func (ev *evaluation) constructor(c *engine.Constructor) starlark.Value {
	return ev.function(c.Name, func(_ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		b, err := ev.bind(c.Params, args, kwargs)
		if err != nil {
			return nil, err
		}
		v, err := c.New(ev.engineCall(b.args))
		if err != nil {
			return nil, err
		}
		return &object{name: c.Name, key: c.Name + "(" + b.key + ")", value: v}, nil
	})
}

func (ev *evaluation) engineCall(args engine.Args) engine.Call {
	return engine.Call{App: ev.app.Name, Facts: ev.o.Facts, Args: args, Shared: ev.shared}
}

// function returns f as a function of that name that is usable once recipe() was
// called, and whose errors name it.
func (ev *evaluation) function(name string, f func(*starlark.Thread, starlark.Tuple, []starlark.Tuple) (starlark.Value, error)) starlark.Value {
	return starlark.NewBuiltin(name, func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		if err := ev.mayCall(); err != nil {
			return nil, callError(name, err)
		}
		v, err := caught(func() (starlark.Value, error) { return f(t, args, kwargs) })
		if err != nil {
			return nil, callError(name, err)
		}
		return v, nil
	})
}

// caught calls f and turns a panic into an error, so that the line of the call is
// not lost.
func caught(f func() (starlark.Value, error)) (v starlark.Value, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("tengil has a bug here: %v", p)
		}
	}()
	return f()
}

func (ev *evaluation) mayCall() error {
	if ev.script != nil {
		return errors.New("a recipe calls this; the functions of a kind run later, and make no steps")
	}
	if ev.inLibrary() {
		return errors.New("a loaded file only defines functions; the recipe calls them")
	}
	if !ev.declared {
		return engine.WithHint(errors.New("recipe() must come first"), "begin the file with a line such as:\n    recipe(name = \"notes\")")
	}
	return nil
}

// addStep records a step, unless the same call was made before, and returns what
// the call evaluates to.
func (ev *evaluation) addStep(k *engine.Kind, made *engine.Made, key string, pos engine.Pos, via []engine.Pos) (starlark.Value, error) {
	id := engine.StepID(k.Name + "/" + made.Name)
	if made.Name == "" {
		return nil, errors.New("the step has no name")
	}
	if old, ok := ev.made[id]; ok {
		if old.key != key {
			return nil, engine.WithHint(fmt.Errorf("%s is made at %s already, with other arguments", id, old.pos), "give one of them another name")
		}
		return old.step.result(), nil
	}
	if max := ev.meter.GraphSteps; len(ev.steps) >= max {
		return nil, fmt.Errorf("the recipe makes more than %d steps", max)
	}
	s := &step{
		kind:   k,
		handle: &engine.Handle{ID: id, Pos: pos, Known: made.Known, Detail: made.Detail},
		attrs:  ev.outputsOf(k, id, made),
	}
	ev.meter.made++
	ev.steps = append(ev.steps, engine.Built{Step: engine.Step{ID: id, Pos: pos, Via: via}, Made: made})
	ev.made[id] = &madeStep{step: s, key: key, pos: pos}
	return s.result(), nil
}

// outputsOf returns the attributes of a step: strings where they are known
// already, unknowns elsewhere.
func (ev *evaluation) outputsOf(k *engine.Kind, id engine.StepID, made *engine.Made) starlark.StringDict {
	attrs := starlark.StringDict{}
	for _, o := range k.Outputs {
		if s, ok := made.Known[o.Name]; ok {
			attrs[o.Name] = starlark.String(s)
			continue
		}
		attrs[o.Name] = ev.hole(engine.Ref{Node: id.Node(o.Part), Output: o.Name}, o.Secret)
	}
	return attrs
}

// result is what the call of the step function evaluates to.
func (s *step) result() starlark.Value {
	if s.kind.Result != "" {
		return s.attrs[s.kind.Result]
	}
	return s
}
