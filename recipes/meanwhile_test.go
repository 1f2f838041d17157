package recipes_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/plan"
)

// at does something on the node right before the program runs for the first time.
func (r *rig) at(program []string, do func()) {
	r.lab.Fault(lab.Fault{Prefix: program, Do: lab.Pause, Then: func([]string) { do() }})
}

// someone runs a program on the node, as another administrator would.
func (r *rig) someone(argv ...string) {
	r.t.Helper()
	var said strings.Builder
	if code := r.lab.Exec(context.Background(), argv, nil, &said, &said); code != 0 {
		r.t.Errorf("%v: exit status %d: %s", argv, code, said.String())
	}
}

// idOf returns the id of the container of that host name.
func (r *rig) idOf(hostname string) string {
	r.t.Helper()
	name, _ := r.confOf(hostname)
	return strings.TrimSuffix(filepath.Base(name), ".conf")
}

// What somebody else does to a container between the plan and the change is
// refused, or seen and taken into account; the container is never lost, and once
// the other one is done the next run arrives.
func TestSomeoneChangesAContainerMeanwhile(t *testing.T) {
	bigger := strings.Replace(pair, `memory = "128M"`, `memory = "256M", cores = 2`, 1)
	for _, c := range []struct {
		name  string
		do    func(r *rig, conf, id string) // right before tg changes the container
		undo  func(r *rig, conf, id string) // what the other one does later
		wants string                        // what the run says; "" if it succeeds
		keeps bool                          // the container is the same one in the end
	}{
		{"edited", func(r *rig, _, id string) { r.edit(id, "swap: 512", "swap: 700") }, nil, "", true},
		{
			"locked by a backup", func(r *rig, conf, _ string) { r.append(conf, "lock: backup\n") },
			func(r *rig, _, id string) { r.someone("pct", "unlock", id) }, "CT is locked (backup)", true,
		},
		{
			"destroyed", func(r *rig, _, id string) { r.remove(id) }, nil, "does not exist", false,
		},
		{
			"migrated", func(r *rig, conf, id string) { r.move(conf, "pve2") },
			func(r *rig, conf, id string) { r.move(strings.Replace(conf, "/pve/lxc/", "/pve2/lxc/", 1), "pve") }, "does not exist", true,
		},
		{
			"its config is locked for long", func(r *rig, _, id string) { r.holdLock(id) }, nil, "", true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "9.2")
			r.mustRun("pair.star", pair, nil)
			conf, _ := r.confOf("pair-db")
			id := r.idOf("pair-db")
			r.at([]string{"pct", "set", id}, func() { c.do(r, conf, id) })
			_, err := r.run("pair.star", bigger, nil, quick)
			switch {
			case c.wants == "" && err != nil:
				t.Errorf("the run failed: %v", err)
			case c.wants != "" && (err == nil || !strings.Contains(err.Error(), c.wants)):
				t.Errorf("the run said %v, wanted %q", err, c.wants)
			}
			if c.undo != nil {
				// As long as it lasts no run makes a second one.
				_, again := r.run("pair.star", bigger, nil, quick)
				if again == nil {
					t.Error("a run succeeded meanwhile")
				} else if n := strings.Count(again.Error(), "pct_create/db"); n != 1 {
					t.Errorf("it says so %d times", n)
				}
				c.undo(r, conf, id)
			}
			r.mustRun("pair.star", bigger, nil)
			if p := r.mustPlan("pair.star", bigger, nil); !p.Empty() {
				t.Errorf("still to do:\n%s", plan.Text(p))
			}
			if n := r.guests("pair-db", "running"); n != 1 {
				t.Errorf("%d containers pair-db run", n)
			}
			if now := r.idOf("pair-db"); c.keeps && now != id {
				t.Errorf("the container was %s and is %s", id, now)
			}
		})
	}
}

func (r *rig) edit(id, old, new string) {
	r.t.Helper()
	name := filepath.Join(r.lab.Root(), "etc/pve/nodes/pve/lxc", id+".conf")
	data, err := os.ReadFile(name)
	if err != nil || !strings.Contains(string(data), old) {
		r.t.Errorf("%s has no %q: %v\n%s", name, old, err, data)
	}
	r.put(name, strings.Replace(string(data), old, new, 1))
}

func (r *rig) append(name, text string) {
	data, err := os.ReadFile(name)
	if err != nil {
		r.t.Error(err)
	}
	r.put(name, string(data)+text)
}

// remove destroys a running container.
func (r *rig) remove(id string) { r.someone("pct", "destroy", id, "--force", "1") }

// move gives the config to another node of the cluster, as a migration does.
func (r *rig) move(conf, node string) {
	dir := filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(conf))), node, "lxc")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.t.Error(err)
	}
	if err := os.Rename(conf, filepath.Join(dir, filepath.Base(conf))); err != nil {
		r.t.Error(err)
	}
}

// holdLock keeps the config's lock until the second try of the run.
func (r *rig) holdLock(id string) {
	r.lab.Fault(lab.Fault{Prefix: []string{"pct", "set", id}, Do: lab.Fail, Exit: 255,
		Stderr: "trying to acquire lock...\ncan't lock file '/run/lock/lxc/pve-config-" + id + ".lock' - got timeout\n"})
}
