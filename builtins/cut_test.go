package builtins_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/builtins/kindtest"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/lab/labtest"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/recipe"
	"github.com/tengil/tengil/engine/sshhost"
)

// A bench is a lab that recipes are run on.
type bench struct {
	t    *testing.T
	lab  *lab.Lab
	host engine.Host

	choices engine.Choices // of the host's owner
}

func openBench(t *testing.T) *bench {
	t.Helper()
	return openBenchOn(t, lab.Options{}, engine.Choices{})
}

func openBenchOn(t *testing.T, o lab.Options, choices engine.Choices) *bench {
	t.Helper()
	o.Dir = labtest.TempDir(t)
	l, err := lab.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		labtest.Unused(t, l)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	e := l.Endpoint()
	h, err := sshhost.DialEndpoint(t.Context(), sshhost.Endpoint{Addr: e.Addr, User: e.User, HostKey: e.HostKey, KeyFile: e.ClientKey, Name: "lab"}, sshhost.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return &bench{t, l, h, choices}
}

// plan compares the recipe of the app "app" with the lab.
func (b *bench) plan(text string) *engine.Plan {
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
		Kinds: builtins.Kinds(), Constructors: builtins.Constructors(), Facts: facts,
		FS: fstest.MapFS{"app.star": {Data: []byte("recipe(name = \"app\")\n" + text)}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	p, err := plan.Build(b.t.Context(), r.Graph, b.host, facts, plan.Options{Kinds: builtins.Kinds()})
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bench) run(p *engine.Plan) error {
	_, err := exec.Run(b.t.Context(), p, b.host, exec.Options{Pause: time.Millisecond})
	return err
}

// ran counts the programs that were run with that beginning.
func (b *bench) ran(words ...string) int {
	n := 0
	for _, e := range b.lab.Log() {
		if len(e.Argv) >= len(words) && slices.Equal(e.Argv[:len(words)], words) {
			n++
		}
	}
	return n
}

func (b *bench) do(argv ...string) {
	b.t.Helper()
	kindtest.Exec(argv...)(b.t, b.lab)
}

// allowRoots lets the storage local hold disk images of containers.
func (b *bench) allowRoots() {
	b.t.Helper()
	cfg := "dir: local\n\tpath /var/lib/vz\n\tcontent vztmpl,rootdir\n"
	if err := b.host.WriteFile(b.t.Context(), engine.File{Name: pve.StorageCfgFile, Data: []byte(cfg), Perm: 0o640}); err != nil {
		b.t.Fatal(err)
	}
}

func renames(argv []string) bool {
	return argv[0] == "mv" && strings.HasSuffix(argv[len(argv)-1], ".tar")
}

func TestWholeDownloadOfABrokenRunIsUsed(t *testing.T) {
	const text = `oci_pull("docker.io/library/alpine:3.22")`
	b := openBench(t)
	b.lab.Fault(lab.Fault{Match: renames, Nth: 1, When: lab.Before, Do: lab.Fail, Exit: 1, Stderr: "mv: no\n"})
	if err := b.run(b.plan(text)); err == nil {
		t.Fatal("the first run was to fail")
	}
	if err := b.run(b.plan(text)); err != nil {
		t.Fatal(err)
	}
	if n := b.ran("skopeo", "copy"); n != 1 {
		t.Errorf("the image was downloaded %d times; wanted once", n)
	}
	if p := b.plan(text); !p.Empty() {
		t.Errorf("there is still to do:\n%s", plan.Text(p))
	}
}

func TestDownloadThatNoRecipeWantsAnyMoreIsRemoved(t *testing.T) {
	b := openBench(t)
	b.lab.Fault(lab.Fault{Match: renames, Nth: 1, When: lab.Before, Do: lab.Fail, Exit: 1, Stderr: "mv: no\n"})
	if err := b.run(b.plan(`oci_pull("docker.io/library/alpine:3.22")`)); err == nil {
		t.Fatal("the first run was to fail")
	}
	p := b.plan("")
	if len(p.Orphans) != 1 || p.Orphans[0].Keep {
		t.Fatalf("want one thing to remove, got:\n%s", plan.Text(p))
	}
	if err := b.run(p); err != nil {
		t.Fatal(err)
	}
	if p := b.plan(""); !p.Empty() {
		t.Errorf("there is still to do:\n%s", plan.Text(p))
	}
}

func TestContainerThatARunLeftMountedIsUnmounted(t *testing.T) {
	const web = `web = pct_create("web", image = oci_pull("docker.io/library/alpine:3.22"), memory = "64M", disk = "1G", storage = "local")` + "\n"
	b := openBench(t)
	b.allowRoots()
	if err := b.run(b.plan(web)); err != nil {
		t.Fatal(err)
	}
	b.do("pct", "stop", "100")
	b.do("pct", "mount", "100")
	if err := b.run(b.plan(web + "gpu_attach(web)")); err != nil {
		t.Fatal(err)
	}
	if n := b.ran("pct", "unmount"); n != 2 {
		t.Errorf("unmounted %d times; wanted what was left and then its own", n)
	}
}
