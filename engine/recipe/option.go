package recipe

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"go.starlark.net/starlark"

	"github.com/tengil/tengil/engine"
)

// ErrOption is wrapped by errors about what the user gave for options: a name
// that the recipe does not have, or a value that cannot be.
var ErrOption = errors.New("option given wrongly")

// givenError is an error about a given value; its text is that of the cause.
type givenError struct{ error }

func (e *givenError) Unwrap() []error { return []error{e.error, ErrOption} }

func optionDecl() declaration {
	return declaration{
		Name: "option",
		Doc: "Declares what the user of the recipe may choose, and returns the value: the user's, else the default, else what " +
			"the node's owner chose for pools and storages. Without any of them the user is asked.",
		Example: `port = option("port", default = 8080, help = "port of the web page")`,
		Params: []engine.Param{
			{Name: "name", Type: engine.TypeString, Required: true, Position: 1, Doc: "Name of the option.", Example: `"pool"`},
			{Name: "default", Type: typeAny, Position: 2, Doc: "The value when the user gives none.", Example: `8080`},
			{Name: "type", Type: engine.TypeString, Choices: OptionTypes(), Doc: "Type of the value; that of the default if left out, or enum with choices. " +
				"Numbers and truth values come back as such, all else as text.", Example: `"zpool"`},
			{Name: "choices", Type: engine.TypeStrings, Doc: "The values to choose from.", Example: `["auto", "none"]`},
			{Name: "pattern", Type: engine.TypeString, Doc: "A regular expression that the whole value must match.", Example: `"[a-z]+"`},
			{Name: "help", Type: engine.TypeString, Doc: "What the option does.", Example: `"pool for application data"`},
		},
		Run: (*evaluation).declareOption,
	}
}

func (ev *evaluation) declareOption(c declared) (starlark.Value, error) {
	o := Option{
		Name: c.String("name"), Choices: c.Strings("choices"), Pattern: c.String("pattern"),
		Help: c.String("help"), Pos: c.pos,
	}
	o.Type = c.String("type")
	if o.Type == "" {
		o.Type = guessType(c)
	}
	if err := ev.checkDeclared(o); err != nil {
		return nil, err
	}
	if t, ok := c.Values["default"].(engine.Text); ok {
		return ev.defaultUnknown(o, t)
	}
	v, err := ev.optionValue(&o, c.Values["default"])
	if err != nil {
		return nil, fmt.Errorf("option %q: %w", o.Name, err)
	}
	if v == nil {
		ev.missing = append(ev.missing, o)
		v = ev.unknown(missingText(o.Name), holeSize)
	}
	ev.options = append(ev.options, o)
	return v, nil
}

// guessType returns the type of an option that names none.
func guessType(c declared) string {
	if c.Has("choices") {
		return "enum"
	}
	switch c.Values["default"].(type) {
	case int64:
		return "int"
	case bool:
		return "bool"
	}
	return "string"
}

// checkDeclared checks what a recipe says of an option, whatever its value.
func (ev *evaluation) checkDeclared(o Option) error {
	if err := checkIdentifier(o.Name); err != nil {
		return err
	}
	if i := slices.Index(ev.optionNames(), o.Name); i >= 0 {
		return fmt.Errorf("option %q is declared at %s already", o.Name, ev.options[i].Pos)
	}
	if len(ev.options) >= maxDeclared {
		return fmt.Errorf("the recipe has more than %d options", maxDeclared)
	}
	if o.Type == "enum" && len(o.Choices) == 0 {
		return fmt.Errorf("option %q is an enum, so it needs choices", o.Name)
	}
	if _, err := regexp.Compile(o.Pattern); err != nil {
		return fmt.Errorf("pattern: %w", err)
	}
	return nil
}

// defaultUnknown handles a default that is an unknown: while an option before it
// has no value, those that depend on it have none either; all else is a mistake.
func (ev *evaluation) defaultUnknown(o Option, t engine.Text) (starlark.Value, error) {
	if t.Refs()[0].Node.Step().Kind() != missingKind {
		return nil, (&unknown{text: t}).errorf("be the default of an option")
	}
	ev.options = append(ev.options, o)
	if given, ok := ev.o.Values[o.Name]; ok {
		v, err := ev.parse(o, given)
		if err != nil {
			return nil, &givenError{fmt.Errorf("option %q: %w", o.Name, err)}
		}
		return v.value, nil
	}
	return ev.unknown(t, holeSize), nil
}

// optionValue finds the value of o and sets Default, Value, Given and Required;
// it returns nil if there is none.
func (ev *evaluation) optionValue(o *Option, declared any) (starlark.Value, error) {
	if declared == nil {
		if host := hostDefault(o.Type, ev.o.Facts); host != "" {
			declared = host
		}
	}
	var fallback optionValue
	if declared != nil {
		text, err := defaultText(declared)
		if err != nil {
			return nil, err
		}
		if fallback, err = ev.parse(*o, text); err != nil {
			return nil, fmt.Errorf("default: %w", err)
		}
		o.Default = fallback.text
	}
	given, ok := ev.o.Values[o.Name]
	o.Given, o.Required = ok, declared == nil
	if !ok {
		if declared == nil {
			return nil, ev.nothingToChoose(o)
		}
		o.Value = fallback.text
		return fallback.value, nil
	}
	v, err := ev.parse(*o, given)
	if err != nil {
		return nil, &givenError{err}
	}
	o.Value = v.text
	return v.value, nil
}

// nothingToChoose returns an error if no value can be given for o; if the node
// knows what can, it sets Choices.
func (ev *evaluation) nothingToChoose(o *Option) error {
	if len(o.Choices) > 0 {
		return nil
	}
	switch o.Type {
	case "zpool", "dataset":
		pools := poolNames(ev.o.Facts)
		if len(pools) == 0 {
			return engine.WithHint(fmt.Errorf("there is no ZFS pool on %s", ev.o.Facts.Node), noPoolHint)
		}
		if o.Type == "zpool" {
			o.Choices = pools
		}
	case "storage":
		if o.Choices = storageNames(ev.o.Facts); len(o.Choices) == 0 {
			return fmt.Errorf("there is no storage on %s", ev.o.Facts.Node)
		}
	}
	return nil
}

// defaultText returns a default as a user would type it.
func defaultText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	return "", fmt.Errorf("default: wanted a string, a whole number, True or False, got %v", v)
}

// parse checks text, as a user typed it, against everything that o demands.
func (ev *evaluation) parse(o Option, text string) (optionValue, error) {
	if err := checkText(text); err != nil {
		return optionValue{}, err
	}
	v, err := parseOption(o.Type, text, ev.o.Facts)
	if err != nil {
		return optionValue{}, err
	}
	if len(o.Choices) > 0 && !slices.Contains(o.Choices, v.text) {
		return optionValue{}, fmt.Errorf("wanted one of %s, got %q%s", quotedList(o.Choices), text, engine.DidYouMean(text, o.Choices))
	}
	if o.Pattern != "" && !regexp.MustCompile(`^(?:`+o.Pattern+`)$`).MatchString(v.text) {
		return optionValue{}, fmt.Errorf("wanted a value that matches %q, got %q", o.Pattern, text)
	}
	return v, nil
}

func (ev *evaluation) optionNames() []string {
	names := make([]string, len(ev.options))
	for i, o := range ev.options {
		names[i] = o.Name
	}
	return names
}

// unusedValues lists the given values that no option took, sorted.
func (ev *evaluation) unusedValues() []string {
	names := ev.optionNames()
	var unused []string
	for _, name := range slices.Sorted(maps.Keys(ev.o.Values)) {
		if !slices.Contains(names, name) {
			unused = append(unused, name)
		}
	}
	return unused
}

func (ev *evaluation) unknownOption(name string) error {
	names := ev.optionNames()
	rest := engine.DidYouMean(name, names)
	switch {
	case rest != "":
	case len(names) == 0:
		rest = "; it has none"
	default:
		rest = "; it has " + quotedList(names)
	}
	return &engine.Error{Err: &givenError{fmt.Errorf("%s has no option %q%s", ev.app.Name, name, rest)}}
}
