package recipe

import (
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"github.com/tengil/tengil/engine"
)

// convert returns the Go value, as listed at engine.Type, of an argument.
func (ev *evaluation) convert(p engine.Param, v starlark.Value) (any, error) {
	switch p.Type {
	case engine.TypeString:
		return choice(p, v)
	case engine.TypeText:
		return toText(v)
	case engine.TypeInt:
		return toInt(v)
	case engine.TypeBool:
		return toBool(v)
	case engine.TypeSize:
		return toSize(v)
	case engine.TypeDuration:
		s, err := toString(v, "a duration such as \"30s\"")
		if err != nil {
			return nil, err
		}
		return parseDuration(s)
	case engine.TypeStrings:
		return eachOf(v, "a list of strings", func(e starlark.Value) (string, error) { return choice(p, e) })
	case engine.TypeTexts:
		return eachOf(v, "a list of strings", toText)
	case engine.TypeTextMap:
		return entries(v, func(e starlark.Value) (any, error) { return toText(e) })
	case engine.TypeMap:
		return entries(v, func(e starlark.Value) (any, error) { return toAny(p, e) })
	case engine.TypeStep:
		return toStep(p, v)
	case engine.TypeSteps:
		return eachOf(v, "a list of steps", func(e starlark.Value) (*engine.Handle, error) { return toStep(p, e) })
	case engine.TypeObject:
		return toObject(p, v)
	case engine.TypeObjects:
		return eachOf(v, "a list", func(e starlark.Value) (any, error) { return toObject(p, e) })
	case engine.TypeStepOrString:
		if _, ok := v.(*step); ok {
			return toStep(p, v)
		}
		return toString(v, "a string"+orOf(p))
	case typeAny:
		return toAny(engine.Param{}, v)
	case typeRaw, typeFunction, typeDict:
		return v, nil
	}
	return nil, fmt.Errorf("tengil has no type %q", p.Type)
}

// wrongType says what was wanted and what was got.
func wrongType(want string, v starlark.Value) error {
	if s, ok := v.(*step); ok && len(s.attrs) > 0 && strings.Contains(want, "string") {
		return fmt.Errorf("wanted %s, got the step %s; did you mean one of its outputs: %s?", want, s, strings.Join(s.AttrNames(), ", "))
	}
	switch v := v.(type) {
	case starlark.String:
		return fmt.Errorf("wanted %s, got the string %s", want, shorten(v.String()))
	case starlark.Int, starlark.Float, starlark.Bool:
		return fmt.Errorf("wanted %s, got %s", want, v)
	case *step:
		return fmt.Errorf("wanted %s, got the step %s", want, v)
	case *object:
		return fmt.Errorf("wanted %s, got what %s() makes", want, v.name)
	}
	return fmt.Errorf("wanted %s, got a value of type %s", want, v.Type())
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:57]) + "…\""
	}
	return s
}

// toString returns a string that is known while the recipe is read.
func toString(v starlark.Value, want string) (string, error) {
	if u, ok := v.(*unknown); ok {
		return "", u.errorf("stand where " + want + " is wanted")
	}
	s, ok := starlark.AsString(v)
	if !ok {
		return "", wrongType(want, v)
	}
	return s, checkText(s)
}

func choice(p engine.Param, v starlark.Value) (string, error) {
	s, err := toString(v, "a string")
	if err == nil && len(p.Choices) > 0 && !slices.Contains(p.Choices, s) {
		err = fmt.Errorf("wanted one of %s, got %q%s", quotedList(p.Choices), s, engine.DidYouMean(s, p.Choices))
	}
	return s, err
}

// toText takes numbers, too: they have one way to be written.
func toText(v starlark.Value) (engine.Text, error) {
	switch v := v.(type) {
	case *unknown:
		return v.text, nil
	case starlark.Int:
		return engine.Lit(v.String()), nil
	case starlark.Bool:
		return engine.Text{}, fmt.Errorf("%w; write \"true\" or what the program expects", wrongType("a string", v))
	}
	s, err := toString(v, "a string")
	return engine.Lit(s), err
}

func toInt(v starlark.Value) (int64, error) {
	i, ok := v.(starlark.Int)
	if !ok {
		return 0, wrongType("a whole number", v)
	}
	n, ok := i.Int64()
	if !ok {
		return 0, fmt.Errorf("the number %s is too big", shorten(v.String()))
	}
	return n, nil
}

func toBool(v starlark.Value) (bool, error) {
	b, ok := v.(starlark.Bool)
	if !ok {
		return false, wrongType("True or False", v)
	}
	return bool(b), nil
}

func toSize(v starlark.Value) (engine.Size, error) {
	if i, ok := v.(starlark.Int); ok {
		n, err := toInt(i)
		if err == nil && n < 0 {
			err = fmt.Errorf("wanted a size, got %d", n)
		}
		if err == nil {
			err = checkBytes(engine.Size(n))
		}
		return engine.Size(n), err
	}
	s, err := toString(v, "a size such as \"512M\" or \"2G\"")
	if err != nil {
		return 0, err
	}
	return parseSize(s)
}

// eachOf converts the elements of a list or tuple; errors count them from 1.
func eachOf[T any](v starlark.Value, want string, f func(starlark.Value) (T, error)) ([]T, error) {
	switch v.(type) {
	case *starlark.List, starlark.Tuple:
	default:
		return nil, wrongType(want, v)
	}
	out := []T{}
	for e := range parts(v) {
		t, err := f(e)
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", len(out)+1, err)
		}
		out = append(out, t)
	}
	return out, nil
}

// entries converts a dict with string keys.
func entries(v starlark.Value, f func(starlark.Value) (any, error)) ([]engine.Entry, error) {
	d, ok := v.(*starlark.Dict)
	if !ok {
		return nil, wrongType("a dict", v)
	}
	out := make([]engine.Entry, 0, d.Len())
	for k, e := range d.Entries() {
		key, ok := starlark.AsString(k)
		if !ok {
			return nil, fmt.Errorf("wanted strings as keys, got %s", k)
		}
		if err := checkText(key); err != nil {
			return nil, fmt.Errorf("key %q: %w", key, err)
		}
		value, err := f(e)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", key, err)
		}
		out = append(out, engine.Entry{Key: key, Value: value})
	}
	return out, nil
}

// toAny converts what a map of TypeMap may hold.
func toAny(p engine.Param, v starlark.Value) (any, error) {
	switch v := v.(type) {
	case starlark.String:
		return string(v), checkText(string(v))
	case starlark.Int:
		return toInt(v)
	case starlark.Bool:
		return bool(v), nil
	case *unknown:
		return v.text, nil
	case *step:
		return toStep(p, v)
	case *object:
		return toObject(p, v)
	case *starlark.List, starlark.Tuple:
		return eachOf(v, "a list", func(e starlark.Value) (any, error) { return toAny(p, e) })
	}
	return nil, wrongType("a string"+orOf(p), v)
}

func toStep(p engine.Param, v starlark.Value) (*engine.Handle, error) {
	s, ok := v.(*step)
	if !ok || len(p.Of) > 0 && !slices.Contains(p.Of, s.kind.Name) {
		return nil, wrongType("what "+orList(p.Of, "a step function")+" returns", v)
	}
	return s.handle, nil
}

func toObject(p engine.Param, v starlark.Value) (any, error) {
	o, ok := v.(*object)
	if !ok || len(p.Of) > 0 && !slices.Contains(p.Of, o.name) {
		return nil, wrongType("what "+orList(p.Of, "a function")+" returns", v)
	}
	return o.value, nil
}

// orList returns "a() or b()", or fallback if there are no names.
func orList(names []string, fallback string) string {
	if len(names) == 0 {
		return fallback
	}
	return strings.Join(names, "() or ") + "()"
}

func orOf(p engine.Param) string {
	if len(p.Of) == 0 {
		return ""
	}
	return " or what " + orList(p.Of, "") + " returns"
}
