package recipe_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/recipe"
)

func TestOptionValues(t *testing.T) {
	cases := []struct{ name, declare, given, want string }{
		{"a string", `option("o", default = "a")`, "b", `"b"`},
		{"the default", `option("o", default = "a")`, "", `"a"`},
		{"an int by its default", `option("o", default = 1)`, "0042", `42`},
		{"a bool by its default", `option("o", default = False)`, "Yes", `True`},
		{"a size in one form", `option("o", type = "size", default = "1G")`, "2048M", `"2G"`},
		{"a size of bytes", `size(option("o", type = "size", default = "1G"))`, "1.5M", `1572864`},
		{"an enum", `option("o", default = "a", choices = ["a", "b"])`, "b", `"b"`},
		{"a path", `option("o", type = "path", default = "/srv")`, "/srv/a b", `"/srv/a b"`},
		{"a dataset", `option("o", type = "dataset", default = "rpool/a")`, "data/x/y", `"data/x/y"`},
		{"the pool of the host", `option("o", type = "zpool")`, "", `"rpool"`},
		{"the storage of the host", `option("o", type = "storage")`, "", `"local-zfs"`},
		{"an address", `option("o", type = "ip", default = "10.0.0.1")`, "fd00::0001/64", `"fd00::1/64"`},
		{"a duration", `option("o", type = "duration", default = "30s")`, "90s", `"1m30s"`},
		{"a pattern", `option("o", default = "a", pattern = "a|b")`, "b", `"b"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions(map[string]string{"x.star": head + "v = " + c.declare + "\nif v != " + c.want + ": fail(repr(v))"})
			if c.given != "" {
				o.Values = map[string]string{"o": c.given}
			}
			loadWith(t, o)
		})
	}
}

func TestOptionsAreListedInTheOrderDeclared(t *testing.T) {
	o := testOptions(map[string]string{"x.star": head + `
option("z", default = 5, help = "a number")
option("a", type = "zpool")
option("m", choices = ["x"], pattern = "x")
`})
	o.Values = map[string]string{"m": "x"}
	r := loadWith(t, o)
	pos := func(line int) engine.Pos { return engine.Pos{File: "x.star", Line: line, Col: 1} }
	want := []recipe.Option{
		{Name: "z", Type: "int", Default: "5", Help: "a number", Value: "5", Pos: pos(2)},
		{Name: "a", Type: "zpool", Default: "rpool", Value: "rpool", Pos: pos(3)},
		{Name: "m", Type: "enum", Choices: []string{"x"}, Pattern: "x", Value: "x", Given: true, Required: true, Pos: pos(4)},
	}
	if diff := cmp.Diff(want, r.Options); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"z": "5", "a": "rpool", "m": "x"}, r.Graph.App.Options); diff != "" {
		t.Errorf("options of the app (-want +got):\n%s", diff)
	}
}

const asking = head + `
domain = option("domain", help = "name of the site")
pool = option("pool", type = "zpool")
data = option("data", type = "dataset", default = pool + "/x")
img = oci_pull("app:" + domain)
if domain == "x": fail("never")
`

func TestMissingOptionsAreAskedForTogether(t *testing.T) {
	o := testOptions(map[string]string{"x.star": asking})
	o.Facts.Default.Pool = ""
	_, err := recipe.Load(t.Context(), "x.star", o)
	var missing *recipe.MissingError
	if !errors.As(err, &missing) {
		t.Fatalf("want a *MissingError, got %v", err)
	}
	var names []string
	for _, m := range missing.Options {
		names = append(names, m.Name)
	}
	if diff := cmp.Diff([]string{"domain", "pool"}, names); diff != "" {
		t.Errorf("missing options (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"rpool", "data"}, missing.Options[1].Choices); diff != "" {
		t.Errorf("choices of pool (-want +got):\n%s", diff)
	}
	if want := `x.star:2:10: option "domain" needs a value: name of the site`; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("want %q, got %q", want, err)
	}

	o.Values = map[string]string{"domain": "example.org", "pool": "data"}
	if r := loadWith(t, o); r.Options[2].Value != "data/x" {
		t.Errorf("data: want data/x, got %q", r.Options[2].Value)
	}
}

func TestWrongOptionValues(t *testing.T) {
	cases := []struct {
		name   string
		values map[string]string
		want   string
	}{
		{"a misspelt name", map[string]string{"domain": "a", "poll": "data"}, `app has no option "poll" (did you mean "pool"?)`},
		{"a misspelt name of an option that is needed", map[string]string{"domian": "a"}, `app has no option "domian" (did you mean "domain"?)`},
		{"another name", map[string]string{"domain": "a", "zzz": "data"}, `app has no option "zzz"; it has "domain", "pool", "data"`},
		{"a pool that is not there", map[string]string{"domain": "a", "pool": "tank"}, `x.star:3:8: option "pool": pool "tank" does not exist on pve1; there are "rpool", "data"`},
		{"control characters", map[string]string{"domain": "a\x00"}, `x.star:2:10: option "domain": the text holds a NUL character`},
		{"tengil's own marks", map[string]string{"domain": "\ue0000\ue001"}, `x.star:2:10: option "domain": the text holds the character U+E000 or U+E001, which tengil keeps for itself`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions(map[string]string{"x.star": asking})
			o.Values = c.values
			_, err := recipe.Load(t.Context(), "x.star", o)
			if err == nil || err.Error() != c.want {
				t.Errorf("want %q\n got %q", c.want, err)
			}
		})
	}
}

func TestANodeWithoutPoolsCannotBeAskedForOne(t *testing.T) {
	o := testOptions(map[string]string{"x.star": head + `option("pool", type = "zpool")`})
	o.Facts.Pools, o.Facts.Default.Pool = nil, ""
	_, err := recipe.Load(t.Context(), "x.star", o)
	if err == nil || !strings.Contains(err.Error(), "there is no ZFS pool on pve1") {
		t.Errorf("want that there is no pool, got %v", err)
	}
}

func TestRequirements(t *testing.T) {
	r := load(t, `requires(pve = ">=9.1, <10", gpu = ["nvidia", "intel"], pool = True)`)
	var got []string
	for _, q := range r.Requires {
		got = append(got, q.Name+" "+q.Want)
	}
	if diff := cmp.Diff([]string{"pve >=9.1, <10", "gpu nvidia or intel", "pool any"}, got); diff != "" {
		t.Errorf("requirements (-want +got):\n%s", diff)
	}
}
