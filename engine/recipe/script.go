package recipe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"github.com/tengil/tengil/engine"
)

// A scriptKind is a kind that a file defines: engine.Script. Its functions run in
// evaluations of that file made for them, each for one call at a time: the
// evaluation of the recipe is over by then, and a node may be worked on in
// parallel. What was read of the file is frozen, so calls do not see each other.
type scriptKind struct {
	name, doc, example string
	params             []engine.Param
	pos                engine.Pos
	functions          map[string]*starlark.Function // in the evaluation that defined it
	src                source
	source             engine.ScriptSource
	o                  Options

	mu   sync.Mutex
	free []*instance
}

// An instance is one evaluation of the file of a kind.
type instance struct {
	ev   *evaluation
	kind *scriptKind // as that evaluation defined it
}

// scriptLimits bound one call of a function of a kind.
func scriptLimits(l Limits) Limits {
	l = l.orDefaults()
	l.Steps = min(l.Steps, 1_000_000)
	return l
}

// A scriptRun is one call of a function of a kind.
type scriptRun struct {
	function string
	call     engine.ScriptCall
	ctx      context.Context //nolint:containedctx // it is that of the call
	known    *engine.Answers // of observe
	asks     []engine.Ask    // by observe, in order
	host     engine.Host     // of apply and remove
}

// Kind implements engine.Script.
func (s *scriptKind) Kind() engine.Kind {
	return engine.Kind{Name: s.name, Doc: s.doc, Example: s.example, Params: s.params}
}

// Pos implements engine.Script.
func (s *scriptKind) Pos() engine.Pos { return s.pos }

// Source implements engine.Script.
func (s *scriptKind) Source() engine.ScriptSource { return s.source }

// take returns an instance that nobody else uses; put gives it back.
func (s *scriptKind) take() (*instance, error) {
	s.mu.Lock()
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		s.mu.Unlock()
		return i, nil
	}
	s.mu.Unlock()
	ev, err := fileOfKinds(s.src, bundleOf(s.source, s.o), s.o.Kinds == nil)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(ev.scripts, func(k *scriptKind) bool { return k.name == s.name })
	if at < 0 {
		return nil, fmt.Errorf("%s defines no kind %s", s.src, s.name)
	}
	return &instance{ev, ev.scripts[at]}, nil
}

func (s *scriptKind) put(i *instance) {
	i.ev.script, i.ev.unknowns = nil, nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, i)
}

// run calls a function of the kind with what args returns, and hands the result to
// done.
func (s *scriptKind) run(r *scriptRun, args func(*evaluation) ([]starlark.Value, error), done func(*evaluation, starlark.Value) error) error {
	i, err := s.take()
	if err != nil {
		return err
	}
	defer s.put(i)
	fn := i.kind.functions[r.function]
	if fn == nil {
		return nil
	}
	if r.ctx == nil {
		r.ctx = context.Background()
	}
	if r.call.In.Value == nil {
		r.call.In = notYet()
	}
	ev := i.ev
	ev.script = r
	ev.meter = newMeter(scriptLimits(s.o.Limits), r.ctx.Err)
	thread := &starlark.Thread{Name: s.name, Print: func(t *starlark.Thread, msg string) {
		if r.host != nil { // the others run more than once
			ev.print(t, msg)
		}
	}}
	ev.meter.attach(thread)
	_, err = caught(func() (starlark.Value, error) {
		values, err := args(ev)
		if err != nil {
			return nil, err
		}
		v, err := starlark.Call(thread, fn, values, nil)
		if err == nil {
			err = done(ev, v)
		}
		return v, err
	})
	if err != nil {
		return ev.scriptError(fn, r.function, err)
	}
	return nil
}

// scriptError says where in the file of a kind an error comes from: the line, or
// the function for what it returned.
func (ev *evaluation) scriptError(fn *starlark.Function, function string, err error) error {
	var at *engine.Error
	if !errors.As(ev.blame(err), &at) {
		at = &engine.Error{Pos: position(fn.Position()), Err: ev.readable(err)}
	}
	moved := *at
	moved.Hint = "" // whoever shows it finds it with HintOf
	moved.Err = fmt.Errorf("%s: %w", function, at.Err)
	return &moved
}

// Check implements engine.Script.
func (s *scriptKind) Check(c engine.ScriptCall) error {
	return s.run(&scriptRun{function: "check", call: c}, s.with(c), ignore)
}

func ignore(*evaluation, starlark.Value) error { return nil }

// with returns the arguments of a function: those given, then args.
func (s *scriptKind) with(c engine.ScriptCall, before ...starlark.Value) func(*evaluation) ([]starlark.Value, error) {
	return func(ev *evaluation) ([]starlark.Value, error) {
		return append(slices.Clone(before), ev.scriptArgs(s.params, c)), nil
	}
}

// errUnanswered ends observe where it looks at an answer that nobody has yet.
var errUnanswered = errors.New("not asked yet")

// Observe implements engine.Script.
func (s *scriptKind) Observe(c engine.ScriptCall, a *engine.Answers) (now engine.State, asks []engine.Ask, ok bool, err error) {
	if a == nil {
		a = engine.NewAnswers(nil)
	}
	r := &scriptRun{function: "observe", call: c, known: a}
	err = s.run(r, func(ev *evaluation) ([]starlark.Value, error) {
		return []starlark.Value{&nodeValue{ev}, ev.scriptArgs(s.params, c)}, nil
	}, func(ev *evaluation, v starlark.Value) error {
		now = v
		return ev.checkState(v)
	})
	if errors.Is(err, errUnanswered) {
		return nil, r.asks, false, nil
	}
	if err != nil {
		return nil, r.asks, true, err
	}
	return now, r.asks, true, nil
}

// checkState refuses what could not be handed from one evaluation to another.
func (ev *evaluation) checkState(v starlark.Value) error {
	if _, err := ev.meter.weigh(v); err != nil {
		return err
	}
	err := visit(v, func(v starlark.Value) error {
		switch v := v.(type) {
		case starlark.NoneType, starlark.Bool, starlark.Int, starlark.Float, starlark.String, starlark.Bytes,
			*starlark.List, starlark.Tuple, *starlark.Dict, *starlark.Set, *starlarkstruct.Struct:
			return nil
		case *answer:
			return fmt.Errorf("it returned an answer of the node itself; return what it says: %s", quotedList(v.AttrNames()))
		case *unknown:
			return fmt.Errorf("it returned an argument that is not known yet; diff has it, too")
		}
		return fmt.Errorf("it returned a value of type %s; wanted plain data", v.Type())
	})
	v.Freeze()
	return err
}

// Diff implements engine.Script.
func (s *scriptKind) Diff(c engine.ScriptCall, now engine.State) (changes []engine.Change, err error) {
	err = s.run(&scriptRun{function: "diff", call: c}, s.with(c, asState(now)), func(_ *evaluation, v starlark.Value) error {
		list, ok := v.(*starlark.List)
		if !ok {
			return fmt.Errorf("wanted a list of change(), got a value of type %s", v.Type())
		}
		for e := range parts(list) {
			ch, ok := e.(*changeValue)
			if !ok {
				return fmt.Errorf("wanted a list of change(), got a value of type %s in it", e.Type())
			}
			changes = append(changes, hide(ch.change(c), c))
		}
		return nil
	})
	return changes, err
}

func asState(now engine.State) starlark.Value {
	if v, ok := now.(starlark.Value); ok {
		return v
	}
	return starlark.None
}

// hide masks the secrets among the arguments where a change shows text of the node,
// which may hold them too.
func hide(ch engine.Change, c engine.ScriptCall) engine.Change {
	for _, secret := range secretsOf(c) {
		for _, field := range []*string{&ch.Field, &ch.From, &ch.To, &ch.Why, &ch.Loses} {
			*field = strings.ReplaceAll(*field, secret, engine.Masked)
		}
	}
	return ch
}

// Apply implements engine.Script.
func (s *scriptKind) Apply(ctx context.Context, c engine.ScriptCall, now engine.State, h engine.Host) error {
	return s.run(&scriptRun{function: "apply", call: c, ctx: ctx, host: h}, func(ev *evaluation) ([]starlark.Value, error) {
		return []starlark.Value{&nodeValue{ev}, ev.scriptArgs(s.params, c), asState(now)}, nil
	}, ignore)
}

// Remove implements engine.Script.
func (s *scriptKind) Remove(ctx context.Context, c engine.ScriptCall, h engine.Host) error {
	return s.run(&scriptRun{function: "remove", call: c, ctx: ctx, host: h}, func(ev *evaluation) ([]starlark.Value, error) {
		return []starlark.Value{&nodeValue{ev}, ev.scriptArgs(s.params, c)}, nil
	}, ignore)
}
