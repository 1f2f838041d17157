package recipe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine"
)

// typeAny is the type of parameters of the declarations below that take a value
// of several types; Args holds a string, int64, bool, Text, or []string.
const typeAny engine.Type = "value"

// Types of parameters that take what Starlark has; Args holds a starlark.Value.
const (
	typeRaw      engine.Type = "starlark value"
	typeFunction engine.Type = "function"
	typeDict     engine.Type = "dict"
)

// checkTables reports mistakes in the tables of kinds and constructors, which
// would otherwise show only when a recipe uses them.
func (ev *evaluation) checkTables() error {
	seen := map[string]bool{}
	check := func(name string, params []engine.Param) error {
		if seen[name] {
			return fmt.Errorf("two recipe functions are called %q", name)
		}
		seen[name] = true
		names := map[string]bool{}
		for _, p := range params {
			if names[p.Name] {
				return fmt.Errorf("%s has two parameters %q", name, p.Name)
			}
			names[p.Name] = true
		}
		return nil
	}
	for _, d := range declarations() {
		if err := check(d.Name, d.Params); err != nil {
			return err
		}
	}
	for _, c := range ev.o.Constructors {
		if err := check(c.Name, c.Params); err != nil {
			return err
		}
	}
	for _, k := range ev.o.Kinds {
		if k.Define != nil {
			continue
		}
		if err := check(k.Name, k.Params); err != nil {
			return err
		}
		if k.Result != "" && !slices.ContainsFunc(k.Outputs, func(o engine.Output) bool { return o.Name == k.Result }) {
			return fmt.Errorf("%s: there is no output %q to return", k.Name, k.Result)
		}
	}
	return nil
}

// defaultValue parses a Default as a reader writes it. It returns nil if there is
// none, and for a Default that is no value of the type but tells the reader what
// happens ("same as owner"): what holds then is up to the kind. A string that is
// such a value is quoted, or one word.
func defaultValue(p engine.Param) any {
	d := p.Default
	if d == "" || d == "None" {
		return nil
	}
	switch p.Type {
	case engine.TypeString, engine.TypeStepOrString, typeAny:
		if s, ok := defaultString(p); ok {
			return s
		}
		return nil
	case engine.TypeText:
		if s, ok := defaultString(p); ok {
			return engine.Lit(s)
		}
		return nil
	case engine.TypeInt:
		return orNil(strconv.ParseInt(d, 10, 64))
	case engine.TypeBool:
		return orNil(strconv.ParseBool(d))
	case engine.TypeSize:
		return orNil(parseSize(unquote(d)))
	case engine.TypeDuration:
		return orNil(parseDuration(unquote(d)))
	}
	if d == "[]" || d == "{}" {
		return emptyDefaults()[p.Type]
	}
	if p.Type == engine.TypeStrings {
		return orNil(parseStrings(d))
	}
	return nil
}

func orNil[T any](v T, err error) any {
	if err != nil {
		return nil
	}
	return v
}

func defaultString(p engine.Param) (string, bool) {
	s := unquote(p.Default)
	quoted := s != p.Default || s == ""
	if len(p.Choices) > 0 {
		return s, slices.Contains(p.Choices, s)
	}
	return s, quoted || !strings.Contains(s, " ")
}

func emptyDefaults() map[engine.Type]any {
	return map[engine.Type]any{
		engine.TypeStrings: []string(nil),
		engine.TypeTexts:   []engine.Text(nil),
		engine.TypeTextMap: []engine.Entry(nil),
		engine.TypeMap:     []engine.Entry(nil),
		engine.TypeSteps:   []*engine.Handle(nil),
		engine.TypeObjects: []any(nil),
	}
}

func unquote(s string) string {
	if u, err := strconv.Unquote(s); err == nil && strings.HasPrefix(s, `"`) {
		return u
	}
	return s
}

// parseStrings parses a list of strings as a recipe writes it: ["a", "b"].
func parseStrings(s string) ([]string, error) {
	inner, ok := strings.CutPrefix(s, "[")
	inner, ok2 := strings.CutSuffix(inner, "]")
	if !ok || !ok2 {
		return nil, fmt.Errorf("%q is not a list of strings", s)
	}
	var list []string
	for rest := strings.TrimSpace(inner); rest != ""; {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return nil, fmt.Errorf("%q is not a list of strings", s)
		}
		list = append(list, unquote(quoted))
		rest = strings.TrimLeft(rest[len(quoted):], ", ")
	}
	return list, nil
}
