package recipe

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"github.com/tengil/tengil/engine"
)

// definingSection is where the reference lists what defines kinds.
const definingSection = "Kinds of your own"

// The functions of a kind, and what each gets.
var scriptFunctions = []struct{ name, gets, doc, example string }{
	{"check", "args", "Looks at the arguments while the recipe is read; fail() says what is wrong with them.", "check"},
	{"observe", "node, args", "Returns what is there now, as data. Its node can only look: `node.run` of programs that change nothing, `node.read`.", "observe"},
	{"diff", "now, args", "Compares what observe returned with what is wanted, and returns a list of change(). It reaches no node.", "diff"},
	{"apply", "node, args, now", "Makes the changes, with `node.run` and `node.write`. It may be cut off anywhere and must arrive when it runs again.", "apply"},
	{"remove", "node, args", "Undoes what apply did, also when it did half of it. It runs without the recipe.", "remove"},
}

func kindDecl() declaration {
	d := declaration{
		Name: "kind",
		Doc: "Defines a step kind in a file that recipes load, and returns its function. A call of that makes a step, as a call of a built-in kind does. " +
			"The functions of the kind run when the node is looked at and changed, in the same sandbox as a recipe.",
		Example: "motd = kind(\n    \"motd\",\n    doc = \"Sets the message of the day.\",\n    params = {\"text\": param(\"text\", required = True, doc = \"The message.\")},\n" +
			"    observe = observe,\n    diff = diff,\n    apply = apply,\n    remove = remove,\n)",
		Params: []engine.Param{
			{Name: "name", Type: engine.TypeString, Required: true, Position: 1, Doc: "What plans, errors and step ids call it: lower-case letters, digits and \"_\".", Example: `"motd"`},
			{Name: "doc", Type: engine.TypeString, Required: true, Doc: "What it does; the first sentence is the summary.", Example: `"Sets the message of the day."`},
			{Name: "example", Type: engine.TypeString, Doc: "A line of a recipe that works.", Example: `'motd("hello", text = "Hello")'`},
			{Name: "params", Type: typeDict, Doc: "What param() returns, by name. All kinds also have name, the first, and after and adopt.", Example: `{"text": param("text", doc = "The message.")}`},
		},
		Run: (*evaluation).declareKind, Section: definingSection, Anywhere: true,
	}
	for _, f := range scriptFunctions {
		d.Params = append(d.Params, engine.Param{Name: f.name, Type: typeFunction, Required: f.name != "check", Example: f.example,
			Doc: fmt.Sprintf("Of (%s). %s", f.gets, f.doc)})
	}
	return d
}

// paramTypes are the types that the parameters of a script may have.
var paramTypes = []string{"string", "text", "int", "bool", "size", "duration", "strings", "texts", "map"}

func paramDecl() declaration {
	return declaration{
		Name:    "param",
		Doc:     "Describes one parameter of a kind. Checking, \"did you mean\" and documentation come from it.",
		Example: `param("string", default = "rw", choices = ["rw", "ro"], doc = "Who may write.")`,
		Params: []engine.Param{
			{Name: "type", Type: engine.TypeString, Required: true, Position: 1, Choices: paramTypes,
				Doc: "text, texts and the values of map may be known only later, and may be secret; the others are known when the recipe is read. The functions get a size in bytes and a duration in seconds.", Example: `"text"`},
			{Name: "doc", Type: engine.TypeString, Required: true, Doc: "What it is.", Example: `"The directory to share."`},
			{Name: "required", Type: engine.TypeBool, Default: "False", Doc: "A call without it is an error.", Example: `True`},
			{Name: "default", Type: typeRaw, Doc: "The value if it is not given; without one that is None.", Example: `"rw"`},
			{Name: "choices", Type: engine.TypeStrings, Doc: "What it may be, for string and strings.", Example: `["rw", "ro"]`},
			{Name: "example", Type: engine.TypeString, Doc: "A value as a recipe writes it.", Example: `'"/srv/photos"'`},
		},
		Run: (*evaluation).declareParam, Section: definingSection, Anywhere: true,
	}
}

// A paramValue is what param() returns.
type paramValue struct{ p engine.Param }

func (*paramValue) String() string        { return "param(…)" }
func (*paramValue) Type() string          { return "param" }
func (*paramValue) Freeze()               {}
func (*paramValue) Truth() starlark.Bool  { return true }
func (*paramValue) Hash() (uint32, error) { return 0, errors.New("unhashable: param") }

func (ev *evaluation) declareParam(c declared) (starlark.Value, error) {
	p := engine.Param{
		Type: engine.Type(c.String("type")), Doc: c.String("doc"), Required: c.Bool("required"),
		Choices: c.Strings("choices"), Example: c.String("example"),
	}
	if len(p.Choices) > 0 && p.Type != engine.TypeString && p.Type != engine.TypeStrings {
		return nil, fmt.Errorf("choices: a %s has none", p.Type)
	}
	v, given := c.Values["default"].(starlark.Value)
	if !given {
		return &paramValue{p}, nil
	}
	if p.Required {
		return nil, errors.New("default: a required parameter has none")
	}
	if _, err := ev.convert(p, v); err != nil {
		return nil, fmt.Errorf("default: %w", err)
	}
	if p.Default = asWritten(v); p.Default == "" || defaultValue(p) == nil {
		return nil, fmt.Errorf("default: wanted a plain value or an empty list or dict, got %s", shorten(v.String()))
	}
	return &paramValue{p}, nil
}

// asWritten returns a default as a reader writes it.
func asWritten(v starlark.Value) string {
	switch v := v.(type) {
	case starlark.String:
		return fmt.Sprintf("%q", string(v))
	case *starlark.List, *starlark.Dict, starlark.Int, starlark.Bool:
		return v.String()
	}
	return ""
}

// kindName is the form of the names of kinds and of their parameters.
var kindName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,38}$`)

// Parameters that every script has.
const (
	scriptName  = "name"
	scriptAfter = "after"
	scriptAdopt = "adopt"
)

func (ev *evaluation) declareKind(c declared) (starlark.Value, error) {
	s := &scriptKind{name: c.String("name"), doc: c.String("doc"), example: c.String("example"), pos: c.pos, functions: map[string]*starlark.Function{}}
	if !ev.inLibrary() {
		return nil, engine.WithHint(errors.New("a kind is defined at the top of a file that recipes load, so that it can be removed without them"),
			"move it to a file of its own, and in the recipe write:\n    load(\""+s.name+".star\", \""+s.name+"\")")
	}
	if !kindName.MatchString(s.name) {
		return nil, fmt.Errorf("name: wanted lower-case letters, digits and \"_\", at most 39 and a letter in front, got %q", s.name)
	}
	if ev.predeclared.Has(s.name) {
		return nil, fmt.Errorf("name: tengil has a function %s of its own", s.name)
	}
	if i := slices.IndexFunc(ev.scripts, func(o *scriptKind) bool { return o.name == s.name }); i >= 0 {
		return nil, fmt.Errorf("kind %s is defined at %s already", s.name, ev.scripts[i].pos)
	}
	var err error
	if s.params, err = scriptParams(c.Values["params"]); err != nil {
		return nil, err
	}
	for _, f := range scriptFunctions {
		v, given := c.Values[f.name]
		if !given {
			continue
		}
		fn, ok := v.(*starlark.Function)
		if !ok || fn.NumParams() != 1+strings.Count(f.gets, ",") || fn.HasVarargs() || fn.HasKwargs() {
			return nil, fmt.Errorf("%s: wanted a function of (%s), got %s", f.name, f.gets, signatureOf(v))
		}
		s.functions[f.name] = fn
	}
	s.src, s.o = ev.loading[len(ev.loading)-1], ev.o
	ev.scripts = append(ev.scripts, s)
	return ev.scriptFunction(s), nil
}

func signatureOf(v any) string {
	fn, ok := v.(*starlark.Function)
	if !ok {
		return fmt.Sprintf("a value of type %s", v.(starlark.Value).Type())
	}
	names := make([]string, fn.NumParams())
	for i := range names {
		names[i], _ = fn.Param(i)
	}
	return fmt.Sprintf("one of (%s)", strings.Join(names, ", "))
}

// scriptParams returns the parameters of a kind, with those that all have.
func scriptParams(given any) ([]engine.Param, error) {
	params := []engine.Param{{Name: scriptName, Type: engine.TypeString, Required: true, Position: 1,
		Doc: "Tells steps of this kind apart.", Example: `"photos"`}}
	switch v := given.(type) {
	case nil:
	case *starlark.Dict:
		for k, e := range v.Entries() {
			name, _ := starlark.AsString(k)
			p, ok := e.(*paramValue)
			switch {
			case !ok:
				return nil, fmt.Errorf("params: %s: wanted what param() returns, got a value of type %s", k, e.Type())
			case !kindName.MatchString(name):
				return nil, fmt.Errorf("params: wanted names of lower-case letters, digits and \"_\", got %s", k)
			case name == scriptName || name == scriptAfter || name == scriptAdopt:
				return nil, fmt.Errorf("params: every kind has %q already", name)
			}
			named := p.p
			named.Name = name
			params = append(params, named)
		}
	default:
		return nil, fmt.Errorf("params: wanted a dict of param() by name, got a value of type %s", given.(starlark.Value).Type())
	}
	return append(params,
		engine.Param{Name: scriptAfter, Type: engine.TypeSteps, Doc: "Steps that must be done first.", Example: "[db]"},
		engine.Param{Name: scriptAdopt, Type: engine.TypeBool, Default: "False",
			Doc: "Take over what is there under this name and tengil did not make.", Example: "True"}), nil
}

// scriptFunction returns the recipe function of a kind that a file defines.
func (ev *evaluation) scriptFunction(s *scriptKind) starlark.Value {
	label := fmt.Sprintf("%s (%s)", s.name, s.pos)
	i := slices.IndexFunc(ev.o.Kinds, func(k engine.Kind) bool { return k.Define != nil })
	if i < 0 || ev.alone {
		return ev.function(label, func(*starlark.Thread, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
			return nil, errors.New("kinds that a file defines cannot be used here")
		})
	}
	k := ev.o.Kinds[i].Define(s)
	call := ev.kind(&k, label).(*starlark.Builtin)
	return starlark.NewBuiltin(s.name, func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		if s.source.Files == nil {
			var err error
			if s.source, err = ev.sourceOf(s); err != nil {
				return nil, callError(label, err)
			}
		}
		return call.CallInternal(t, args, kwargs)
	})
}

// maxScript bounds the text of a kind and what it loads, which the node keeps for each
// of its steps.
const maxScript = 128 * engine.KiB

// sourceOf returns the files that define a kind.
func (ev *evaluation) sourceOf(s *scriptKind) (engine.ScriptSource, error) {
	out := engine.ScriptSource{Kind: s.name, File: s.src.String(), Files: map[string]string{}}
	size := engine.Size(0)
	for todo := []source{s.src}; len(todo) > 0; todo = todo[1:] {
		name := todo[0].String()
		if _, seen := out.Files[name]; seen {
			continue
		}
		if at, uses := ev.hosts[todo[0]]; uses {
			return out, fmt.Errorf("%s: a file that defines a kind, or that it loads, cannot use host: it is evaluated again where nobody knows the node; let observe look", at)
		}
		out.Files[name] = string(ev.content[name])
		if size += engine.Size(len(ev.content[name])); size > maxScript {
			return out, fmt.Errorf("%s and what it loads is larger than %s, which is the most that a node keeps of a kind", s.src, maxScript)
		}
		todo = append(todo, ev.loads[todo[0]]...)
	}
	return out, nil
}

func changeDecl() declaration {
	return declaration{
		Name: "change",
		Doc: "Is one difference that diff of a kind found. Only what was not there at all is created, without field=; what is there and " +
			"tengil did not make is then not taken for the recipe's.",
		Example: `change("update", field = "path", old = now.path, new = args.path, why = "the recipe has another")`,
		Params: []engine.Param{
			{Name: "action", Type: engine.TypeString, Required: true, Position: 1, Choices: []string{"create", "update", "replace", "remove"}, Doc: "What happens.", Example: `"update"`},
			{Name: "field", Type: engine.TypeString, Doc: "Of what; without it, of the whole.", Example: `"path"`},
			{Name: "old", Type: engine.TypeText, Doc: "What is there. It is not shown where new is secret.", Example: `"/srv/a"`},
			{Name: "new", Type: engine.TypeText, Doc: "What is wanted.", Example: `"/srv/b"`},
			{Name: "why", Type: engine.TypeString, Required: true, Doc: "Why, for who reads the plan.", Example: `"the recipe has another"`},
			{Name: "loses", Type: engine.TypeString, Doc: "The data that this destroys.", Example: `"the list of players"`},
		},
		Run: func(_ *evaluation, c declared) (starlark.Value, error) {
			if strings.TrimSpace(c.String("why")) == "" {
				return nil, errors.New("why: a plan says of every change why")
			}
			return &changeValue{c.Args}, nil
		},
		Section: definingSection, Anywhere: true,
	}
}

// A changeValue is what change() returns.
type changeValue struct{ args engine.Args }

func (*changeValue) String() string        { return "change(…)" }
func (*changeValue) Type() string          { return "change" }
func (*changeValue) Freeze()               {}
func (*changeValue) Truth() starlark.Bool  { return true }
func (*changeValue) Hash() (uint32, error) { return 0, errors.New("unhashable: change") }

// change returns the change with what is known, and with nothing that is secret.
func (c *changeValue) change(call engine.ScriptCall) engine.Change {
	to := c.args.Text("new").Fill(call.In)
	from := c.args.Text("old").Fill(call.In)
	out := engine.Change{
		Action: engine.Action(c.args.String("action")), Field: c.args.String("field"), From: from.String(), To: to.String(), Why: c.args.String("why"), Loses: c.args.String("loses"),
	}
	if from.IsSecret() || to.IsSecret() {
		if out.From != "" {
			out.From = engine.Masked
		}
		seal := call.Seal
		if seal == nil {
			seal = func(values ...string) string { return engine.Seal(nil, values...) }
		}
		out.Seal = seal(call.Name, out.Field, from.Reveal(), to.Reveal())
	}
	return out
}

func sameDecl() declaration {
	return declaration{
		Name: "same",
		Doc: "Reports whether two texts are equal, in the functions of a kind. Unlike ==, it takes what is secret and what is known only later; the latter " +
			"is not the same as anything.",
		Example: `same(now.text, args.content)`,
		Params: []engine.Param{
			{Name: "a", Type: typeRaw, Position: 1, Doc: "One text, or None, which is the same as nothing.", Example: `now.text`},
			{Name: "b", Type: typeRaw, Position: 2, Doc: "The other.", Example: `args.content`},
		},
		Run: func(ev *evaluation, c declared) (starlark.Value, error) {
			var got [2]engine.Value
			for i, name := range []string{"a", "b"} {
				v, ok := c.Values[name].(starlark.Value)
				if !ok { // None
					got[i] = engine.Unknown("")
					continue
				}
				t, err := toText(v)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
				if _, known := t.Literal(); !known && ev.script == nil {
					return nil, errors.New("only in the functions of a kind it is known what it holds")
				}
				got[i] = t.Fill(ev.inputs())
			}
			return starlark.Bool(got[0].IsKnown() && got[1].IsKnown() && got[0].Reveal() == got[1].Reveal()), nil
		},
		Section: definingSection, Anywhere: true,
	}
}

// inputs are what fills the holes of the texts of a kind.
func (ev *evaluation) inputs() engine.Inputs {
	if ev.script == nil {
		return notYet()
	}
	return ev.script.call.In
}

// notYet are inputs of which nothing is known.
func notYet() engine.Inputs {
	return engine.Inputs{Value: func(r engine.Ref) engine.Value { return engine.Unknown("after " + string(r.Node)) }}
}

// Scripts evaluates a file that defines kinds and returns them, in the order
// defined.
func Scripts(name string, o Options) ([]engine.Script, error) {
	ev, err := fileOfKinds(source{path: name}, o, false)
	if err != nil {
		return nil, err
	}
	var out []engine.Script
	for _, s := range ev.scripts {
		if s.source, err = ev.sourceOf(s); err != nil {
			return nil, &engine.Error{Pos: s.pos, Err: err}
		}
		out = append(out, s)
	}
	return out, nil
}

// LoadScript returns the kind that a source defines.
func LoadScript(src engine.ScriptSource) (engine.Script, error) {
	s := &scriptKind{name: src.Kind, source: src, src: sourceNamed(src.File)}
	i, err := s.take()
	if err != nil {
		return nil, err
	}
	defer s.put(i)
	s.doc, s.example, s.params, s.pos = i.kind.doc, i.kind.example, i.kind.params, i.kind.pos
	return s, nil
}

// sourceNamed is the inverse of source.String.
func sourceNamed(name string) source {
	if catalog, file, ok := strings.Cut(strings.TrimPrefix(name, "@"), "//"); ok && strings.HasPrefix(name, "@") {
		return source{catalog, file}
	}
	return source{path: name}
}

// fileOfKinds evaluates a file without a recipe; stored says that a node kept it.
func fileOfKinds(src source, o Options, stored bool) (ev *evaluation, err error) {
	if o.Facts == nil {
		o.Facts = &engine.Facts{}
	}
	ev = newEvaluation(func() error { return nil }, o)
	defer func() {
		if p := recover(); p != nil {
			ev, err = nil, &engine.Error{Err: fmt.Errorf("tengil has a bug: evaluating %s: %v", src, p)}
		}
	}()
	ev.alone, ev.stored = true, stored
	ev.loading = []source{{}} // in place of the recipe
	if _, err := ev.run(src); err != nil {
		return nil, err
	}
	return ev, nil
}

// bundleOf returns the options that evaluate a source again.
func bundleOf(src engine.ScriptSource, o Options) Options {
	files := Bundle(maps.Clone(src.Files))
	o.FS, o.Catalogs, o.Values = files.FS(), files.Catalogs(), nil
	o.Facts = &engine.Facts{}
	return o
}
