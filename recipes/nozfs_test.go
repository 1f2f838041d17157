package recipes_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/lab/labtest"
	"github.com/tengil/tengil/engine/plan"
)

// newDirRig is a node without ZFS that keeps data in /srv/data.
func newDirRig(t *testing.T, storage string) *rig {
	t.Helper()
	r := openRig(t, lab.Options{Storage: storage}, engine.Choices{Data: "/srv/data"})
	if err := os.Mkdir(filepath.Join(r.lab.Root(), "srv/data"), 0o755); err != nil {
		t.Fatal(err)
	}
	return r
}

// Each recipe that ships runs to healthy on nodes without ZFS, and then there is
// nothing to do: at most three round trips tell that, and nothing is changed.
func TestRecipesRunWithoutZFS(t *testing.T) {
	for _, storage := range []string{"dir", "lvmthin"} {
		for i, name := range shipped(t) {
			if raceSkips(i) {
				continue
			}
			t.Run(storage+" "+name, func(t *testing.T) {
				t.Parallel()
				r := newDirRig(t, storage)
				r.mustRun(name, "", minimal(name))
				mark, trips := len(r.lab.Log()), r.host.RoundTrips()
				before := r.files("etc", "var/lib/tengil", "run", "srv")
				p := r.mustPlan(name, "", minimal(name))
				if !p.Empty() {
					t.Errorf("not a no-op:\n%s", plan.Text(p))
				}
				if n := r.host.RoundTrips() - trips; n > 3 {
					t.Errorf("%d round trips, want at most 3", n)
				}
				if did := r.mutations(mark); len(did) > 0 {
					t.Errorf("looking changed the node:\n%s", strings.Join(did, "\n"))
				}
				if diff := cmp.Diff(before, r.files("etc", "var/lib/tengil", "run", "srv")); diff != "" {
					t.Errorf("files changed (-before +after):\n%s", diff)
				}
			})
		}
	}
}

// Promises 1 and 5 without ZFS: whoever has seen nothing of a host, and knows
// nothing of its owner's choices, finds the data; nothing but its removal by name
// removes it.
func TestDirectoriesAreFoundAndOutliveContainers(t *testing.T) {
	t.Parallel()
	r := newDirRig(t, "lvmthin")
	r.mustRun("immich.star", "", nil)
	photo := filepath.Join(r.lab.Root(), "srv/data/photos/cat.jpg")
	if err := os.WriteFile(photo, []byte("cat"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.mustRun("immich.star", "", map[string]string{"release": "v3.0.0"}) // replaces containers
	r.connect()
	r.choices = engine.Choices{}
	destroy := func(data bool) error {
		p, err := plan.Destroy(t.Context(), r.host, builtins.Kinds(), "immich", data)
		if err != nil {
			t.Fatal(err)
		}
		got := map[engine.StepID]bool{}
		for _, o := range p.Orphans {
			got[o.Step] = true
		}
		for _, want := range []engine.StepID{"zfs_dataset/data/immich/db", "zfs_dataset/data/photos"} {
			if !got[want] {
				t.Errorf("%s is not found", want)
			}
		}
		_, err = exec.Run(t.Context(), p, r.host, quick)
		return err
	}
	if err := destroy(false); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(photo); err != nil || string(data) != "cat" {
		t.Fatalf("the photo is %q, %v", data, err)
	}
	r.choices = engine.Choices{Data: "/srv/data"}
	r.mustRun("immich.star", "", nil)
	unprotected := strings.ReplaceAll(source(t, "immich.star"), ", protect = True", "")
	r.mustRun("immich.star", unprotected, nil)
	if data, err := os.ReadFile(photo); err != nil || string(data) != "cat" {
		t.Fatalf("the photo is %q, %v", data, err)
	}
	if err := destroy(true); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(r.lab.Root(), "srv/data"))
	if err != nil || len(left) > 0 {
		t.Errorf("left of the data: %v, %v", left, err)
	}
	if marks := r.files("etc/pve/priv"); len(marks) > 0 {
		t.Errorf("left of the app's marks: %v", marks)
	}
}

// Promise 4 without ZFS: whenever tg is killed, the next run arrives at the same
// end, of a fresh run and of the removal of everything.
func TestCrashOnlyWithoutZFS(t *testing.T) {
	onDir := strings.ReplaceAll(pair, `"tank/`, `"data/`)
	run := func(r *rig, m *mortal, remove bool) error {
		ctx, dead := context.WithCancel(t.Context())
		defer dead()
		m.dead = dead
		p, err := r.plan("pair.star", onDir, nil)
		if remove {
			p, err = plan.Destroy(ctx, r.host, builtins.Kinds(), "pair", true)
		}
		if err != nil {
			return err
		}
		o := quick
		o.Cut = ctx.Done()
		_, err = exec.Run(ctx, p, m, o)
		return err
	}
	disks := regexp.MustCompile(`vm-\d+-disk-\d+`)
	end := func(r *rig) map[string]string {
		r.later()
		end := map[string]string{}
		for name, text := range r.end() {
			end[disks.ReplaceAllString(name, "…")] = disks.ReplaceAllString(text, "…")
		}
		for name := range r.files("srv/data") {
			end["file "+disks.ReplaceAllString(name[:min(len(name), 30)], "…")] = "is there"
		}
		return end
	}
	for _, remove := range []bool{false, true} {
		prepared := func(t *testing.T) *rig {
			r := newDirRig(t, "lvmthin")
			if remove {
				r.mustRun("pair.star", onDir, nil)
			}
			return r
		}
		t.Run(fmt.Sprintf("remove=%v", remove), func(t *testing.T) {
			t.Parallel()
			whole := prepared(t)
			count := &mortal{Host: whole.host, at: never}
			if err := run(whole, count, remove); err != nil {
				t.Fatal(err)
			}
			want := end(whole)
			step := 1
			switch {
			case labtest.Raced:
				step = 27
			case testing.Short():
				step = 9
			case os.Getenv("EXHAUSTIVE") != "1":
				step = 3
			}
			for at := 1; at <= count.calls; at += step {
				for _, after := range []bool{false, true} {
					t.Run(fmt.Sprintf("call %d after=%v", at, after), func(t *testing.T) {
						t.Parallel()
						r := prepared(t)
						if err := run(r, &mortal{Host: r.host, at: at, after: after}, remove); err == nil && !after {
							t.Fatal("the run did not notice that it was killed")
						}
						r.host.Close() // as the connection of a killed program ends
						r.connect()
						if err := run(r, &mortal{Host: r.host, at: never}, remove); err != nil {
							t.Fatalf("the next run: %v", err)
						}
						if diff := cmp.Diff(want, end(r)); diff != "" {
							t.Errorf("another end (-whole +cut):\n%s", diff)
						}
					})
				}
			}
		})
	}
}
