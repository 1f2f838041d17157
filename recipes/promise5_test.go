package recipes_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/lab/labtest"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/pve"
)

// 5. Data outlives containers: no command but destroy --data removes a dataset,
// wherever it is cut; and the root of a container that is replaced stays until the
// new one is healthy.
func TestPromise5DataOutlivesContainers(t *testing.T) {
	var points atomic.Int64
	t.Run("all", func(t *testing.T) {
		for _, release := range releases {
			t.Run(release+" whatever the recipe becomes", func(t *testing.T) {
				t.Parallel()
				keepsData(t, release)
			})
			t.Run(release+" the replaced root", func(t *testing.T) {
				t.Parallel()
				points.Add(keepsRoots(t, release))
			})
			t.Run(release+" destroy with data", func(t *testing.T) {
				t.Parallel()
				takesWhatItNames(t, release)
			})
		}
	})
	t.Logf("%d points at which a replacement by a container that is not healthy was cut", points.Load())
}

// mine is a file of the user in the data of pair.
const mine = "/tank/pair/db/mine"

func (r *rig) userWrites() { r.put(filepath.Join(r.lab.Root(), mine), "years of work\n") }

func (r *rig) checkUsersFile() {
	r.t.Helper()
	if data, err := os.ReadFile(filepath.Join(r.lab.Root(), mine)); err != nil || string(data) != "years of work\n" {
		r.t.Errorf("the user's file: %q, %v", data, err)
	}
	for _, argv := range removals(r.lab.Log()) {
		r.t.Errorf("the node was told to %q", argv)
	}
}

// removals are the commands that remove or replace data of an application.
func removals(log []lab.Entry) (all []string) {
	aimed := regexp.MustCompile(`\btank/(pair|immich|photos|other)`)
	for _, e := range log {
		line := strings.Join(e.Argv, " ")
		takes := e.Argv[0] == "rm" || e.Argv[0] == "pvesm" && e.Argv[1] == "free" ||
			e.Argv[0] == "zfs" && slices.Contains([]string{"destroy", "rollback", "rename"}, e.Argv[1])
		if takes && aimed.MatchString(line) {
			all = append(all, line)
		}
	}
	return all
}

// keepsData goes through what people do to a recipe.
func keepsData(t *testing.T, release string) {
	r := newRig(t, release)
	r.mustRun("pair.star", pair, nil)
	r.userWrites()
	without := func(part string) string {
		if !strings.Contains(pair, part) {
			t.Fatalf("pair has no %q", part)
		}
		return strings.Replace(pair, part, "", 1)
	}
	moved := strings.ReplaceAll(pair, "tank/pair/db", "tank/pair/elsewhere")
	renamed := strings.ReplaceAll(pair, `pct_create("db"`, `pct_create("database"`)
	newer := strings.ReplaceAll(pair, "valkey:8-bookworm", "valkey:9-bookworm")
	smaller := strings.ReplaceAll(newer, `disk = "1G"`, `disk = "2G"`)
	bare := "recipe(name = \"pair\")\noutput(\"x\", \"y\")\n"
	for _, src := range []string{newer, smaller, moved, without(`mounts = {"/data": zfs_dataset("tank/pair/db", owner = 999)}, `), renamed, pair, bare} {
		r.mustRun("pair.star", src, nil)
		r.checkUsersFile()
	}
	r.mustRun("pair.star", pair, nil)
	p := r.destroyPlan(false)
	if _, err := exec.Run(t.Context(), p, r.host, quick); err != nil {
		t.Fatal(err)
	}
	r.checkUsersFile()
	r.mustRun("pair.star", pair, nil)
	r.checkUsersFile()
}

// keepsRoots cuts, at each command, a run that replaces a container by one that is
// never healthy, and returns how many points there were.
func keepsRoots(t *testing.T, release string) int64 {
	newer := strings.ReplaceAll(strings.ReplaceAll(pair, "valkey:8-bookworm", "valkey:9-bookworm"), "tcp_ready(6379)", `exec_ready(["valkey-cli", "ping"]), ready_timeout = "50ms"`)
	begin := func(t *testing.T) (r *rig, id string) {
		r = newRig(t, release)
		r.mustRun("pair.star", pair, nil)
		r.userWrites()
		if err := r.lab.SetHealth("pair-db", lab.Health{State: lab.Unhealthy}); err != nil {
			t.Fatal(err)
		}
		return r, r.idOf("pair-db")
	}
	whole, _ := begin(t)
	mark := len(whole.lab.Log())
	if _, err := whole.run("pair.star", newer, nil, quick); err == nil {
		t.Fatal("an unhealthy application counts as ready")
	}
	commands, _ := common(whole.lab.Log()[mark:])
	n, cut := 0, int64(0)
	for _, c := range commands {
		if c.readOnly || c.program() == "mktemp" || strings.HasPrefix(c.id, "rm -rf /tmp/tmp.") {
			continue // it is of a batch, which only looks
		}
		for _, b := range []struct {
			when lab.When
			do   lab.Effect
		}{{lab.Before, lab.Fail}, {lab.Before, lab.Cut}, {lab.After, lab.Cut}} {
			if n++; testing.Short() && n%15 != 0 || labtest.Raced && n%60 != 0 {
				continue
			}
			cut++
			t.Run(fmt.Sprintf("%v %v %s", b.when, b.do, c), func(t *testing.T) {
				t.Parallel()
				r, id := begin(t)
				r.lab.Fault(c.fault(b.when, b.do))
				for try := range 2 { // cut, and once more
					if err := r.attempt(newer); err == nil {
						t.Error("an unhealthy application counts as ready")
					}
					if try == 0 && r.lab.Pending() != 0 {
						t.Fatal("the fault did not fire")
					}
					r.checkRoot(id)
				}
				r.checkUsersFile()
				if err := r.lab.SetHealth("pair-db", lab.Health{State: lab.Healthy}); err != nil {
					t.Fatal(err)
				}
				r.mustRun("pair.star", strings.ReplaceAll(newer, `"50ms"`, `"1m"`), nil)
				r.checkUsersFile()
				if n := r.guests("pair-db", ""); n != 1 {
					t.Errorf("%d containers are named pair-db in the end", n)
				}
			})
		}
	}
	return cut
}

// attempt runs the recipe; the connection may be lost at any moment.
func (r *rig) attempt(src string) error {
	r.t.Helper()
	a, err := r.host.Batch(r.t.Context(), pve.FactAsks())
	if err != nil {
		return err
	}
	f, err := pve.ParseFacts(a, engine.Choices{})
	if err != nil {
		return err
	}
	g, err := load(r.t.Context(), f, "pair.star", src, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	p, err := plan.Build(r.t.Context(), g, r.host, f, plan.Options{Kinds: builtins.Kinds()})
	if err != nil {
		return err
	}
	_, err = exec.Run(r.t.Context(), p, r.host, quick)
	return err
}

// checkRoot looks whether the container of that id and its root are there.
func (r *rig) checkRoot(id string) {
	r.t.Helper()
	conf, err := os.ReadFile(filepath.Join(r.lab.Root(), "etc/pve/nodes/pve/lxc", id+".conf"))
	if err != nil {
		r.t.Errorf("the container that is replaced is gone: %v", err)
		return
	}
	volume := regexp.MustCompile(`(?m)^rootfs: local-zfs:([^,]+)`).FindSubmatch(conf)
	if volume == nil {
		r.t.Fatalf("no root in\n%s", conf)
	}
	var said strings.Builder
	if code := r.lab.Exec(r.t.Context(), []string{"zfs", "list", "rpool/data/" + string(volume[1])}, nil, &said, &said); code != 0 {
		r.t.Errorf("its root is gone: %s", said.String())
	}
}

// takesWhatItNames destroys one app with its data, beside others.
func takesWhatItNames(t *testing.T, release string) {
	r := newRig(t, release)
	r.mustRun("pair.star", pair, nil)
	r.mustRun("other.star", "recipe(name = \"other\")\nzfs_dataset(\"tank/other\")\nzfs_dataset(\"tank/pair/of-other\")\n", nil)
	r.someone("zfs", "create", "tank/own")
	r.put(filepath.Join(r.lab.Root(), "tank/own/mine"), "x\n")
	p := r.destroyPlan(true)
	text := plan.Text(p)
	for _, o := range p.Orphans {
		if o.What == "dataset tank/pair/db" && o.Loses == "" {
			t.Errorf("%s is data, and the plan does not say what is lost", o.What)
		}
	}
	if !strings.Contains(text, "dataset tank/pair/db") || strings.Contains(text, "tank/pair/of-other") {
		t.Errorf("the plan does not name the datasets of the app, and those alone:\n%s", text)
	}
	if _, err := exec.Run(t.Context(), p, r.host, quick); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	r.lab.Exec(t.Context(), []string{"zfs", "list", "-H", "-o", "name", "-r", "tank"}, nil, &out, nil)
	for _, name := range []string{"tank/other", "tank/pair/of-other", "tank/own"} {
		if !slices.Contains(strings.Fields(out.String()), name) {
			t.Errorf("%s of others is gone", name)
		}
	}
	if slices.Contains(strings.Fields(out.String()), "tank/pair/db") {
		t.Error("tank/pair/db is still there")
	}
	found, err := plan.Find(t.Context(), r.host, builtins.Kinds(), "pair")
	if err != nil || len(found) > 0 {
		t.Errorf("left of the app: %v %v", found, err)
	}
}
