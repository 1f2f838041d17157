package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/recipe"
)

// parseValues reads key=value arguments over those of a file; "" is no file.
func parseValues(args []string, file string) (map[string]string, error) {
	values := map[string]string{}
	if file != "" {
		data, err := readInputFile(file)
		if err != nil {
			return nil, err
		}
		if values, err = parseValuesFile(data); err != nil {
			return nil, fmt.Errorf("%s:%w", file, err)
		}
	}
	given := map[string]bool{}
	for _, a := range args {
		key, value, ok := strings.Cut(a, "=")
		if !ok || key == "" {
			return nil, usagef("%q is no option; wanted key=value", a)
		}
		if given[key] {
			return nil, usagef("option %q is given twice", key)
		}
		given[key] = true
		values[key] = value
	}
	return values, nil
}

// parseValuesFile reads a JSON object of strings, numbers and booleans, or lines
// key=value in which # begins a comment line. An error begins with line and column.
func parseValuesFile(data []byte) (map[string]string, error) {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return parseValuesJSON(data)
	}
	values := map[string]string{}
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" {
			return nil, fmt.Errorf("%d:1: the line is %.80q; wanted key=value", n, line)
		}
		if _, twice := values[key]; twice {
			return nil, fmt.Errorf("%d:1: option %q is given twice", n, key)
		}
		values[key] = strings.TrimSpace(value)
	}
	return values, nil
}

func parseValuesJSON(data []byte) (map[string]string, error) {
	var object map[string]any
	if err := decodeInput(data, &object); err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		switch v := object[key].(type) {
		case string:
			values[key] = v
		case json.Number:
			values[key] = v.String()
		case bool:
			values[key] = fmt.Sprint(v)
		default:
			at := max(0, bytes.Index(data, []byte(`"`+key+`"`)))
			return nil, fmt.Errorf("%s: option %q is neither a string nor a number nor true or false", position(data, at), key)
		}
	}
	return values, nil
}

// load evaluates a recipe. Options that it needs and that have no value are asked
// for, if somebody is there to answer.
func (s *session) load(ctx context.Context, src *source, facts *engine.Facts, values map[string]string) (*recipe.Recipe, error) {
	o := recipe.Options{
		Kinds:        builtins.Kinds(),
		Constructors: builtins.Constructors(),
		Facts:        facts,
		FS:           src.file,
		Source:       src.label,
		Dir:          src.dir,
		Values:       values,
		Catalogs:     src.otherCatalogs(),
		Print:        func(pos engine.Pos, text string) { s.notef("%s: %s\n", pos, text) },
	}
	for {
		r, err := recipe.Load(ctx, src.name, o)
		var missing *recipe.MissingError
		if !errors.As(err, &missing) {
			return r, err
		}
		for _, opt := range missing.Options {
			if values[opt.Name], err = s.askOption(ctx, opt); err != nil {
				return nil, s.orMissing(err, missing, src)
			}
		}
	}
}

func (s *session) askOption(ctx context.Context, o recipe.Option) (string, error) {
	question := o.Name
	if o.Help != "" {
		question += " (" + o.Help + ")"
	}
	if len(o.Choices) > 0 {
		question += ", one of " + strings.Join(o.Choices, ", ")
	} else if o.Type != "string" {
		question += ", a " + o.Type
	}
	for {
		value, err := s.term.Ask(ctx, question+":")
		if value != "" || err != nil {
			return value, err
		}
	}
}

// orMissing says which options are needed, when nobody was there to be asked.
func (s *session) orMissing(err error, missing *recipe.MissingError, src *source) error {
	if !errors.Is(err, ui.ErrNobody) {
		return err
	}
	var errs []error
	var last *engine.Error // there is at least one
	hint := s.line("run", recipeArg(src))
	for _, o := range missing.Options {
		text := fmt.Sprintf("option %q needs a value", o.Name)
		if o.Help != "" {
			text += ": " + o.Help
		}
		last = &engine.Error{Pos: o.Pos, Err: errors.New(text)}
		errs = append(errs, last)
		hint += " " + o.Name + "=…"
	}
	last.Hint = hint
	for i := range errs {
		errs[i] = &usageError{errs[i]}
	}
	return errors.Join(errs...)
}

// recipeArg is how the user names the recipe on a command line.
func recipeArg(src *source) string { return strings.TrimPrefix(src.label, "catalog:") }
