package recipes_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/builtins/capacity"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/lab/labtest"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/recipe"
	"github.com/tengil/tengil/engine/sshhost"
	"github.com/tengil/tengil/recipes"
)

// releases are the releases of Proxmox VE that the lab models. They differ in what is
// said, so that the race detector gets the newest only; without it both run.
var releases = func() []string {
	if labtest.Raced {
		return []string{"9.2"}
	}
	return []string{"9.1", "9.2"}
}()

// raceSkips reports whether the race detector goes without the case number i of many
// that take the same way through tg and the lab; it takes each fourth.
func raceSkips(i int) bool { return labtest.Raced && i%4 != 0 }

// quick is a run that does not pause long before it tries again.
var quick = exec.Options{Pause: 5 * time.Millisecond}

// A rig is a lab node and a connection to it, as a workstation has it.
type rig struct {
	t    *testing.T
	lab  *lab.Lab
	host *sshhost.Host

	choices engine.Choices // of the host's owner
}

func newRig(t *testing.T, release string) *rig {
	t.Helper()
	return openRig(t, lab.Options{PVE: release}, engine.Choices{})
}

// openRig opens a lab in o.Dir, by default a fresh one, for a host of such choices.
func openRig(t *testing.T, o lab.Options, choices engine.Choices) *rig {
	t.Helper()
	if o.Dir == "" {
		o.Dir = labtest.TempDir(t)
	}
	l, err := lab.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, lab: l, choices: choices}
	t.Cleanup(func() {
		r.close()
		*r = rig{t: t} // a test keeps its cleanups, with what they refer to, until its parent ends
	})
	r.connect()
	return r
}

// close ends the connection and the lab, once nobody is connected any more. It may
// be called twice.
func (r *rig) close() {
	r.t.Helper()
	r.host.Close()
	r.gone()
	if err := errors.Join(r.host.Close(), r.lab.Close()); err != nil {
		r.t.Error(err)
	}
}

// gone waits until the node knows that nobody is connected any more.
func (r *rig) gone() {
	r.t.Helper()
	if !until(func() bool { return r.lab.Sessions() == 0 }) {
		r.t.Errorf("%d sessions stay open", r.lab.Sessions())
	}
}

// until waits for something that must come, and reports whether it did.
func until(done func() bool) bool {
	for range 10000 {
		if done() {
			return true
		}
		<-time.After(time.Millisecond)
	}
	return done()
}

// connect opens a connection that knows nothing of earlier ones.
func (r *rig) connect() {
	r.t.Helper()
	e := r.lab.Endpoint()
	h, err := sshhost.DialEndpoint(r.t.Context(), sshhost.Endpoint{Addr: e.Addr, User: e.User, HostKey: e.HostKey, KeyFile: e.ClientKey, Name: "lab"}, sshhost.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.host = h
}

func (r *rig) facts() *engine.Facts {
	r.t.Helper()
	f, err := factsOf(r.t.Context(), r.host, r.choices)
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

func factsOf(ctx context.Context, h engine.Host, choices engine.Choices) (*engine.Facts, error) {
	a, err := h.Batch(ctx, pve.FactAsks())
	if err != nil {
		return nil, err
	}
	return pve.ParseFacts(a, choices)
}

// load evaluates a recipe of the catalog, or src where it is given.
func load(ctx context.Context, f *engine.Facts, name, src string, values map[string]string) (*engine.Graph, error) {
	var fsys fs.FS = recipes.FS
	if src != "" {
		fsys = oneFile{fsys, name, src}
	}
	r, err := recipe.Load(ctx, name, recipe.Options{Kinds: builtins.Kinds(), Constructors: builtins.Constructors(), Facts: f, FS: fsys, Values: values})
	if err != nil {
		return nil, err
	}
	return r.Graph, nil
}

// oneFile is a catalog in which one file has another text.
type oneFile struct {
	fs.FS
	name, text string
}

func (o oneFile) Open(name string) (fs.File, error) {
	if name != o.name {
		return o.FS.Open(name)
	}
	dir, err := os.MkdirTemp("", "recipe")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte(o.text), 0o600); err != nil {
		return nil, err
	}
	return os.Open(filepath.Join(dir, "f"))
}

func (r *rig) plan(name, src string, values map[string]string) (*engine.Plan, error) {
	r.t.Helper()
	f := r.facts()
	g, err := load(r.t.Context(), f, name, src, values)
	if err != nil {
		return nil, err
	}
	return plan.Build(r.t.Context(), g, r.host, f, plan.Options{Kinds: builtins.Kinds(), Checks: []engine.Check{capacity.Check()}, Pause: time.Millisecond})
}

func (r *rig) mustPlan(name, src string, values map[string]string) *engine.Plan {
	r.t.Helper()
	p, err := r.plan(name, src, values)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// run plans and executes.
func (r *rig) run(name, src string, values map[string]string, o exec.Options) (exec.Summary, error) {
	r.t.Helper()
	p, err := r.plan(name, src, values)
	if err != nil {
		return exec.Summary{}, err
	}
	return exec.Run(r.t.Context(), p, r.host, o)
}

func (r *rig) mustRun(name, src string, values map[string]string) exec.Summary {
	r.t.Helper()
	s, err := r.run(name, src, values, exec.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// mutations returns the programs that may have changed the node since mark.
func (r *rig) mutations(mark int) []string {
	var out []string
	for _, e := range r.lab.Log()[mark:] {
		line := strings.Join(e.Argv, " ")
		// A batch keeps answers in a directory of its own while it runs.
		if e.Mutating && !strings.Contains(line, "/tmp/tmp.") && e.Argv[0] != "mktemp" && line != "> /dev/null" {
			out = append(out, line)
		}
	}
	return out
}

// files returns all files of the node's /etc/pve, /var/lib and /run by path.
func (r *rig) files(dirs ...string) map[string]string {
	r.t.Helper()
	all := map[string]string{}
	for _, dir := range dirs {
		root := filepath.Join(r.lab.Root(), dir)
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if p == root && errors.Is(err, fs.ErrNotExist) {
				return fs.SkipAll // not there yet
			}
			// pmxcfs makes .vmlist anew whenever it is read.
			if err != nil || !d.Type().IsRegular() || d.Name() == ".vmlist" {
				return err
			}
			data, err := os.ReadFile(p)
			all["/"+strings.TrimPrefix(p, r.lab.Root()+"/")] = string(data)
			return err
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	return all
}

func shipped(t *testing.T) []string {
	t.Helper()
	names, err := fs.Glob(recipes.FS, "*.star")
	if err != nil || len(names) < 3 {
		t.Fatalf("recipes: %v %v", names, err)
	}
	return names
}

func source(t *testing.T, name string) string {
	t.Helper()
	data, err := fs.ReadFile(recipes.FS, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
