package recipe_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/recipe"
	"github.com/tengil/tengil/recipes"
)

func shipped() recipe.Options {
	return recipe.Options{Kinds: fakeKinds(), Constructors: fakeConstructors(), Facts: testFacts(), FS: recipes.FS}
}

func TestImmich(t *testing.T) {
	o := shipped()
	o.Values = map[string]string{"pool": "data", "gpu": "intel"}
	r, err := recipe.Load(t.Context(), "immich.star", o)
	if err != nil {
		t.Fatal(err)
	}
	start, ok := r.Graph.Node("pct_create/server#start")
	if !ok {
		t.Fatal("no node pct_create/server#start")
	}
	wantNeeds := []engine.NodeID{
		"pct_create/db#start", "pct_create/machine-learning#start", "pct_create/redis#start", "pct_create/server#configure", "secret/db_password",
	}
	if diff := cmp.Diff(wantNeeds, start.Needs); diff != "" {
		t.Errorf("needs of server#start (-want +got):\n%s", diff)
	}
	configure, _ := r.Graph.Node("pct_create/server#configure")
	if want := []engine.NodeID{"gpu_attach/server"}; !slices.Equal(configure.Attached, want) {
		t.Errorf("attached to server#configure: want %v, got %v", want, configure.Attached)
	}
	env := map[string]string{}
	for _, e := range start.Spec.(fakeSpec).args.Entries("env") {
		env[e.Key] = e.Value.(engine.Text).String()
	}
	wantEnv := map[string]string{
		"DB_HOSTNAME": "<db.address>", "DB_PASSWORD": "***", "REDIS_HOSTNAME": "<redis.address>",
		"IMMICH_MACHINE_LEARNING_URL": "http://<machine-learning.address>:3003",
	}
	if diff := cmp.Diff(wantEnv, env); diff != "" {
		t.Errorf("env of server (-want +got):\n%s", diff)
	}
	if got, want := r.Outputs[0].Text.String(), "http://<server.address>:2283"; got != want {
		t.Errorf("output url: want %q, got %q", want, got)
	}
	var values []string
	for _, o := range r.Options {
		values = append(values, o.Name+"="+o.Value)
	}
	if diff := cmp.Diff([]string{"release=v3.1.0", "pool=data", "library=data/photos", "gpu=intel"}, values); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	if pos := start.Step.Pos.String(); pos != "immich.star:32:10" {
		t.Errorf("position of server: want immich.star:32:10, got %s", pos)
	}
}

// The kinds of this test are few; package recipes loads every recipe with all.
func TestShippedRecipesLoad(t *testing.T) {
	for _, name := range []string{"alpine.star", "immich.star", "jellyfin.star", "miniflux.star"} {
		t.Run(name, func(t *testing.T) {
			r, err := recipe.Load(t.Context(), name, shipped())
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.TrimSuffix(name, ".star"); r.Graph.App.Name != want {
				t.Errorf("app: want %q, got %q", want, r.Graph.App.Name)
			}
		})
	}
}

func TestSameInputsGiveTheSameGraph(t *testing.T) {
	var first string
	for i := range 5 {
		r, err := recipe.Load(t.Context(), "miniflux.star", shipped())
		if err != nil {
			t.Fatal(err)
		}
		got := dump(r.Graph)
		if i == 0 {
			first = got
		}
		if diff := cmp.Diff(first, got); diff != "" {
			t.Fatalf("evaluation %d (-first +this):\n%s", i, diff)
		}
	}
	if !strings.Contains(first, "DATABASE_URL=postgres://miniflux:***@<db.address>/miniflux?sslmode=disable") {
		t.Errorf("the url of the database is not in the graph:\n%s", first)
	}
}

func TestAStepMadeInAHelperIsBlamedOnAllLinesThatLedToIt(t *testing.T) {
	r, err := recipe.Load(t.Context(), "miniflux.star", shipped())
	if err != nil {
		t.Fatal(err)
	}
	n, _ := r.Graph.Node("pct_create/db#create")
	if want := "lib/postgres.star:20:12"; n.Step.Pos.String() != want {
		t.Errorf("position: want %s, got %s", want, n.Step.Pos)
	}
	if len(n.Step.Via) != 1 || n.Step.Via[0].String() != "miniflux.star:18:6" {
		t.Errorf("called from: want miniflux.star:18:6, got %v", n.Step.Via)
	}
	if diff := cmp.Diff([]string{"miniflux.star", "lib/postgres.star"}, r.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestTheDigestCoversEveryFile(t *testing.T) {
	digest := func(lib string) string {
		o := testOptions(map[string]string{"x.star": "load('lib.star', 'f')\n" + head + "f()", "lib.star": lib})
		return loadWith(t, o).Graph.App.Digest
	}
	a, b := digest("def f(): pass\n"), digest("def f(): return 1\n")
	if a == b || !strings.HasPrefix(a, "sha256:") {
		t.Errorf("want two sha256 digests, got %s and %s", a, b)
	}
}

func TestUnknownStringsFormat(t *testing.T) {
	const db = `db = pct_create("db", image = oci_pull("a")); `
	cases := []struct{ name, expr, want string }{
		{"plus on the right", `"a" + db.address`, "a<db.address>"},
		{"plus on the left", `db.address + "a"`, "<db.address>a"},
		{"percent", `"http://%s:1" % db.address`, "http://<db.address>:1"},
		{"percent with a tuple", `"%s:%d" % (db.address, 5)`, "<db.address>:5"},
		{"percent with a dict", `"%(h)s" % {"h": db.address}`, "<db.address>"},
		{"format", `"{}-{x}".format(db.address, x = db.address)`, "<db.address>-<db.address>"},
		{"join", `",".join(["a", db.address, "b" + db.address])`, "a,<db.address>,b<db.address>"},
		{"str", `str(db.address)`, "<db.address>"},
		{"json", `json.encode({"a": [db.address]})`, `{"a":["<db.address>"]}`},
		{"nested formats", `"<%s>" % ("[%s]" % db.address)`, "<[<db.address>]>"},
		{"augmented assignment of an element", `[d for d in [{"k": "a"}] if not add(d)][0]["k"]`, "a<db.address>"},
		{"a known output is a plain string", `db.name.upper()`, "DB"},
		{"a method taken with getattr", `getattr("{}", "format")(db.address)`, "<db.address>"},
		{"compared with None", `"set" if db.address != None else "none"`, "set"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := load(t, db+"\ndef add(d):\n    d['k'] += db.address\n\noutput('x', "+c.expr+")")
			if got := r.Outputs[0].Text.String(); got != c.want {
				t.Errorf("%s: want %q, got %q", c.expr, c.want, got)
			}
		})
	}
}

func TestOperatorsMeanWhatTheyMeanInStarlark(t *testing.T) {
	exprs := []string{
		`1 + 2 == 3`, `"a" < "b"`, `not (1 in [2, 3])`, `1 not in {2: 3}`, `[1] + [2] == [1, 2]`, `7 // 2 == 3 and 7 % 4 == 3`,
		`(0 or 5) == 5`, `(1 and 2) == 2`, `{"a": 1}["a"] == 1`, `[x * 2 for x in range(4) if x % 2] == [2, 6]`,
		`"abc"[1:] == "bc"`, `dict([(1, 2)])[1] == 2`, `{k: v for k, v in {"a": 1}.items()} == {"a": 1}`,
		`max([1, 3, 2]) == 3`, `sorted([3, 1], reverse = True) == [3, 1]`, `sorted(["bb", "a"], key = len) == ["a", "bb"]`,
		`(lambda x, *a, y = 1 + 1, **k: (x, a, y, k))(1, *[2, 3], **{"z": 4}) == (1, (2, 3), 2, {"z": 4})`,
		`"%d %s" % (1, "x") == "1 x"`, `1 << 4 == 16 and 6 & 3 == 2 and 6 ^ 3 == 5 and 6 | 1 == 7 and -8 >> 1 == -4`,
		`set([1]) | set([2]) == set([1, 2])`, `size("2G") // 2 == size("1024M")`, `struct(a = 1).a == 1`, `math.floor(1.5) == 1`,
		`host.pools[0].name == "rpool" and host.default.pool == "rpool" and host.packages["skopeo"] == "1.18.0"`,
		`"a-b".split("-") == ["a", "b"] and "x".join(["1", "2"]) == "1x2" and "aa".replace("a", "b") == "bb"`,
		`augmented() == ([1, 2, 3], {"a": 1, "b": 2}, 6, [11], "ab")`, `order() == ["x", "y", "k", "v"]`,
	}
	const defs = `
def augmented():
    l = [1]
    alias = l
    l += [2]
    l.extend([3])
    d = {"a": 1}
    d |= {"b": 2}
    n = 2
    n *= 3
    e = [1]
    e[-1] += 10
    s = "a"
    s += "b"
    return (alias, d, n, e, s)

def order():
    seen = []
    def note(name, value):
        seen.append(name)
        return value
    note("x", 0) == note("y", 0)
    d = {"k": 1}
    d[note("k", "k")] += note("v", 1)
    return seen
`
	for _, e := range exprs {
		t.Run(e, func(t *testing.T) { load(t, "\n"+defs+"\nif not ("+e+"): fail('no')") })
	}
}

func TestArgumentsArriveAsTheTypesOfTheTable(t *testing.T) {
	r := load(t, `
img = oci_pull("a")
ds = zfs_dataset("tank/x")
first = pct_create("first", image = img)
pct_create("c", image = img, memory = size("1G") + 1, mounts = {"/a": ds, "/b": mount(ds), "/c": "/srv", "/d": [1, True]},
    env = {"N": 5}, cmd = ["a", 1, first.address], after = [first], source = ds, ready = tcp_ready(1), probes = [tcp_ready(2)], shm = None)
`)
	n, _ := r.Graph.Node("pct_create/c#create")
	a := n.Spec.(fakeSpec).args
	if got := a.Size("memory"); got != engine.GiB+1 {
		t.Errorf("memory: want 1G+1, got %s", got)
	}
	if a.Has("shm") || a.Has("disk") || a.Size("disk") != 4*engine.GiB || a.Size("shm") != 0 {
		t.Errorf("not given: shm %v %s, disk %v %s", a.Has("shm"), a.Size("shm"), a.Has("disk"), a.Size("disk"))
	}
	if !a.Bool("onboot") || a.Duration("timeout") != 30*time.Second || !slices.Equal(a.Strings("tags"), []string{"a", "b"}) {
		t.Errorf("defaults: onboot %v, timeout %s, tags %v", a.Bool("onboot"), a.Duration("timeout"), a.Strings("tags"))
	}
	mounts := a.Entries("mounts")
	if h, ok := mounts[0].Value.(*engine.Handle); !ok || h.ID != "zfs_dataset/tank/x" || h.Known["name"] != "tank/x" {
		t.Errorf("mounts /a: want the handle of the dataset, got %#v", mounts[0].Value)
	}
	if diff := cmp.Diff([]any{engine.StepID("zfs_dataset/tank/x"), "/srv", []any{int64(1), true}},
		[]any{mounts[1].Value, mounts[2].Value, mounts[3].Value}); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	if got := a.Texts("cmd"); len(got) != 3 || got[1].String() != "1" || got[2].String() != "<first.address>" {
		t.Errorf("cmd: got %v", got)
	}
	if a.Object("source").(*engine.Handle).ID != "zfs_dataset/tank/x" || a.Steps("after")[0].ID != "pct_create/first" {
		t.Errorf("source %v, after %v", a.Object("source"), a.Steps("after"))
	}
	if _, ok := a.Objects("probes")[0].(fakeProbe); !ok {
		t.Errorf("probes: got %#v", a.Objects("probes"))
	}
}

func TestTheSameCallTwiceIsOneStep(t *testing.T) {
	r := load(t, `
a = oci_pull("x")
if a != oci_pull(ref = "x"): fail("two")
`)
	if n := len(r.Graph.Nodes()); n != 1 {
		t.Errorf("want 1 node, got %d", n)
	}
}

func TestCatalogs(t *testing.T) {
	o := testOptions(map[string]string{
		"apps/x.star": "load('@other//deep/y.star', 'y')\nload('//lib.star', 'f')\nload('z.star', 'z')\nload('./sub/w.star', 'w')\n" +
			head + "output('o', y + f + z + w)",
		"lib.star": "f = 'f'", "apps/z.star": "z = 'z'", "apps/sub/w.star": "load('../z.star', 'z')\nw = z",
	})
	o.Catalogs = map[string]fs.FS{"other": fstest.MapFS{
		"deep/y.star": {Data: []byte("load('//lib.star', 'f')\ny = f")}, "lib.star": {Data: []byte("f = 'other'")},
	}}
	r, err := recipe.Load(t.Context(), "apps/x.star", o)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Outputs[0].Text.String(); got != "otherfzz" {
		t.Errorf("want otherfzz, got %q", got)
	}
	want := []string{"apps/x.star", "@other//deep/y.star", "@other//lib.star", "lib.star", "apps/z.star", "apps/sub/w.star"}
	if diff := cmp.Diff(want, r.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestAMissingRecipe(t *testing.T) {
	_, err := recipe.Load(t.Context(), "nope.star", testOptions(nil))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("want fs.ErrNotExist, got %v", err)
	}
}

func TestPrintShowsUnknownsByName(t *testing.T) {
	var got string
	o := testOptions(map[string]string{"x.star": head + `print("at", pct_create("db", image = oci_pull("a")).address)`})
	o.Print = func(pos engine.Pos, text string) { got = pos.String() + " " + text }
	loadWith(t, o)
	if want := "x.star:1:16 at <db.address>"; got != want {
		t.Errorf("want %q, got %q", want, got)
	}
}

func TestACancelledContextEndsTheEvaluation(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := recipe.Load(ctx, "x.star", testOptions(map[string]string{"x.star": head + "[i for i in range(900000)]"}))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("want context.Canceled, got %v", err)
	}
}
