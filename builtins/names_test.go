package builtins_test

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/plan"
)

const pair = `
image = oci_pull("docker.io/library/alpine:3.22")
pct_create("db", image = image, memory = "64M", disk = "1G", ready = exec_ready(["true"]))
pct_create("web", image = image, memory = "64M", disk = "1G", ready = exec_ready(["true"]))
`

// namesFile is the file of names of the bench's app.
func (b *bench) namesFile() string { return filepath.Join(b.lab.Root(), "var/lib/tengil/app/hosts") }

func (b *bench) names() string {
	b.t.Helper()
	data, err := os.ReadFile(b.namesFile())
	if err != nil {
		b.t.Fatal(err)
	}
	return string(data)
}

func (b *bench) mustRun(text string) {
	b.t.Helper()
	if err := b.run(b.plan(text)); err != nil {
		b.t.Fatal(err)
	}
	if p := b.plan(text); !p.Empty() {
		b.t.Fatalf("there is still to do:\n%s", plan.Text(p))
	}
}

// within returns what a program in a container prints.
func (b *bench) within(vmid string, argv ...string) string {
	b.t.Helper()
	var out, stderr bytes.Buffer
	if exit := b.lab.Exec(b.t.Context(), append([]string{"pct", "exec", vmid, "--"}, argv...), nil, &out, &stderr); exit != 0 {
		b.t.Fatalf("%q in CT %s: exit status %d: %s", argv, vmid, exit, stderr.String())
	}
	return out.String()
}

var dbLine = regexp.MustCompile(`(?m)^[0-9.]+ app-db db$`)

// What a file of names lacks is put into the file itself: a running container has
// mounted that one, and would not see another of its name.
func TestNamesAreMendedInPlaceWithoutARestart(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(text string) string
	}{
		{"an address that has changed", func(text string) string { return dbLine.ReplaceAllString(text, "10.10.10.77 app-db db") }},
		{"a write that was cut", func(text string) string { return text[:len(text)/2] }},
		{"a write that was cut at its beginning", func(string) string { return "" }},
		{"a line that nobody accounts for", func(text string) string { return text + "10.10.10.78 app-old old\n" }},
	} {
		for kind, choices := range map[string]engine.Choices{"leased": {}, "ranged": ranged} {
			t.Run(c.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				b := openBenchOn(t, lab.Options{}, choices)
				b.mustRun(pair)
				want := b.names()
				if !dbLine.MatchString(want) {
					t.Fatalf("names:\n%s", want)
				}
				before, err := os.Stat(b.namesFile())
				if err != nil {
					t.Fatal(err)
				}
				starts := b.ran("pct", "start")
				if err := os.WriteFile(b.namesFile(), []byte(c.damage(want)), 0o644); err != nil {
					t.Fatal(err)
				}
				p := b.plan(pair)
				if p.Empty() {
					t.Fatal("nothing to do")
				}
				for _, n := range p.Nodes {
					for _, ch := range n.Diff.Changes {
						if ch.Action != engine.Update || ch.Field != "names" {
							t.Errorf("%s: %s %s", n.ID, ch.Action, ch.Field)
						}
					}
				}
				b.mustRun(pair)
				after, err := os.Stat(b.namesFile())
				if err != nil {
					t.Fatal(err)
				}
				if got := b.names(); got != want || !os.SameFile(before, after) || b.ran("pct", "start") != starts {
					t.Errorf("names are\n%s\nsame file %v, %d starts more", got, os.SameFile(before, after), b.ran("pct", "start")-starts)
				}
			})
		}
	}
}

func TestContainersOfBeforeGetTheirNamesByARestart(t *testing.T) {
	t.Parallel()
	b := openBench(t)
	b.mustRun(pair)
	for _, conf := range []string{"100.conf", "101.conf"} {
		matches, err := filepath.Glob(filepath.Join(b.lab.Root(), "etc/pve/nodes/*/lxc", conf))
		if err != nil || len(matches) != 1 {
			t.Fatalf("%s: %v, %v", conf, matches, err)
		}
		data, err := os.ReadFile(matches[0])
		if err != nil {
			t.Fatal(err)
		}
		var kept []string
		for line := range strings.Lines(string(data)) {
			if !strings.Contains(line, "/var/lib/tengil/app/hosts") {
				kept = append(kept, line)
			}
		}
		if err := os.WriteFile(matches[0], []byte(strings.Join(kept, "")), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(b.namesFile()); err != nil {
		t.Fatal(err)
	}
	p := b.plan(pair)
	if text := plan.Text(p); strings.Count(text, "~ names: /etc/hosts, restarts (the containers of an app find each other by their names)") != 2 {
		t.Errorf("plan:\n%s", text)
	}
	b.mustRun(pair)
	if !dbLine.MatchString(b.within("101", "cat", "/etc/hosts")) {
		t.Errorf("names:\n%s", b.names())
	}
}

// An image whose /etc/hosts is a symbolic link has its own idea of names.
func TestAnImageInWhichNamesCannotBeMountedStarts(t *testing.T) {
	t.Parallel()
	b := openBench(t)
	b.mustRun(pair)
	b.do("pct", "stop", "100")
	b.do("rm", "/rpool/data/subvol-100-disk-0/etc/hosts")
	b.do("ln", "-s", "/run/hosts", "/rpool/data/subvol-100-disk-0/etc/hosts")
	b.mustRun(pair)
	if out := b.within("101", "cat", "/etc/hosts"); !dbLine.MatchString(out) {
		t.Errorf("names:\n%s", out)
	}
}

// Proxmox writes no resolver into a system that it does not manage, and with a
// fixed address no lease does.
func TestAnUnmanagedSystemWithAFixedAddressHasAResolver(t *testing.T) {
	t.Parallel()
	b := openBench(t)
	unmanaged := func(ip string) string {
		return `pct_create("web", image = oci_pull("docker.io/library/alpine:3.22"), memory = "64M", disk = "1G", ostype = "unmanaged", ready = exec_ready(["true"])` + ip + ")\n"
	}
	const entry = "lxc.mount.entry: /etc/resolv.conf etc/resolv.conf"
	conf := func() string {
		matches, err := filepath.Glob(filepath.Join(b.lab.Root(), "etc/pve/nodes/*/lxc/100.conf"))
		if err != nil || len(matches) != 1 {
			t.Fatalf("config: %v, %v", matches, err)
		}
		data, err := os.ReadFile(matches[0])
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	b.mustRun(unmanaged(`, ip = "10.10.10.50/24", gateway = "10.10.10.1"`))
	if out := b.within("100", "cat", "/etc/resolv.conf"); !strings.Contains(out, "nameserver 10.10.10.1") || !strings.Contains(conf(), entry) {
		t.Errorf("resolver: %q, config:\n%s", out, conf())
	}
	b.mustRun(unmanaged(""))
	if strings.Contains(conf(), entry) {
		t.Errorf("with DHCP the resolver is still the node's:\n%s", conf())
	}
}

// A container that ends right after its start is told as that, however it gets its
// address; and its line never has another word in the place of the address.
func TestAContainerThatStopsByItselfIsToldAndItsNameHasNoOtherAddress(t *testing.T) {
	for name, net := range map[string]string{"dhcp": "", "fixed": `, ip = "10.10.10.50/24", gateway = "10.10.10.1"`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := openBench(t)
			if err := b.lab.SetHealth("app-web", lab.Health{State: lab.Dying}); err != nil {
				t.Fatal(err)
			}
			text := `pct_create("web", image = oci_pull("docker.io/library/alpine:3.22"), memory = "64M", disk = "1G", ready = tcp_ready(80)` + net + ")\n"
			err := b.run(b.plan(text))
			if err == nil || !strings.Contains(err.Error(), "CT 100 has stopped by itself") || strings.Contains(err.Error(), "not ready after") {
				t.Errorf("got %v", err)
			}
			for line := range strings.Lines(b.names()) {
				if word, _, _ := strings.Cut(line, " "); word != "#" {
					if _, err := netip.ParseAddr(word); err != nil {
						t.Errorf("line %q: %v", line, err)
					}
				}
			}
			if shown := plan.Text(b.plan(text)); strings.Contains(shown, "names:") {
				t.Errorf("plan:\n%s", shown)
			}
		})
	}
}

func TestALineWithoutAnAddressIsNotRepeatedInAPlan(t *testing.T) {
	t.Parallel()
	b := openBench(t)
	b.mustRun(pair)
	want := b.names()
	if err := os.WriteFile(b.namesFile(), []byte(want+"invalid IP app-old old\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if shown := plan.Text(b.plan(pair)); strings.Contains(shown, "invalid") || !strings.Contains(shown, "~ names: (damaged) → unset") {
		t.Errorf("plan:\n%s", shown)
	}
	b.mustRun(pair)
	if got := b.names(); got != want {
		t.Errorf("names are\n%s\nwant\n%s", got, want)
	}
}

// A start without the recipe tells the others where the container is, too.
func TestAStartWithoutTheRecipePublishesTheAddress(t *testing.T) {
	t.Parallel()
	b := openBench(t)
	b.mustRun(pair)
	want := b.names()
	if err := os.WriteFile(b.namesFile(), []byte(dbLine.ReplaceAllString(want, "10.10.10.77 app-db db")), 0o644); err != nil {
		t.Fatal(err)
	}
	g, _, err := pct.Power(t.Context(), b.host, pct.Switch{Turn: pct.Restart, App: "app", Name: "db"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Build(t.Context(), g, b.host, &engine.Facts{}, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.run(p); err != nil {
		t.Fatal(err)
	}
	if got := b.names(); got != want {
		t.Errorf("names are\n%s\nwant\n%s", got, want)
	}
}
