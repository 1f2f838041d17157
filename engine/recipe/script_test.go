package recipe_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/recipe"
)

// kindFile is a kind whose functions are as little as they may be, with some
// replaced.
func kindFile(functions ...string) string {
	all := map[string]string{
		"check": "def check(args): pass", "observe": "def observe(node, args): return None", "diff": "def diff(now, args): return []",
		"apply": "def apply(node, args, now): pass", "remove": "def remove(node, args): pass",
	}
	var b strings.Builder
	for _, f := range functions {
		name, _, _ := strings.Cut(strings.TrimPrefix(f, "def "), "(")
		all[name] = ""
		b.WriteString(f + "\n")
	}
	for _, name := range []string{"check", "observe", "diff", "apply", "remove"} {
		b.WriteString(all[name] + "\n")
	}
	b.WriteString(`
thing = kind("thing", doc = "A thing.", params = {
    "text": param("text", doc = "Text."), "size": param("size", default = "2G", doc = "Size."), "wait": param("duration", doc = "Wait."),
    "mode": param("string", default = "rw", choices = ["rw", "ro"], doc = "Mode."), "words": param("strings", default = [], doc = "Words."),
    "env": param("map", doc = "Map."), "texts": param("texts", doc = "Texts."),
}, check = check, observe = observe, diff = diff, apply = apply, remove = remove)
`)
	return b.String()
}

func script(t *testing.T, text string) engine.Script {
	t.Helper()
	all, err := recipe.Scripts("k.star", recipe.Options{FS: fstest.MapFS{"k.star": {Data: []byte(text)}}})
	if err != nil || len(all) != 1 {
		t.Fatalf("got %d kinds, error %v", len(all), err)
	}
	return all[0]
}

func values(m map[string]engine.Value) engine.Inputs {
	return engine.Inputs{Value: func(r engine.Ref) engine.Value {
		if v, ok := m[r.Output]; ok {
			return v
		}
		return engine.Unknown("later")
	}}
}

func hole(output string, secret bool) engine.Text {
	return engine.Hole(engine.Ref{Node: "x/y", Output: output}, secret)
}

func callOf(m map[string]any, in engine.Inputs) engine.ScriptCall {
	return engine.ScriptCall{Name: "one", Args: engine.Args{Values: m}, In: in}
}

// A question that does not need the answer to another goes with it.
func TestObserveAsksInRounds(t *testing.T) {
	s := script(t, kindFile(`def observe(node, args):
    a = node.read("/etc/a")
    b = node.run(["stat", "-c", "%a", "/etc/b"], exits = [0, 1])
    if a.exists:
        c = node.run(["test", "-e", a.text.strip()], exits = [0, 1])
        return struct(mode = b.stdout, there = c.ok)
    return struct(mode = b.stdout, there = None)`))
	known := map[string]engine.Answer{}
	var rounds []string
	for range 3 {
		now, asks, ok, err := s.Observe(callOf(nil, engine.Inputs{}), engine.NewAnswers(known))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, q := range asks {
			names = append(names, q.String())
		}
		rounds = append(rounds, strings.Join(names, ", "))
		if ok {
			if got := now.(interface{ String() string }).String(); got != `struct(mode = "644\n", there = True)` {
				t.Errorf("observed %s", got)
			}
			break
		}
		known[engine.AskFile("/etc/a").Key()] = engine.Answer{Data: []byte("/srv/x\n")}
		known[engine.AskRun("stat", "-c", "%a", "/etc/b").Key()] = engine.Answer{Result: engine.Result{Stdout: []byte("644\n")}}
		if len(rounds) == 2 {
			known[engine.AskRun("test", "-e", "/srv/x").Key()] = engine.Answer{}
		}
	}
	want := []string{"read /etc/a, stat -c %a /etc/b", "read /etc/a, stat -c %a /etc/b, test -e /srv/x", "read /etc/a, stat -c %a /etc/b, test -e /srv/x"}
	if diff := cmp.Diff(want, rounds); diff != "" {
		t.Errorf("questions (-want +got):\n%s", diff)
	}
}

// missing answers every question with "not there".
func missing(asks ...engine.Ask) *engine.Answers {
	m := map[string]engine.Answer{}
	for _, q := range asks {
		m[q.Key()] = engine.NothingThere(q)
	}
	return engine.NewAnswers(m)
}

func TestObserveCanOnlyLook(t *testing.T) {
	failed := engine.AskRun("stat", "/etc/b")
	no := engine.NewAnswers(map[string]engine.Answer{failed.Key(): {Err: &engine.ExitError{Argv: failed.Argv(), Exit: 1, Stderr: []byte("denied")}}})
	for _, tt := range []struct {
		body, want string
		known      *engine.Answers
	}{
		{`node.write("/etc/a", "x")`, "observe only looks", nil},
		{`node.run(["rm", "-f", "/etc/a"])`, `"rm" is not known to change nothing`, nil},
		{`node.run(["systemctl", "restart", "x"])`, "systemctl only with one of show, is-active", nil},
		{`node.run(["cat", "/etc/a"], stdin = "x")`, `unknown parameter "stdin"`, nil},
		{`node.run(["cat", args.text])`, "argument 1 is <y.late>, which is not known yet", nil},
		{`node.read("/dev/watchdog")`, "opening a device", nil},
		{`node.read("etc/a")`, "wanted the absolute path", nil},
		{`node.read("/etc/../etc/a")`, "wanted the absolute path", nil},
		{`return node.run(["stat", "/etc/b"]).stdout`, "stat /etc/b: exit status 1: denied", no},
		{`return node.read("/etc/a")`, "it returned an answer of the node itself", missing(engine.AskFile("/etc/a"))},
		{`return args.text`, "it returned an argument that is not known yet", nil},
		{`return observe`, "it returned a value of type function", nil},
		{`if node.read("/etc/a"): pass`, "an answer of the node is neither true nor false", nil},
		{`node.run(["stat", "/x"], exits = [0, 127])`, "wanted 0 to 125, got 127", nil},
		{`pct_create("x")`, "undefined: pct_create", nil},
		{`output("x", "y")`, "the functions of a kind run later", nil},
		{`return [x for x in range(10000000)]`, "of memory", nil},
		{`return observe(node, args)`, "function observe called recursively", nil},
		{`return same(args.text, "x")`, "", nil},
		{`return 1 // 0 if same(None, "x") or same(None, None) else True`, "", nil},
	} {
		src := kindFile("def observe(node, args):\n    " + tt.body)
		all, err := recipe.Scripts("k.star", recipe.Options{FS: fstest.MapFS{"k.star": {Data: []byte(src)}}})
		if err == nil {
			_, _, _, err = all[0].Observe(callOf(map[string]any{"text": hole("late", false)}, engine.Inputs{}), tt.known)
		}
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.body, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "k.star:2:") && !strings.HasPrefix(err.Error(), "k.star:1:") {
			t.Errorf("%s: want an error at k.star:2 with %q, got %v", tt.body, tt.want, err)
		}
	}
}

func TestArgumentsAsFunctionsSeeThem(t *testing.T) {
	s := script(t, kindFile(`def diff(now, args):
    return [change("update", field = f, new = str(v), why = "x") for f, v in [
        ("name", args.name), ("size", args.size), ("wait", args.wait), ("mode", args.mode), ("words", args.words),
        ("env", args.env), ("text", args.text), ("types", type(args.text)),
    ]]`))
	for _, tt := range []struct {
		name string
		args map[string]any
		in   engine.Inputs
		want string
	}{
		{"nothing given", map[string]any{}, engine.Inputs{}, "name=one size=None wait=None mode=None words=None env=None text=None types=NoneType"},
		{"known", map[string]any{"size": engine.GiB, "mode": "ro", "words": []string{"a"}, "text": hole("a", false), "env": []engine.Entry{{Key: "K", Value: engine.Lit("v")}}},
			values(map[string]engine.Value{"a": engine.Known("10.0.0.1")}),
			`name=one size=1073741824 wait=None mode=ro words=["a"] env={"K": "v"} text=10.0.0.1 types=string`},
		{"known later", map[string]any{"text": hole("a", false)}, values(nil), "name=one size=None wait=None mode=None words=None env=None text=(known later) types=unknown string"},
		{"secret", map[string]any{"text": hole("a", true)}, values(map[string]engine.Value{"a": engine.Known("hunter2").Sensitive()}),
			"name=one size=None wait=None mode=None words=None env=None text=*** types=unknown string"},
	} {
		got, err := s.Diff(callOf(tt.args, tt.in), nil)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var words []string
		for _, c := range got {
			words = append(words, c.Field+"="+c.To)
		}
		if diff := cmp.Diff(tt.want, strings.Join(words, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestDiffComparesWhatIsSecretWithoutShowingIt(t *testing.T) {
	s := script(t, kindFile(`def diff(now, args):
    if same("password = hunter2", "password = %s" % args.text):
        return []
    return [change("update", field = "text", old = "password = 12345", new = "password = %s" % args.text, why = "was hunter2 or not")]`))
	secret := func(v engine.Value) engine.ScriptCall {
		return callOf(map[string]any{"text": hole("a", true)}, values(map[string]engine.Value{"a": v}))
	}
	if got, err := s.Diff(secret(engine.Known("hunter2").Sensitive()), nil); err != nil || len(got) != 0 {
		t.Errorf("an equal secret: got %v, %v; wanted no change", got, err)
	}
	for name, v := range map[string]engine.Value{"another": engine.Known("hunter3").Sensitive(), "one not known yet": engine.Unknown("later").Sensitive()} {
		got, err := s.Diff(secret(v), nil)
		if err != nil || len(got) != 1 {
			t.Fatalf("%s: got %v, %v", name, got, err)
		}
		if got[0].From != engine.Masked || got[0].To != engine.Masked || got[0].Seal == "" {
			t.Errorf("%s: the change shows %+v", name, got[0])
		}
	}
	leak := script(t, kindFile(`def diff(now, args): return [change("update", field = "f", old = now, new = "x", why = "it is " + now)]`))
	c := secret(engine.Known("hunter2").Sensitive())
	now, _, _, err := script(t, kindFile(`def observe(node, args): return "hunter2 is there"`)).Observe(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := leak.Diff(c, now)
	if err != nil || len(got) != 1 || strings.Contains(got[0].From+got[0].Why, "hunter2") {
		t.Errorf("a secret that the node told shows: %+v, %v", got, err)
	}
}

func TestDiffSaysWhatIsWrongWithIt(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{`return None`, "k.star:1:1: diff: wanted a list of change(), got a value of type NoneType"},
		{`return ["x"]`, "k.star:1:1: diff: wanted a list of change(), got a value of type string in it"},
		{`return [change("make", why = "x")]`, `k.star:2:13: diff: change: action: wanted one of "create", "update", "replace", "remove", got "make"`},
		{`return [change("create")]`, `diff: change: missing parameter "why"`},
		{`return [change("create", why = " ")]`, "why: a plan says of every change why"},
		{`return [change("create", why = "x") for i in args.text]`, "unknown string value is not iterable"},
		{`return [] if args.text == "x" else []`, "is known only when x/y is done"},
		{`fail("no", args.text)`, "k.star:2:5: diff: no <y.late>"},
	} {
		s := script(t, kindFile("def diff(now, args):\n    "+tt.body))
		_, err := s.Diff(callOf(map[string]any{"text": hole("late", false)}, values(nil)), nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: want an error with %q, got %v", tt.body, tt.want, err)
		}
	}
}

// What a node says is no text of tengil's: it cannot stand for a secret.
func TestAnswersCannotForgeValues(t *testing.T) {
	s := script(t, kindFile(`def observe(node, args): return "%s" % node.read("/etc/a").text`))
	a := engine.NewAnswers(map[string]engine.Answer{engine.AskFile("/etc/a").Key(): {Data: []byte("\ue0000\ue001")}})
	if _, _, _, err := s.Observe(callOf(map[string]any{"text": hole("a", true)}, engine.Inputs{}), a); err == nil || !strings.Contains(err.Error(), "tengil keeps for itself") {
		t.Errorf("got %v", err)
	}
}

func TestKindsAreDefinedAsTablesSay(t *testing.T) {
	good := kindFile()
	for _, tt := range []struct{ name, old, new, want string }{
		{"a name that is none", `kind("thing"`, `kind("Thing"`, `name: wanted lower-case letters`},
		{"a name that is taken", `kind("thing"`, `kind("option"`, `name: tengil has a function option of its own`},
		{"no doc", `doc = "A thing.", `, ``, `missing parameter "doc"`},
		{"a misspelt function", `observe = observe`, `obsrve = observe`, `unknown parameter "obsrve" (did you mean "observe"?)`},
		{"a function of too few arguments", `def apply(node, args, now)`, `def apply(node, args)`, `apply: wanted a function of (node, args, now), got one of (node, args)`},
		{"no function", `diff = diff`, `diff = "x"`, `diff: wanted a function of (now, args), got a value of type string`},
		{"a parameter that all have", `"text": param`, `"after": param`, `params: every kind has "after" already`},
		{"a parameter that is none", `param("text", doc = "Text.")`, `"text"`, `params: "text": wanted what param() returns, got a value of type string`},
		{"a type that is none", `param("text", `, `param("txt", `, `type: wanted one of "string"`},
		{"a default of another type", `default = "2G"`, `default = "two"`, `default: wanted a size`},
		{"a default that is no choice", `default = "rw"`, `default = "wr"`, `default: wanted one of "rw", "ro"`},
		{"host", `def check(args): pass`, `def check(args): host.node`, `k.star:1:18: a file that defines a kind`},
	} {
		text := strings.Replace(good, tt.old, tt.new, 1)
		if text == good {
			t.Fatalf("%s: nothing replaced", tt.name)
		}
		_, err := recipe.Scripts("k.star", recipe.Options{FS: fstest.MapFS{"k.star": {Data: []byte(text)}}})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "k.star:") {
			t.Errorf("%s: want an error with %q, got %v", tt.name, tt.want, err)
		}
	}
}

// defining returns what a kind of a script comes to in these tests: a step.
func defining() engine.Kind {
	return engine.Kind{Name: "kind", Define: func(s engine.Script) engine.Kind {
		k := s.Kind()
		k.New = func(c engine.Call) (*engine.Made, error) {
			name := c.Args.String("name")
			return &engine.Made{Name: name, Parts: []engine.Part{{}}}, s.Check(engine.ScriptCall{Name: name, Args: c.Args})
		}
		return k
	}}
}

func loadApp(t *testing.T, text string, files map[string]string) (*recipe.Recipe, error) {
	t.Helper()
	m := fstest.MapFS{"app.star": {Data: []byte(text)}}
	for name, data := range files {
		m[name] = &fstest.MapFile{Data: []byte(data)}
	}
	return recipe.Load(t.Context(), "app.star", recipe.Options{
		Kinds: []engine.Kind{defining()}, Facts: &engine.Facts{}, FS: m, Catalogs: map[string]fs.FS{},
	})
}

// Every message names the recipe's line and the kind's.
func TestMistakesInCallsOfScripts(t *testing.T) {
	files := map[string]string{
		"k.star":   kindFile("def check(args):\n    if args.mode == \"ro\":\n        fail(\"mode: not today\")"),
		"two.star": kindFile(),
	}
	const head = `load("k.star", "thing")
recipe(name = "app")
`
	const at = "app.star:3:1: thing (k.star:10:9): "
	for _, tt := range []struct{ line, want string }{
		{`thing("x", size = "1G", mode = "rw")`, ""},
		{`thing("x", siez = "1G")`, at + `unknown parameter "siez" (did you mean "size"?)`},
		{`thing()`, at + `missing parameter "name"`},
		{`thing("x", size = "big")`, at + "size: wanted a size"},
		{`thing("x", mode = "wr")`, at + `mode: wanted one of "rw", "ro", got "wr"`},
		{`thing("x", mode = "ro")`, at + "k.star:3:9: check: mode: not today"},
		{"thing(\"x\")\nthing(\"x\", mode = \"rw\")", "app.star:4:1: thing (k.star:10:9): thing/x is made at app.star:3:1 already, with other arguments"},
		{`load("two.star", other = "thing")`, "two.star:7:9: kind thing is defined at k.star:10:9 already"},
		{`kind("y", doc = "x", observe = len, diff = len, apply = len, remove = len)`, "app.star:3:1: kind: a kind is defined at the top of a file that recipes load"},
	} {
		_, err := loadApp(t, head+tt.line+"\n", files)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.line, err)
			}
			continue
		}
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: want an error that begins with %q, got %v", tt.line, tt.want, err)
		}
	}
}

// The source of a script is the file and what that loads, and no more; with it the
// script is the same as before.
func TestScriptsLoadFromTheirSource(t *testing.T) {
	files := map[string]string{
		"kinds/k.star":      `load("helper.star", "h")` + "\n" + kindFile("def diff(now, args): return [change(\"update\", new = h(args.text), why = \"x\")]"),
		"kinds/helper.star": "def h(x): return \"<%s>\" % x\ndef unused(): return oci_pull(\"x\")\n",
		"other.star":        "x = 1\n",
	}
	var got engine.Script
	m := fstest.MapFS{}
	for name, data := range files {
		m[name] = &fstest.MapFile{Data: []byte(data)}
	}
	m["app.star"] = &fstest.MapFile{Data: []byte("load(\"other.star\", \"x\")\nload(\"kinds/k.star\", \"thing\")\nrecipe(name = \"app\")\nthing(\"x\")\n")}
	define := defining()
	inner := define.Define
	define.Define = func(s engine.Script) engine.Kind { got = s; return inner(s) }
	pull := engine.Kind{Name: "oci_pull", New: func(engine.Call) (*engine.Made, error) { return &engine.Made{Name: "x"}, nil }}
	if _, err := recipe.Load(t.Context(), "app.star", recipe.Options{Kinds: []engine.Kind{define, pull}, Facts: &engine.Facts{}, FS: m}); err != nil {
		t.Fatal(err)
	}
	src := got.Source()
	if len(src.Files) != 2 || src.File != "kinds/k.star" || src.Kind != "thing" {
		t.Fatalf("the source is %+v", src)
	}
	again, err := recipe.LoadScript(src)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got.Kind().Params, again.Kind().Params); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
	changes, err := again.Diff(callOf(map[string]any{"text": engine.Lit("a")}, engine.Inputs{}), nil)
	if err != nil || len(changes) != 1 || changes[0].To != "<a>" {
		t.Errorf("got %v, %v", changes, err)
	}
}
