package recipe_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/recipe"
)

func TestErrorsInLoadedFilesNameTheLineThatLoads(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"undefined names are all reported", `load("bad.star", "x")`,
			"bad.star:1:5: undefined: undefined_thing\n  called from x.star:1:1\nbad.star:2:5: undefined: other_thing\n  called from x.star:1:1"},
		{"a syntax error", `load("syntax.star", "x")`, "syntax.star:1:5: got '=', want primary expression\n  called from x.star:1:1"},
		{"a cycle", `load("cycle.star", "x")`, "cycle.star:1:1: load: cycle.star loads itself: cycle.star loads cycle.star\n  called from x.star:1:1"},
		{"a file that acts", `load("acts.star", "x")`, "acts.star:1:1: oci_pull: a loaded file only defines functions; the recipe calls them\n  called from x.star:1:1"},
		{"an error in a function", "load('lib.star', 'broken')\nrecipe('app')\nbroken()", "lib.star:7:14: floored division by zero\n  called from x.star:3:1"},
		{"a step that differs", "load('lib.star', 'box')\nrecipe('app')\nbox('a')\nbox('a', memory = '2G')",
			"lib.star:4:12: pct_create/a is made at lib.star:4:12 already, with other arguments\n  called from x.star:4:1\n  hint: give one of them another name"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			files := libFiles(t)
			files["x.star"] = c.text
			_, err := recipe.Load(t.Context(), "x.star", testOptions(files))
			if err == nil || err.Error() != c.want {
				t.Errorf("want\n%s\ngot\n%v", c.want, err)
			}
		})
	}
}

func TestLoadsAreBounded(t *testing.T) {
	files := map[string]string{"x.star": head}
	for i := range 20 {
		files[fmt.Sprintf("l%d.star", i)] = fmt.Sprintf("load('l%d.star', 'x')\nx = 1", i+1)
	}
	files["x.star"] = "load('l0.star', 'x')\n" + head
	_, err := recipe.Load(t.Context(), "x.star", testOptions(files))
	if err == nil || !strings.Contains(err.Error(), "l15.star:1:1: load: more than 16 files load one another") {
		t.Errorf("want the limit of depth, got %v", err)
	}

	o := testOptions(map[string]string{"x.star": strings.Repeat("#\n", 1000)})
	o.Limits.FileSize = engine.KiB
	_, err = recipe.Load(t.Context(), "x.star", o)
	if err == nil || !strings.Contains(err.Error(), "x.star is larger than 1K") {
		t.Errorf("want the limit of size, got %v", err)
	}
}

func TestDeepNestingIsRefusedBeforeItIsParsed(t *testing.T) {
	const n = 200_000
	cases := map[string]string{
		"brackets":              strings.Repeat("(", n),
		"brackets after CR":     "#\r" + strings.Repeat("[", n),
		"brackets after string": "x = 'a\\'' + '''b''c''' + " + strings.Repeat("{", n),
		"unary operators":       "x = " + strings.Repeat("not ", n) + "1",
		"minus":                 "x = " + strings.Repeat("-", n) + "1",
		"binary operators":      "x = 1" + strings.Repeat("-1", n),
		"conditionals":          "x = " + strings.Repeat("1 if 1 else ", n/10) + "1",
		"lambdas":               "x = " + strings.Repeat("lambda a, b: ", n/10) + "1",
		"calls":                 "x = f" + strings.Repeat("()", n),
		"continued lines":       "x = 1" + strings.Repeat("\\\n-1", n),
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := recipe.Load(t.Context(), "x.star", testOptions(map[string]string{"x.star": text}))
			if err == nil || !strings.Contains(err.Error(), "more than") && !strings.Contains(err.Error(), "deeper than") {
				t.Errorf("want it refused, got %.200v", err)
			}
		})
	}
	ok := "x = [" + strings.Repeat("(1, 'a', [2]),\n", 5000) + "]\ny = '" + strings.Repeat("(", 500) + "' # " + strings.Repeat("(", 500) + "\n"
	load(t, ok)
}

func TestAFileThatIsNotTextIsRefused(t *testing.T) {
	_, err := recipe.Load(t.Context(), "x.star", testOptions(map[string]string{"x.star": head + "\nx = '\xf8'"}))
	if err == nil || err.Error() != "x.star:2:1: the line is not valid UTF-8" {
		t.Errorf("want it refused, got %v", err)
	}
}

func TestAKindThatPanicsIsAnError(t *testing.T) {
	o := testOptions(map[string]string{"x.star": head + "\nboom()"})
	o.Kinds = append(o.Kinds, engine.Kind{Name: "boom", New: func(engine.Call) (*engine.Made, error) { panic("ouch") }})
	_, err := recipe.Load(t.Context(), "x.star", o)
	if err == nil || err.Error() != "x.star:2:1: boom: tengil has a bug here: ouch" {
		t.Errorf("want the bug and the line, got %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("x = 1")
	f.Add(`db = pct_create("db", image = oci_pull("a"), env = {"A": "b"}); output("o", "%s" % db.address)`)
	f.Add(`load("lib.star", "box"); box("a")`)
	f.Add("def f(*a, **k):\n    return [x for x in a if x] + list(k)\nx = f(1, *[2], b = 3)\nx[0] += 1\n")
	f.Add(`x = {"a": [1, (2,)]}; x["a"][0] *= 3; y = x["a"][::2] if not x else -1 << 3`)
	f.Add(`p = option("p", type = "zpool"); q = option("q"); requires(pve = ">9"); x = json.encode(q)`)
	f.Add(`x = ("%s" % secret("a")).join(["b"]); y = sorted([3, 1], key = lambda v: -v)`)
	lib := "def box(n):\n    return pct_create(n, image = oci_pull(n))\n"
	f.Fuzz(func(t *testing.T, text string) {
		o := testOptions(map[string]string{"x.star": head + text, "lib.star": lib})
		o.Limits = recipe.Limits{Steps: 20_000, Memory: 16 * engine.MiB, String: 64 * engine.KiB, GraphSteps: 100}
		r, err := recipe.Load(t.Context(), "x.star", o)
		if err != nil {
			if strings.Contains(err.Error(), "tengil has a bug") {
				t.Fatal(err)
			}
			return
		}
		again, err := recipe.Load(t.Context(), "x.star", o)
		if err != nil {
			t.Fatalf("the second evaluation failed: %v", err)
		}
		if a, b := dump(r.Graph), dump(again.Graph); a != b {
			t.Errorf("two evaluations differ:\n%s\n%s", a, b)
		}
	})
}

func FuzzFormat(f *testing.F) {
	f.Add([]byte("x=1\nf( a=1 , b = [1,2 ])  # c\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		once, err := recipe.Format("x.star", src)
		if err != nil {
			return
		}
		if _, err := recipe.Format("x.star", once); err != nil {
			t.Errorf("the formatted file does not parse: %v\n%s", err, once)
		}
	})
}
