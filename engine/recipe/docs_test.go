package recipe_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine/recipe"
	"github.com/tengil/tengil/recipes"
)

func TestHelp(t *testing.T) {
	got, err := recipe.Help("zfs_dataset", fakeKinds(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `zfs_dataset(name, …)

  Makes a dataset.

Example
  zfs_dataset("a")

Parameters
  name  string, required
      Its name.
  profile  string ("media", "postgres", "appdata", "downloads")
      Its use.
  owner  int, default root
      Its owner.
  protect  bool, default False
      Keep it.

Returns
  .name
      Its name.
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("help (-want +got):\n%s", diff)
	}
	if _, err := recipe.Help("pct_creat", fakeKinds(), nil); err == nil || !strings.Contains(err.Error(), `did you mean "pct_create"?`) {
		t.Errorf("want a suggestion, got %v", err)
	}
}

func TestReferenceHasEveryFunctionAndParameter(t *testing.T) {
	var b strings.Builder
	if err := recipe.Reference(&b, fakeKinds(), fakeConstructors()); err != nil {
		t.Fatal(err)
	}
	for _, d := range recipe.Docs(fakeKinds(), fakeConstructors()) {
		_, section, ok := strings.Cut(b.String(), "### "+d.Name+"\n")
		if !ok {
			t.Errorf("%s is missing", d.Name)
			continue
		}
		section, _, _ = strings.Cut(section, "\n##")
		for _, p := range d.Params {
			if !strings.Contains(section, "| `"+p.Name+"` |") {
				t.Errorf("%s: parameter %s is missing", d.Name, p.Name)
			}
		}
	}
}

func TestTheLanguageItselfIsDocumented(t *testing.T) {
	if err := recipe.CheckDocs(nil, nil); err != nil {
		t.Error(err)
	}
}

func TestFormat(t *testing.T) {
	got, err := recipe.Format("x.star", []byte("load('b.star','b')\nload('a.star','a')\nx=f( a=1,\n b = [1,2 ])  # why\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := "load(\"b.star\", \"b\")\nload(\"a.star\", \"a\")\n\nx = f(\n    a = 1,\n    b = [1, 2],\n)  # why\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("formatted (-want +got):\n%s", diff)
	}
	if _, err := recipe.Format("x.star", []byte("x = = 1")); err == nil || err.Error() != "x.star:1:5: got '=', want primary expression" {
		t.Errorf("want a syntax error, got %v", err)
	}
}

func TestFormattingIsStable(t *testing.T) {
	names, err := fs.Glob(recipes.FS, "*.star")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names, "lib/postgres.star") {
		src, err := fs.ReadFile(recipes.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		once, err := recipe.Format(name, src)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := recipe.Format(name, once)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(once), string(twice)); diff != "" {
			t.Errorf("%s (-once +twice):\n%s", name, diff)
		}
		// immich.star is laid out for the page of the design that prints it.
		if diff := cmp.Diff(string(src), string(once)); diff != "" && name != "immich.star" {
			t.Errorf("%s is not formatted (-is +formatted):\n%s", name, diff)
		}
	}
}
