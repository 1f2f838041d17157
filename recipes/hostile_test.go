package recipes_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/plan"
)

// Bad input is normal input: each case is one clear error and a node that nothing
// was done to. Cases are data: recipes in testdata/hostile, images, archives,
// registry answers and a node's answers in the tables of hostile_*_test.go.
func TestHostileInput(t *testing.T) {
	for _, family := range []struct {
		name string
		run  func(t *testing.T) (cases int)
	}{
		{"recipe texts", func(t *testing.T) int { return hostileRecipes(t, "texts") }},
		{"recipe numbers", func(t *testing.T) int { return hostileRecipes(t, "numbers") }},
		{"recipe language", func(t *testing.T) int { return hostileRecipes(t, "language") }},
		{"image configs", func(t *testing.T) int { return hostileImages(t, hostileConfigs()) }},
		{"image layers and manifests", func(t *testing.T) int { return hostileImages(t, hostileLayers()) }},
		{"archives", hostileArchivesRun},
		{"registries", hostileRegistriesRun},
		{"answers of a node", hostileAnswers},
	} {
		t.Run(family.name, func(t *testing.T) {
			t.Parallel()
			t.Logf("%d cases", family.run(t))
		})
	}
}

// hostileHead is line 1 of every recipe of the corpus.
const hostileHead = `recipe("x"); img = oci_pull("docker.io/library/alpine:3.22")` + "\n"

// wantMark begins the lines after a recipe of the corpus that hold its error.
const wantMark = "#! "

// maxErrorText is what an error may have in length: it repeats input only in part.
const maxErrorText = 1200

// hostileRecipes runs the recipes of one file of the corpus. All share a node, on
// which nothing may happen.
func hostileRecipes(t *testing.T, family string) int {
	file := filepath.Join("testdata", "hostile", family+".txtar")
	corpus, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, "9.2")
	f := r.facts()
	before, mark := r.files("etc", "var/lib", "run", "tank"), len(r.lab.Log())
	for i, c := range corpus.Files {
		t.Run(c.Name, func(t *testing.T) {
			text, want := splitWanted(string(c.Data))
			got := checkOneError(t, r.refusal(t, f, bulky(withHead(text))))
			if *update {
				corpus.Files[i].Data = []byte(text + markWanted(got))
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s\nto accept it:\n    go test ./recipes -run TestHostileInput -update", diff)
			}
		})
	}
	r.t = t
	if diff := cmp.Diff(before, r.files("etc", "var/lib", "run", "tank")); diff != "" {
		t.Errorf("files of the node changed (-before +after):\n%s", diff)
	}
	if did := r.mutations(mark); len(did) > 0 {
		t.Errorf("programs ran that change the node:\n%s", strings.Join(did, "\n"))
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(corpus), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return len(corpus.Files)
}

// refusal returns why a recipe is refused, at the latest by the plan.
func (r *rig) refusal(t *testing.T, f *engine.Facts, text string) error {
	t.Helper()
	g, err := load(t.Context(), f, "x.star", text, nil)
	if err != nil {
		return err
	}
	p, err := plan.Build(t.Context(), g, r.host, f, plan.Options{Kinds: builtins.Kinds()})
	if err != nil {
		return err
	}
	if refused := p.Refused(); len(refused) > 0 {
		return refused[0]
	}
	t.Fatalf("nothing is refused:\n%s", plan.Text(p))
	return nil
}

// checkOneError returns the text of err, which must be one error that a terminal
// can show.
func checkOneError(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok && len(joined.Unwrap()) != 1 {
		t.Errorf("%d errors, want one", len(joined.Unwrap()))
	}
	text := err.Error()
	if len(text) > maxErrorText {
		t.Errorf("the error has %d bytes, want at most %d:\n%.300s…", len(text), maxErrorText, text)
	}
	if at := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '…' }); at >= 0 || !utf8.ValidString(text) {
		t.Errorf("the error holds what a terminal may not get: %q", text)
	}
	return text
}

func splitWanted(data string) (text, want string) {
	for line := range strings.Lines(data) {
		if after, ok := strings.CutPrefix(line, wantMark); ok {
			want += after
		} else {
			text += line
		}
	}
	return text, strings.TrimSuffix(want, "\n")
}

func markWanted(text string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		fmt.Fprintf(&b, "%s%s\n", wantMark, line)
	}
	return b.String()
}

func withHead(text string) string {
	if strings.HasPrefix(text, "# bare\n") {
		return text
	}
	return hostileHead + text
}

// bulky puts into a recipe what the corpus only names, as it is too long to be
// read or no text.
func bulky(text string) string {
	return strings.NewReplacer(
		"BRACKETS", strings.Repeat("[", 5000)+strings.Repeat("]", 5000),
		"PARTS", strings.Repeat("1+", 100_000)+"1",
		"BADUTF8", "\xf8\x88",
		"NULBYTE", "\x00",
		"BIDI", "\u202e",
		"ESCAPE", "\x1b[2J",
		"FRONTBOM", "\ufeffrecipe(\"x\")",
		"MIDBOM1", "\ufeff1",
		"# HUGE", "#"+strings.Repeat("x", 2<<20),
	).Replace(text)
}
