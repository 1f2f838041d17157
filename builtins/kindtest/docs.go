package kindtest

import (
	"slices"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab"
)

// Documented checks that every function, parameter and output has its text, and
// that each kind has a case.
func Documented(t *testing.T, lang Language, cases []Case) {
	for _, k := range lang.Kinds {
		if k.Define != nil {
			continue
		}
		described(t, k.Name, k.Doc, k.Example, k.Params)
		for _, o := range k.Outputs {
			if o.Doc == "" {
				t.Errorf("%s: output %s has no text", k.Name, o.Name)
			}
		}
		if !slices.ContainsFunc(cases, func(c Case) bool { return c.Kind == k.Name }) {
			t.Errorf("%s has no case", k.Name)
		}
	}
	for _, c := range lang.Constructors {
		described(t, c.Name, c.Doc, c.Example, c.Params)
	}
}

func described(t *testing.T, name, doc, example string, params []engine.Param) {
	t.Helper()
	if doc == "" || !strings.HasSuffix(doc, ".") {
		t.Errorf("%s: its text is %q; wanted sentences", name, doc)
	}
	if !strings.Contains(example, name+"(") {
		t.Errorf("%s: its example %q does not call it", name, example)
	}
	for _, p := range params {
		if p.Doc == "" || p.Example == "" {
			t.Errorf("%s: parameter %s has text %q and example %q; wanted both", name, p.Name, p.Doc, p.Example)
		}
		if p.Type == engine.TypeBool && p.Default == "" {
			t.Errorf("%s: parameter %s does not say its default", name, p.Name)
		}
	}
}

// Exec returns a Setup that runs one program on the node.
func Exec(argv ...string) func(*testing.T, *lab.Lab) {
	return func(t *testing.T, l *lab.Lab) {
		t.Helper()
		var stderr strings.Builder
		if exit := l.Exec(t.Context(), argv, nil, nil, &stderr); exit != 0 {
			t.Fatalf("%q: exit status %d: %s", argv, exit, stderr.String())
		}
	}
}
