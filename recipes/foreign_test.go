package recipes_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/plan"
)

// confOf returns the path, on the lab's machine, of the config of the container
// with that host name, and its text.
func (r *rig) confOf(hostname string) (name, text string) {
	r.t.Helper()
	for file, data := range r.files("etc/pve/nodes") {
		if strings.Contains(data, "hostname: "+hostname+"\n") {
			return filepath.Join(r.lab.Root(), file), data
		}
	}
	r.t.Fatalf("no container %s", hostname)
	return "", ""
}

func (r *rig) put(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) destroyPlan(data bool) *engine.Plan {
	r.t.Helper()
	p, err := plan.Destroy(r.t.Context(), r.host, builtins.Kinds(), "pair", data)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// What somebody else does to containers on the node must not make tengil destroy,
// double or forget one.
func TestWhatOthersDoToContainers(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, r *rig)
		check func(t *testing.T, r *rig, p *engine.Plan)
	}{
		{
			"a copy under another id is not ours",
			func(t *testing.T, r *rig) {
				name, text := r.confOf("pair-db")
				for _, id := range []string{"99", "900"} {
					r.put(filepath.Join(filepath.Dir(name), "1"+id+".conf"), text)
				}
			},
			func(t *testing.T, r *rig, p *engine.Plan) {
				if !p.Empty() {
					t.Errorf("there is something to do:\n%s", plan.Text(p))
				}
			},
		},
		{
			"tags that were taken off are put on again",
			func(t *testing.T, r *rig) {
				name, text := r.confOf("pair-db")
				r.put(name, strings.Replace(text, "tags: pair;tengil\n", "", 1))
			},
			func(t *testing.T, r *rig, p *engine.Plan) {
				if got := strings.Join(fieldsOf(p), ", "); got != "pct_create/db tags" {
					t.Errorf("changes %q", got)
				}
			},
		},
		{
			"a note beside the machine line changes nothing",
			func(t *testing.T, r *rig) {
				name, text := r.confOf("pair-db")
				r.put(name, "#my own note\n"+text)
			},
			func(t *testing.T, r *rig, p *engine.Plan) {
				if !p.Empty() {
					t.Errorf("there is something to do:\n%s", plan.Text(p))
				}
			},
		},
		{
			"a description that was replaced is refused, not doubled",
			func(t *testing.T, r *rig) {
				name, text := r.confOf("pair-db")
				var kept []string
				for line := range strings.Lines(text) {
					if !strings.HasPrefix(line, "#") {
						kept = append(kept, line)
					}
				}
				r.put(name, "#all mine\n"+strings.Join(kept, ""))
			},
			func(t *testing.T, r *rig, p *engine.Plan) {
				errs := p.Refused()
				if len(errs) != 1 || !strings.Contains(errs[0].Error(), "not its machine line") || !strings.Contains(errs[0].Error(), "pct set") {
					t.Errorf("refused: %v", errs)
				}
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "9.2")
			r.mustRun("pair.star", pair, nil)
			c.spoil(t, r)
			c.check(t, r, r.mustPlan("pair.star", pair, nil))
		})
	}
}

// A volume that a container owns besides its root is data, also where only a
// snapshot still names it: pct destroy would take it along.
func TestDestroyRefusesVolumesThatItDidNotMake(t *testing.T) {
	t.Parallel()
	r := newRig(t, "9.2")
	r.mustRun("pair.star", pair, nil)
	name, text := r.confOf("pair-web")
	r.put(name, text+"\n[before]\nmp5: local-zfs:subvol-77-disk-5,mp=/data,size=1G\nsnaptime: 1\n")
	_, err := exec.Run(t.Context(), r.destroyPlan(false), r.host, quick)
	if err == nil || !strings.Contains(err.Error(), "owns volume local-zfs:subvol-77-disk-5") {
		t.Errorf("error is %v", err)
	}
	if _, err := os.Stat(name); err != nil {
		t.Errorf("the container is gone: %v", err)
	}
}

// A creation that was killed half way has no identity yet; what it left is found
// by its intent.
func TestDestroyRemovesWhatACutCreationLeft(t *testing.T) {
	t.Parallel()
	r := newRig(t, "9.2")
	r.lab.Fault(lab.Fault{Prefix: []string{"pct", "create"}, When: lab.During, Do: lab.Kill})
	if _, err := r.run("pair.star", pair, nil, quick); err == nil {
		t.Fatal("the run did not notice that pct create was killed")
	}
	if len(r.files("etc/pve/nodes")) == 0 {
		t.Fatal("the killed pct create left nothing: the test tests nothing")
	}
	p := r.destroyPlan(true)
	if _, err := exec.Run(t.Context(), p, r.host, quick); err != nil {
		t.Fatal(err)
	}
	for name := range r.files("etc/pve/nodes", "etc/pve/priv") {
		t.Errorf("%s is left", name)
	}
	var out strings.Builder
	r.lab.Exec(t.Context(), []string{"zfs", "list", "-H", "-o", "name"}, nil, &out, nil)
	if strings.Contains(out.String(), "subvol") || strings.Contains(out.String(), "tank/pair") {
		t.Errorf("datasets are left:\n%s", out.String())
	}
}
