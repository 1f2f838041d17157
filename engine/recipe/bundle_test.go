package recipe_test

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/recipe"
)

func TestABundleEvaluatesAsTheFilesDid(t *testing.T) {
	own := fstest.MapFS{
		"app.star":   {Data: []byte("load(\"//lib/a.star\", \"a\")\nload(\"@more//b.star\", \"b\")\nrecipe(name = \"app\")\noutput(\"x\", a + b)\n")},
		"lib/a.star": {Data: []byte("a = \"a\"\n")},
	}
	more := fstest.MapFS{"b.star": {Data: []byte("b = \"b\"\n")}, "unused.star": {Data: []byte("c = 1\n")}}
	o := recipe.Options{Facts: &engine.Facts{Node: "pve"}, FS: own, Catalogs: map[string]fs.FS{"more": more}, Dir: "sub"}
	first, err := recipe.Load(t.Context(), "app.star", o)
	if err != nil {
		t.Fatal(err)
	}
	want := recipe.Bundle{"app.star": string(own["app.star"].Data), "lib/a.star": "a = \"a\"\n", "@more//b.star": "b = \"b\"\n"}
	if diff := cmp.Diff(want, first.Bundle); diff != "" {
		t.Errorf("bundle (-want +got):\n%s", diff)
	}
	o.FS, o.Catalogs = first.Bundle.FS(), first.Bundle.Catalogs()
	again, err := recipe.Load(t.Context(), "app.star", o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first.Graph.App, again.Graph.App); diff != "" {
		t.Errorf("app (-first +again):\n%s", diff)
	}
	if got, want := again.Outputs[0].Pos.String(), "sub/app.star:4:1"; got != want {
		t.Errorf("position is %s, want %s", got, want)
	}
}

func TestAFileThatIsNotInTheBundleIsAbsent(t *testing.T) {
	b := recipe.Bundle{"app.star": "load(\"lib.star\", \"a\")\nrecipe(name = \"app\")\n"}
	_, err := recipe.Load(t.Context(), "app.star", recipe.Options{Facts: &engine.Facts{Node: "pve"}, FS: b.FS()})
	if err == nil || err.Error() != `app.star:1:1: load: there is no file "lib.star"` && err.Error() != `app.star:1:1: there is no file "lib.star"` {
		t.Errorf("got %v", err)
	}
}
