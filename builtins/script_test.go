package builtins_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/builtins/kindtest"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/recipe"
	"github.com/tengil/tengil/recipes"
)

// withServices is a node on which the owner has installed what the kinds need.
func withServices(t *testing.T, l *lab.Lab) {
	kindtest.Exec("apt-get", "install", "-y", "samba", "nfs-kernel-server")(t, l)
	kindtest.Exec("mkdir", "-p", "/srv/photos", "/srv/films")(t, l)
}

func scriptCases() []kindtest.Case {
	const cron = `load("@tengil//kinds/cron_job.star", "cron_job")
`
	const nfs = `load("@tengil//kinds/nfs_export.star", "nfs_export")
`
	const samba = `load("@tengil//kinds/samba_share.star", "samba_share")
`
	return []kindtest.Case{
		{
			Name: "a job of cron", Kind: "cron_job",
			Recipe: cron + `cron_job("check", schedule = "15 3 * * *", command = ["/usr/bin/true", "it's 100%", "$(x)"])`,
			Change: cron + `cron_job("check", schedule = "@daily", command = ["/usr/bin/true"], user = "www-data", mailto = "a@example.org")`,
		},
		{
			Name: "an export", Kind: "nfs_export", Setup: withServices,
			Recipe: nfs + `nfs_export("photos", path = "/srv/photos", clients = ["192.168.1.0/24", "nas"])`,
			Change: nfs + `nfs_export("photos", path = "/srv/films", clients = ["*"], options = ["ro"])`,
		},
		{
			Name: "an export of a dataset that the recipe makes", Kind: "nfs_export", Setup: withServices,
			Recipe: nfs + `nfs_export("data", path = zfs_dataset("tank/app/data").mountpoint, clients = ["*"])`,
		},
		{
			Name: "a share", Kind: "samba_share", Setup: withServices,
			Recipe: samba + `samba_share("photos", path = "/srv/photos", users = ["ben", "@family"], comment = "Photos")`,
			Change: samba + `samba_share("photos", path = "/srv/films", read_only = True, guests = True)`,
		},
		{
			Name: "two shares, made side by side, one of a dataset", Kind: "samba_share", Setup: withServices,
			Recipe: samba + `
samba_share("data", path = zfs_dataset("tank/app/data").mountpoint)
samba_share("photos", path = "/srv/photos")
`,
			Change: samba + `samba_share("photos", path = "/srv/photos")`,
		},
	}
}

func TestScriptConformance(t *testing.T) {
	lang := language()
	lang.Catalogs = map[string]fs.FS{"tengil": recipes.FS}
	kindtest.Run(t, lang, scriptCases())
}

// keeper is a kind that keeps a secret in a file, tells a program of it, and has to
// end with a command that leaves nothing to see.
const keeper = `
def observe(node, args):
    return node.read("/etc/keeper").text

def diff(now, args):
    if now == None:
        return [change("create", new = args.key, why = "there is none")]
    if not same(now, "key = %s\n" % args.key):
        return [change("update", field = "key", old = now, new = args.key, why = "it is another")]
    return []

def apply(node, args, now):
    node.write("/etc/keeper", "key = %s\n" % args.key, mode = "0600")
    node.run(["tee", "/etc/keeper.in"], stdin = args.key)
    if args.leak:
        node.run(["echo", "key=" + args.key])
    node.run(["chmod", "0600", "/etc/keeper.in"])

def remove(node, args):
    node.run(["rm", "-f", "/etc/keeper", "/etc/keeper.in"])

keeper = kind("keeper", doc = "Keeps a secret.", observe = observe, diff = diff, apply = apply, remove = remove,
    params = {"key": param("text", required = True, doc = "The secret."), "leak": param("bool", default = False, doc = "Tell it.")})
`

const keeps = `load("keeper.star", "keeper")
keeper("one", key = secret("db"))
`

// planOf is bench.plan of a recipe that loads files and the catalog of tg.
func (b *bench) planOf(text string) (*engine.Plan, error) {
	b.t.Helper()
	a, err := b.host.Batch(b.t.Context(), pve.FactAsks())
	if err != nil {
		b.t.Fatal(err)
	}
	facts, err := pve.ParseFacts(a, b.choices)
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := recipe.Load(b.t.Context(), "app.star", recipe.Options{
		Kinds: builtins.Kinds(), Constructors: builtins.Constructors(), Facts: facts, Catalogs: map[string]fs.FS{"tengil": recipes.FS},
		FS: fstest.MapFS{"app.star": {Data: []byte("recipe(name = \"app\")\n" + text)}, "keeper.star": {Data: []byte(keeper)}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return plan.Build(b.t.Context(), r.Graph, b.host, facts, plan.Options{Kinds: builtins.Kinds()})
}

func (b *bench) mustPlanOf(text string) *engine.Plan {
	b.t.Helper()
	p, err := b.planOf(text)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bench) read(name string) string {
	b.t.Helper()
	data, err := act.ReadFile(b.t.Context(), b.host, name)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(data)
}

func (b *bench) forget() error {
	b.t.Helper()
	p, err := plan.Destroy(b.t.Context(), b.host, builtins.Kinds(), "app", false)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.run(p)
}

const keeperMemory = "/etc/pve/priv/tengil/app/kind.pve.keeper_2fone.json"

func TestASecretOfAScriptIsInNoArgvAndNoMemory(t *testing.T) {
	b := openBench(t)
	p := b.mustPlanOf(keeps)
	if text := plan.Text(p); !strings.Contains(text, "create: *** (there is none)") {
		t.Errorf("the plan is:\n%s", text)
	}
	if err := b.run(p); err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSpace(strings.TrimPrefix(b.read("/etc/keeper"), "key = "))
	if len(key) < 8 || b.read("/etc/keeper.in") != key {
		t.Errorf("the file holds %q, standard input was %q", key, b.read("/etc/keeper.in"))
	}
	if memory := b.read(keeperMemory); strings.Contains(memory, key) || !strings.Contains(memory, `"secret":true`) {
		t.Errorf("the node remembers %s", memory)
	}
	if p := b.mustPlanOf(keeps); !p.Empty() {
		t.Errorf("a second run has to do:\n%s", plan.Text(p))
	}
	b.do("sh", "-c", "echo key = drift >/etc/keeper")
	if p := b.mustPlanOf(keeps); !strings.Contains(plan.Text(p), "~ key: *** → *** (it is another)") {
		t.Errorf("drift is planned as:\n%s", plan.Text(p))
	}
	if err := b.forget(); err != nil {
		t.Fatal(err)
	}
	for _, e := range b.lab.Log() {
		if strings.Contains(strings.Join(e.Argv, " "), key) {
			t.Errorf("the secret is in %q", e.Argv)
		}
	}
}

func TestASecretInTheArgvOfAScriptIsRefusedAtItsLine(t *testing.T) {
	b := openBench(t)
	err := b.run(b.mustPlanOf(strings.Replace(keeps, `secret("db")`, `secret("db"), leak = True`, 1)))
	want := `app.star:3:1: keeper/one: keeper.star:16:14: apply: node.run: argument 1 holds a secret`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("want %q, got %v", want, err)
	}
	if n := b.ran("echo"); n != 0 {
		t.Error("the command was run all the same")
	}
}

// What the last command of apply does cannot be seen, so that only tengil's memory
// tells whether it came to its end.
func TestAScriptThatWasCutIsRunAgain(t *testing.T) {
	b := openBench(t)
	fault := lab.Fault{Prefix: []string{"chmod", "0600", "/etc/keeper.in"}, Do: lab.Fail}
	b.lab.Fault(fault)
	if err := b.run(b.mustPlanOf(keeps)); err == nil || !strings.Contains(err.Error(), "keeper.star:17:10: apply: node.run: chmod") {
		t.Fatalf("got %v", err)
	}
	p := b.mustPlanOf(keeps)
	if text := plan.Text(p); !strings.Contains(text, "an earlier run did not come to its end") {
		t.Fatalf("the plan is:\n%s", text)
	}
	if err := b.run(p); err != nil {
		t.Fatal(err)
	}
	if p := b.mustPlanOf(keeps); !p.Empty() {
		t.Errorf("there is still to do:\n%s", plan.Text(p))
	}
}

// A removal that is cut is finished by the next, also where no recipe is left.
func TestTheRemovalOfAScriptIsRunAgain(t *testing.T) {
	b := openBench(t)
	if err := b.run(b.mustPlanOf(keeps)); err != nil {
		t.Fatal(err)
	}
	b.lab.Fault(lab.Fault{Prefix: []string{"rm", "-f", "/etc/keeper"}, When: lab.After, Do: lab.Fail})
	if err := b.forget(); err == nil || !strings.Contains(err.Error(), "keeper.star:20:10: remove: node.run: rm") {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(b.read(keeperMemory), "keeper") {
		t.Error("what is half removed is forgotten")
	}
	if err := b.forget(); err != nil {
		t.Fatal(err)
	}
	if _, err := act.ReadFile(t.Context(), b.host, keeperMemory); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the memory of what is removed: %v", err)
	}
}

// Somebody edits smb.conf between tengil's look at it and its change of it.
func TestAScriptOverwritesNoFileThatHasChangedMeanwhile(t *testing.T) {
	b := openBench(t)
	withServices(t, b.lab)
	p := b.mustPlanOf(`load("@tengil//kinds/samba_share.star", "samba_share")
samba_share("photos", path = "/srv/photos")
`)
	b.lab.Fault(lab.Fault{
		Of: lab.Requests, Prefix: []string{"/etc/samba/smb.conf"}, When: lab.After,
		Do: lab.Meddle, Argv: []string{"sh", "-c", "echo '# mine' >>/etc/samba/smb.conf"},
	})
	if err := b.run(p); err != nil {
		t.Fatal(err)
	}
	conf := b.read("/etc/samba/smb.conf")
	for _, want := range []string{"# mine\n", "include = /etc/samba/tengil-photos.conf\n", "workgroup = WORKGROUP\n"} {
		if strings.Count(conf, want) != 1 {
			t.Errorf("smb.conf lacks %q, or has it twice:\n%s", want, conf)
		}
	}
}

func TestMistakesInTheArgumentsOfShippedKinds(t *testing.T) {
	b := openBench(t)
	withServices(t, b.lab)
	for _, tt := range []struct{ kind, call, says string }{
		{"cron_job", `"a.b", schedule = "@daily", command = ["true"]`, "cron passes over files"},
		{"cron_job", `"a", schedule = "* * * *", command = ["true"]`, "wanted five fields"},
		{"cron_job", `"a", schedule = "* * * * *\n* * * * * root id", command = ["true"]`, "schedule"},
		{"cron_job", `"a", schedule = "* * * * *", command = ["true", "a\nb"]`, "no way to write a line end"},
		{"cron_job", `"a", schedule = "* * * * *", command = ["true"], user = "root id"`, "no name of a user"},
		{"cron_job", `"a", schedule = "* * * * *", command = []`, "wanted a program"},
		{"nfs_export", `"a", path = "srv", clients = ["*"]`, "absolute path"},
		{"nfs_export", `"a", path = "/srv\" *(rw)\n\"/etc", clients = ["*"]`, "cannot hold"},
		{"nfs_export", `"a", path = "/srv", clients = ["*(rw) *"]`, "cannot hold"},
		{"nfs_export", `"a", path = "/srv", clients = []`, "at least one"},
		{"nfs_export", `"a", path = "/srv", clients = ["*"], options = ["rw)"]`, "cannot hold"},
		{"samba_share", `"a", path = "/srv/%U"`, "cannot hold"},
		{"samba_share", `"a", path = "/srv", comment = "x\nroot preexec = id"`, "cannot hold"},
		{"samba_share", `"global", path = "/srv"`, "a meaning of its own"},
		{"samba_share", `"a", path = "/srv", users = ["a b"]`, "no name of a user"},
		{"samba_share", `"a/b", path = "/srv"`, "is no name"},
	} {
		_, err := recipe.Load(t.Context(), "app.star", recipe.Options{
			Kinds: builtins.Kinds(), Constructors: builtins.Constructors(), Facts: exampleFacts(), Catalogs: map[string]fs.FS{"tengil": recipes.FS},
			FS: fstest.MapFS{"app.star": {Data: fmt.Appendf(nil, "load(\"@tengil//kinds/%[1]s.star\", \"%[1]s\")\nrecipe(name = \"app\")\n%[1]s(%s)\n", tt.kind, tt.call)}},
		})
		if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.HasPrefix(err.Error(), "app.star:3:1: "+tt.kind+" (@tengil//kinds/") {
			t.Errorf("%s(%s): want an error with %q at the recipe's line, got %v", tt.kind, tt.call, tt.says, err)
		}
	}
}

// A path that only the node tells is checked before it gets into a file.
func TestAPathThatIsKnownLateIsCheckedToo(t *testing.T) {
	b := openBench(t)
	withServices(t, b.lab)
	b.do("zfs", "create", "-o", "mountpoint=/srv/a%b", "tank/odd")
	err := b.run(b.mustPlanOf(`load("@tengil//kinds/samba_share.star", "samba_share")
samba_share("odd", path = zfs_dataset("tank/odd", adopt = True, properties = {"mountpoint": "/srv/a%b"}).mountpoint)
`))
	if err == nil || !strings.Contains(err.Error(), "apply: path: smb.conf cannot hold") {
		t.Errorf("got %v", err)
	}
}

// chunk returns the nth block of Starlark of a document.
func chunk(t *testing.T, file string, nth int) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(data), "```python\n")
	if len(parts) <= nth {
		t.Fatalf("%s has %d blocks", file, len(parts)-1)
	}
	text, _, _ := strings.Cut(parts[nth], "```")
	return text
}

// The kind of the guide is right word for word.
func TestTheKindOfTheGuide(t *testing.T) {
	lang := language()
	lang.Files = map[string]string{"motd.star": chunk(t, "../docs/kinds.md", 1)}
	hello := strings.Replace(chunk(t, "../docs/kinds.md", 2), "recipe(name = \"hello\")\n", "", 1)
	kindtest.Run(t, lang, []kindtest.Case{{
		Name: "a message", Kind: "motd", Recipe: hello,
		Change: strings.Replace(hello, `three."`, `four.", mode = "600"`, 1),
	}})
}
