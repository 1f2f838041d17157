package recipe_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/recipe"
)

// TestErrors runs the chunks of testdata/errors. Chunks are parted by "---"; the
// line that must be blamed ends in ### "regexp of the message". A chunk begins
// with recipe("app") unless its first line begins with "# bare".
func TestErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.star")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		line := 1
		for _, chunk := range strings.Split(string(text), "---\n") {
			t.Run(filepath.Base(file)+":"+strconv.Itoa(line), func(t *testing.T) { runChunk(t, chunk) })
			line += strings.Count(chunk, "\n") + 1
		}
	}
}

// wantMark is the end of a line that must be blamed.
var wantMark = regexp.MustCompile(`### "(.*)"$`)

type wantError struct {
	line int
	text *regexp.Regexp
}

func wanted(t *testing.T, chunk string) []wantError {
	t.Helper()
	var want []wantError
	for i, line := range strings.Split(chunk, "\n") {
		m := wantMark.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		want = append(want, wantError{i + 1, regexp.MustCompile(m[1])})
	}
	if len(want) == 0 {
		t.Fatal("the chunk wants no error")
	}
	return want
}

func runChunk(t *testing.T, chunk string) {
	want := wanted(t, chunk)
	if !strings.HasPrefix(chunk, "# bare") {
		chunk = head + chunk
	}
	files := libFiles(t)
	files["x.star"] = chunk
	o := testOptions(files)
	o.Limits = recipe.Limits{Steps: 300_000, Memory: 4 * engine.MiB, String: 64 * engine.KiB, GraphSteps: 100}
	_, err := recipe.Load(t.Context(), "x.star", o)
	got := flatten(err)
	if len(got) != len(want) {
		t.Fatalf("want %d errors, got %d: %v", len(want), len(got), err)
	}
	for i, e := range got {
		var at *engine.Error
		if !errors.As(e, &at) {
			t.Fatalf("want an *engine.Error, got %T: %v", e, e)
		}
		if where := blamedLine(at); where != want[i].line {
			t.Errorf("want line %d to be blamed, got %d: %v", want[i].line, where, e)
		}
		if text := strings.TrimPrefix(e.Error(), at.Pos.String()+": "); !want[i].text.MatchString(text) {
			t.Errorf("want a message like\n%s\ngot\n%s", want[i].text, text)
		}
	}
}

// blamedLine is the line of x.star that e points at, be it called from there.
func blamedLine(e *engine.Error) int {
	for _, p := range append([]engine.Pos{e.Pos}, e.Via...) {
		if p.File == "x.star" {
			return p.Line
		}
	}
	return 0
}

func flatten(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

func libFiles(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("testdata/lib/*.star")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = string(text)
	}
	return files
}
