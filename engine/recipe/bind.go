package recipe

import (
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"github.com/tengil/tengil/engine"
)

// A bound is the arguments of a call, checked, and the canonical text of what was
// given, which is equal for equal calls.
type bound struct {
	args engine.Args
	key  string
}

// bind checks the arguments of a call against the parameters of a function.
// Errors name the parameter but neither the function nor a place.
func (ev *evaluation) bind(params []engine.Param, args starlark.Tuple, kwargs []starlark.Tuple) (bound, error) {
	given, err := assignArgs(params, args, kwargs)
	if err != nil {
		return bound{}, err
	}
	b := bound{args: engine.Args{Values: map[string]any{}, Given: map[string]bool{}}}
	var key strings.Builder
	for _, p := range params {
		v, ok := given[p.Name]
		if !ok || v == starlark.None {
			if p.Required {
				return bound{}, requiredError(p)
			}
			if d := defaultValue(p); d != nil {
				b.args.Values[p.Name] = d
			}
			continue
		}
		if _, err := ev.meter.weigh(v); err != nil {
			return bound{}, fmt.Errorf("%s: %w", p.Name, err)
		}
		if b.args.Values[p.Name], err = ev.convert(p, v); err != nil {
			return bound{}, fmt.Errorf("%s: %w", p.Name, err)
		}
		b.args.Given[p.Name] = true
		key.WriteString(p.Name + "=")
		canonical(&key, v)
		key.WriteByte(' ')
	}
	b.key = key.String()
	return b, nil
}

func requiredError(p engine.Param) error {
	if p.Example != "" {
		return fmt.Errorf("missing parameter %q, as in %s = %s", p.Name, p.Name, p.Example)
	}
	return fmt.Errorf("missing parameter %q", p.Name)
}

// assignArgs says which parameter gets which value.
func assignArgs(params []engine.Param, args starlark.Tuple, kwargs []starlark.Tuple) (map[string]starlark.Value, error) {
	given := map[string]starlark.Value{}
	for i, v := range args {
		at := slices.IndexFunc(params, func(p engine.Param) bool { return p.Position == i+1 })
		if at < 0 {
			return nil, tooManyError(params, len(args))
		}
		given[params[at].Name] = v
	}
	for _, kv := range kwargs {
		name, _ := starlark.AsString(kv[0])
		if !slices.ContainsFunc(params, func(p engine.Param) bool { return p.Name == name }) {
			return nil, unknownParamError(params, name)
		}
		if _, twice := given[name]; twice {
			return nil, fmt.Errorf("parameter %q is given by position and by name", name)
		}
		given[name] = kv[1]
	}
	return given, nil
}

func tooManyError(params []engine.Param, got int) error {
	var names []string
	for _, p := range params {
		if p.Position > 0 {
			names = append(names, p.Name)
		}
	}
	switch len(names) {
	case 0:
		return fmt.Errorf("takes arguments by name only, got %d without a name", got)
	case 1:
		return fmt.Errorf("takes one argument without a name (%s), got %d; write the others as name = value", names[0], got)
	}
	return fmt.Errorf("takes %d arguments without a name (%s), got %d; write the others as name = value", len(names), strings.Join(names, ", "), got)
}

func unknownParamError(params []engine.Param, name string) error {
	names := make([]string, len(params))
	for i, p := range params {
		names[i] = p.Name
	}
	if hint := engine.DidYouMean(name, names); hint != "" {
		return fmt.Errorf("unknown parameter %q%s", name, hint)
	}
	return fmt.Errorf("unknown parameter %q; there are %s", name, strings.Join(names, ", "))
}

// canonical writes v such that equal values, and no others, give equal text.
func canonical(b *strings.Builder, v starlark.Value) {
	switch v := v.(type) {
	case *unknown:
		// The text of a secret hole is masked, so the refs tell two of them apart.
		fmt.Fprintf(b, "unknown(%q, %q)", v.text.String(), v.text.Refs())
	case *step:
		fmt.Fprintf(b, "step(%q)", v.handle.ID)
	case *object:
		b.WriteString(v.key)
	case *starlark.Dict:
		b.WriteByte('{')
		for k, e := range v.Entries() {
			canonical(b, k)
			b.WriteByte(':')
			canonical(b, e)
			b.WriteByte(',')
		}
		b.WriteByte('}')
	case *starlark.List, starlark.Tuple, *starlark.Set:
		b.WriteByte('[')
		for e := range parts(v) {
			canonical(b, e)
			b.WriteByte(',')
		}
		b.WriteByte(']')
	default:
		b.WriteString(v.String()) // numbers, strings (quoted), None
	}
}
