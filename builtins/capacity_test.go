package builtins_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/builtins/capacity"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/recipe"
)

// checked plans with the checks, for a node whose facts may be changed.
func (b *bench) checked(text string, change func(*engine.Facts)) *engine.Plan {
	b.t.Helper()
	a, err := b.host.Batch(b.t.Context(), pve.FactAsks())
	if err != nil {
		b.t.Fatal(err)
	}
	facts, err := pve.ParseFacts(a, engine.Choices{})
	if err != nil {
		b.t.Fatal(err)
	}
	change(facts)
	r, err := recipe.Load(b.t.Context(), "app.star", recipe.Options{
		Kinds: builtins.Kinds(), Constructors: builtins.Constructors(), Facts: facts,
		FS: fstest.MapFS{"app.star": {Data: []byte("recipe(name = \"app\")\n" + text)}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	p, err := plan.Build(b.t.Context(), r.Graph, b.host, facts, plan.Options{Kinds: builtins.Kinds(), Checks: []engine.Check{capacity.Check()}})
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// one is a container with further parameters.
func one(more string) string {
	return fmt.Sprintf("pct_create(\"web\", image = oci_pull(\"docker.io/library/alpine:3.22\"), disk = \"1G\"%s)\n", more)
}

func TestWhatANodeHasNoRoomFor(t *testing.T) {
	small := func(f *engine.Facts) { f.Memory = 4 * engine.GiB }
	for _, c := range []struct {
		name, recipe string
		setup        []string // path and content pairs on the node
		facts        func(*engine.Facts)
		refused      string // "" for none
		warned       string
	}{
		{name: "all of it fits", recipe: one("")},
		{name: "more memory than there is", recipe: one(`, memory = "8G"`), facts: small, refused: "memory is 8G, but lab has 4G"},
		{name: "more memory than is left beside other guests", recipe: one(`, memory = "3G"`), facts: small,
			setup:  []string{"/etc/pve/nodes/NODE/qemu-server/900.conf", "memory: 2048\nonboot: 1\n"},
			warned: "memory limits of what runs on lab or starts with it come to 5G, of this application 3G; the node has 4G"},
		{name: "what neither runs nor starts does not count", recipe: one(`, memory = "3G"`), facts: small,
			setup: []string{"/etc/pve/nodes/NODE/qemu-server/900.conf", "memory: 2048\n", "/etc/pve/nodes/NODE/lxc/901.conf", "memory: 2048\n"}},
		{name: "more cores than there are", recipe: one(`, cores = 4096`), warned: "cores is 4096, but lab has "},
		{name: "an id outside of the range", recipe: one(`, vmid = 150`), setup: []string{"/etc/pve/datacenter.cfg", "next-id: lower=200,upper=300\n"},
			warned: "vmid is 150, outside of the ids that the datacenter gives to new guests (200 to 300)"},
		{name: "the MAC address of a container", recipe: one(`, mac = "BC:24:11:00:00:01"`),
			setup:   []string{"/etc/pve/nodes/NODE/lxc/901.conf", "hostname: nas\nnet0: name=eth0,hwaddr=bc:24:11:00:00:01\n"},
			refused: "CT 901 (nas) has the MAC address BC:24:11:00:00:01"},
		{name: "the MAC address of a virtual machine", recipe: one(`, mac = "BC:24:11:00:00:01"`),
			setup:   []string{"/etc/pve/nodes/NODE/qemu-server/900.conf", "net0: virtio=BC:24:11:00:00:01,bridge=vmbr0\n"},
			refused: "VM 900 has the MAC address BC:24:11:00:00:01"},
		{name: "one MAC address twice", recipe: one(`, mac = "BC:24:11:00:00:01"`) + strings.Replace(one(`, mac = "BC:24:11:00:00:01"`), "web", "db", 1),
			refused: "container web of this recipe has the MAC address BC:24:11:00:00:01"},
		{name: "disks that may grow beyond the storage", recipe: strings.Replace(one(""), `"1G"`, `"9000G"`, 1),
			warned: "the disks of the new containers may grow to 9000G together; storage local-zfs has "},
		{name: "a pool that is nearly full", recipe: one(""), facts: func(f *engine.Facts) {
			for i := range f.Pools {
				f.Pools[i].Free = f.Pools[i].Size / 20
			}
		}, warned: "pool rpool is more than 90 % full"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := openBench(t)
			node := ""
			b.checked(one(""), func(f *engine.Facts) { node = f.Node })
			for i := 0; i < len(c.setup); i += 2 {
				file := engine.File{Name: strings.ReplaceAll(c.setup[i], "NODE", node), Data: []byte(c.setup[i+1]), Perm: 0o640}
				if err := b.host.WriteFile(t.Context(), file); err != nil {
					t.Fatal(err)
				}
			}
			change := func(f *engine.Facts) {
				if c.facts != nil {
					c.facts(f)
				}
			}
			p := b.checked(c.recipe, change)
			want := strings.ReplaceAll(cmp.Or(c.refused, c.warned), "lab has", node+" has")
			want = strings.ReplaceAll(want, "runs on lab", "runs on "+node)
			text := plan.Text(p)
			if (len(p.Findings) > 0) != (want != "") || !strings.Contains(text, want) {
				t.Errorf("wanted %q:\n%s", want, text)
			}
			if got := len(p.Refused()) > 0; got != (c.refused != "") {
				t.Errorf("refused %v:\n%s", got, text)
			}
			without := *p
			without.Findings = nil
			if d := plan.Difference(&without, p); (d != "") != (c.refused != "") {
				t.Errorf("difference to the plan without the finding: %q", d)
			}
		})
	}
}

func TestAFullStorageIsRefusedBeforeAnythingIsPulled(t *testing.T) {
	t.Parallel()
	b := openBench(t)
	b.do("zfs", "create", "rpool/data/other")
	b.do("zfs", "set", "quota=1K", "rpool/data")
	p := b.checked(one(""), func(*engine.Facts) {})
	text := plan.Text(p)
	want := "! refused: pct_create/web: storage local-zfs has 0 free; the images alone need more than "
	if !strings.Contains(text, want) || len(p.Refused()) != 1 {
		t.Errorf("wanted %q:\n%s", want, text)
	}
	js, err := plan.JSON(p)
	if err != nil || !strings.Contains(string(js), `"refuses": true`) {
		t.Errorf("%v:\n%s", err, js)
	}
}
