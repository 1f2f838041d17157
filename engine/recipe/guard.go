package recipe

import (
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/lib/json"
	"go.starlark.net/lib/math"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
)

// A policy says what to check around a function of Starlark's own.
type policy int

const (
	weighed policy = 1 << iota // it looks at all of its arguments: what is too big to look through is an error
	known                      // it compares or branches: an unknown is an error
	fresh                      // it makes its result, which is charged
	copying                    // it copies its arguments into the receiver: they are charged
)

// guardedBuiltins returns Starlark's functions, guarded, and the modules.
func (ev *evaluation) guardedBuiltins() starlark.StringDict {
	names := starlark.StringDict{
		"struct": starlark.NewBuiltin("struct", starlarkstruct.Make),
		"json":   ev.guardModule(json.Module, weighed|fresh),
		"math":   ev.guardModule(math.Module, 0),
	}
	for name, v := range starlark.Universe {
		if b, ok := v.(*starlark.Builtin); ok {
			names[name] = ev.guard(b, builtinPolicy(name))
		}
	}
	names["getattr"] = starlark.NewBuiltin("getattr", ev.getattr)
	names["fail"] = starlark.NewBuiltin("fail", ev.fail)
	return names
}

func builtinPolicy(name string) policy {
	switch name {
	case "any", "all", "bool":
		return known
	case "min", "max":
		return weighed | known
	case "sorted":
		return weighed | known | fresh
	case "hash", "print":
		return weighed
	case "repr", "str", "dict", "set":
		return weighed | fresh
	case "bytes", "enumerate", "int", "list", "range", "reversed", "tuple", "zip":
		return fresh
	}
	return 0 // abs, chr, dir, float, hasattr, len, ord, type
}

func (ev *evaluation) guardModule(m *starlarkstruct.Module, p policy) *starlarkstruct.Module {
	out := &starlarkstruct.Module{Name: m.Name, Members: starlark.StringDict{}}
	for name, v := range m.Members {
		if b, ok := v.(*starlark.Builtin); ok {
			v = ev.guard(b, p)
		}
		out.Members[name] = v
	}
	return out
}

// guard returns a function that does what b does, within the policy.
func (ev *evaluation) guard(b *starlark.Builtin, p policy) *starlark.Builtin {
	return starlark.NewBuiltin(b.Name(), func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		if err := ev.before(b.Name(), p, args, kwargs); err != nil {
			return nil, err
		}
		v, err := b.CallInternal(t, args, kwargs)
		if err != nil {
			return nil, err
		}
		if p&fresh != 0 {
			if err := ev.meter.result(v); err != nil {
				return nil, err
			}
		}
		return ev.settle(v)
	})
}

// before checks the arguments of a guarded function.
func (ev *evaluation) before(name string, p policy, args starlark.Tuple, kwargs []starlark.Tuple) error {
	if p&weighed != 0 {
		for _, a := range kwargs {
			args = append(args[:len(args):len(args)], a[1])
		}
		if _, err := ev.meter.weigh(args); err != nil {
			return callError(name, err)
		}
	}
	if p&copying != 0 {
		for _, a := range args {
			if err := ev.meter.elements(int64(max(starlark.Len(a), 0))); err != nil {
				return err
			}
		}
	}
	if p&known != 0 {
		return ev.allKnown(name, args, kwargs)
	}
	return nil
}

// allKnown refuses unknowns among the values that a function compares or tests,
// one level deep for a test. With key= it compares other values than these.
func (ev *evaluation) allKnown(name string, args starlark.Tuple, kwargs []starlark.Tuple) error {
	deep := name != "any" && name != "all" && name != "bool"
	if deep && slices.ContainsFunc(kwargs, func(kv starlark.Tuple) bool { return kv[0] == starlark.String("key") }) {
		return nil
	}
	for _, a := range args {
		if deep {
			if err := ev.known(a, "be compared"); err != nil {
				return err
			}
			continue
		}
		if err := condition(a); err != nil {
			return err
		}
		for v := range parts(a) {
			if err := condition(v); err != nil {
				return err
			}
		}
	}
	return nil
}

// getattr is Starlark's getattr with the checks of x.name.
func (ev *evaluation) getattr(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x, fallback starlark.Value
	var name string
	if err := starlark.UnpackPositionalArgs(b.Name(), args, kwargs, 2, &x, &name, &fallback); err != nil {
		return nil, err
	}
	v, err := ev.attr(x, name)
	if err != nil && fallback != nil && !isUnknown(x) {
		return fallback, nil
	}
	return v, err
}

// method returns a method of a string, list, dict or set, guarded.
func (ev *evaluation) method(x starlark.HasAttrs, name string) (starlark.Value, error) {
	v, err := fieldOf(x, name)
	if err != nil {
		return nil, err
	}
	b, ok := v.(*starlark.Builtin)
	if !ok {
		return v, nil
	}
	if s, ok := x.(starlark.String); ok {
		return ev.stringMethod(string(s), b), nil
	}
	if l, ok := x.(*starlark.List); ok && (name == "index" || name == "remove") {
		// An element that is unknown would count as different.
		if err := ev.known(l, "be searched"); err != nil {
			return nil, err
		}
	}
	return ev.guard(b, methodPolicy(name)), nil
}

func methodPolicy(name string) policy {
	switch name {
	case "index", "remove":
		return weighed | known
	case "extend", "insert", "update":
		return copying
	case "append", "get", "pop", "setdefault", "add", "discard", "popitem", "clear":
		return weighed // keys, which are hashed
	}
	return fresh // keys, values, items, union, elems, …
}

// stringMethod guards a method of a string: those that put arguments into the
// result take unknowns, too.
func (ev *evaluation) stringMethod(s string, b *starlark.Builtin) starlark.Value {
	guarded := ev.guard(b, weighed|fresh)
	var prepare func(args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Tuple, error)
	switch b.Name() {
	case "format":
		prepare = func(args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Tuple, error) {
			all := slices.Clone(args)
			for _, kv := range kwargs {
				all = append(all, kv[1])
			}
			return args, ev.foreseeFormat(s, "{", all)
		}
	case "join":
		prepare = func(args starlark.Tuple, _ []starlark.Tuple) (starlark.Tuple, error) { return ev.prepareJoin(s, args) }
	case "replace":
		prepare = func(args starlark.Tuple, _ []starlark.Tuple) (starlark.Tuple, error) {
			return args, ev.foreseeReplace(s, args)
		}
	default:
		return guarded
	}
	return starlark.NewBuiltin(b.Name(), func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		args, err := prepare(args, kwargs)
		if err != nil {
			return nil, err
		}
		return guarded.CallInternal(t, args, kwargs)
	})
}

// foreseeFormat refuses a format that could make too much of its arguments: each
// field is taken for all of them.
func (ev *evaluation) foreseeFormat(format, field string, args starlark.Value) error {
	w, err := ev.meter.weigh(args)
	if err != nil {
		return err
	}
	if size := product(w, int64(strings.Count(format, field))); size > int64(ev.meter.Memory) {
		return fmt.Errorf("format: %w", errTooBig)
	}
	return nil
}

// foreseeReplace refuses a replacement whose result would be too long.
func (ev *evaluation) foreseeReplace(s string, args starlark.Tuple) error {
	if len(args) < 2 {
		return nil
	}
	old, _ := starlark.AsString(args[0])
	with, _ := starlark.AsString(args[1])
	n := int64(len(s)) + product(int64(len(with)), int64(strings.Count(s, old)))
	return ev.foreseeLen(starlark.String(s), n)
}

// prepareJoin returns the arguments of sep.join with markers in place of unknowns,
// which Starlark's join takes for strings.
func (ev *evaluation) prepareJoin(sep string, args starlark.Tuple) (starlark.Tuple, error) {
	if len(args) != 1 {
		return args, nil
	}
	if n := starlark.Len(args[0]); n > 0 {
		if err := ev.foreseeLen(starlark.String(sep), product(int64(len(sep)), int64(n))); err != nil {
			return nil, err
		}
	}
	list, isList := args[0].(*starlark.List)
	tuple, isTuple := args[0].(starlark.Tuple)
	if !isList && !isTuple {
		return args, nil
	}
	if isList {
		tuple = slices.Collect(list.Elements())
	}
	marked := make([]starlark.Value, len(tuple))
	for i, v := range tuple {
		marked[i] = v
		if u, ok := v.(*unknown); ok {
			marked[i] = starlark.String(u.marker)
		}
	}
	return starlark.Tuple{starlark.NewList(marked)}, nil
}

// print is what Starlark's print calls.
func (ev *evaluation) print(t *starlark.Thread, msg string) {
	if ev.o.Print != nil {
		pos, _ := here(t)
		ev.o.Print(pos, ev.show(msg))
	}
}

// fail ends the evaluation with a message of the recipe.
func (ev *evaluation) fail(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	sep := " "
	if err := starlark.UnpackArgs(b.Name(), nil, kwargs, "sep?", &sep); err != nil {
		return nil, err
	}
	if _, err := ev.meter.weigh(args); err != nil {
		return nil, err
	}
	words := make([]string, len(args))
	for i, a := range args {
		if s, ok := starlark.AsString(a); ok {
			words[i] = s
		} else {
			words[i] = a.String()
		}
	}
	return nil, fmt.Errorf("%s", strings.Join(words, sep))
}
