// Package kindtest is the conformance suite of step kinds. It runs small recipes
// against the lab, through SSH, and checks what every kind promises: it observes
// without changing anything, its plan is repeatable and says why, what it has
// applied it finds, and after any failure the next run arrives at the same end.
package kindtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/lab/labtest"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/recipe"
	"github.com/tengil/tengil/engine/sshhost"
)

// A Language is what recipes of cases may call.
type Language struct {
	Kinds        []engine.Kind
	Constructors []engine.Constructor
	Catalogs     map[string]fs.FS  // that recipes load from by name
	Files        map[string]string // beside the recipes
}

// catalog is where app.star has that text.
func (l Language) catalog(src string) fs.FS {
	files := fstest.MapFS{"app.star": {Data: []byte(src)}}
	for name, text := range l.Files {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

// A Case is a recipe that makes use of one kind.
type Case struct {
	Name   string // a sentence
	Kind   string // the kind that it is about
	Recipe string // Starlark below recipe(name = "app")
	// Base, if set, is a recipe that the node is brought to beforehand, without
	// faults: it keeps what other cases check out of this one.
	Base string
	// Change, if set, is a second recipe that the node is brought to afterwards.
	Change string
	// Setup, if set, prepares the node.
	Setup func(t *testing.T, l *lab.Lab)
	// PVE is the release of the lab; "" is the newest.
	PVE string
	// Storage is what the lab keeps data on; "" is ZFS (lab.Options.Storage).
	Storage string
	// Choices of the host's owner.
	Choices engine.Choices
}

// Run checks every case.
func Run(t *testing.T, lang Language, cases []Case) {
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			s := suite{lang, c, sample}
			var commands, changing []string
			t.Run("converges", func(t *testing.T) { commands, changing = s.converges(t) })
			if t.Failed() {
				return
			}
			s.breaks(t, commands)
			if c.Change != "" {
				t.Run("the change", func(t *testing.T) { s.changing().breaks(t, changing) })
			}
		})
	}
}

type suite struct {
	lang Language
	Case
	sample int // at how many commands faults are set
}

// changing is the suite whose recipe is the change.
func (s suite) changing() suite {
	c := s.Case
	c.Base, c.Recipe, c.Change = c.Recipe, c.Change, ""
	return suite{s.lang, c, changeSample}
}

// breaks runs the recipe with faults.
func (s suite) breaks(t *testing.T, commands []string) {
	t.Run("arrives after a failed command", func(t *testing.T) { t.Parallel(); s.survives(t, commands, lab.Before, lab.Fail) })
	t.Run("arrives after a lost connection", func(t *testing.T) { t.Parallel(); s.survives(t, commands, lab.After, lab.Cut) })
	t.Run("stops when cancelled and arrives later", func(t *testing.T) { t.Parallel(); s.cancels(t, commands) })
}

// A node is a lab with a connection to it.
type node struct {
	t    *testing.T
	lang Language
	lab  *lab.Lab
	host engine.Host

	choices engine.Choices
}

func (s suite) open(t *testing.T) *node {
	t.Helper()
	l, err := lab.Open(t.Context(), lab.Options{Dir: labtest.TempDir(t), PVE: s.PVE, Storage: s.Storage})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		labtest.Unused(t, l)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if s.Setup != nil {
		s.Setup(t, l)
	}
	e := l.Endpoint()
	h, err := sshhost.DialEndpoint(t.Context(), sshhost.Endpoint{Addr: e.Addr, User: e.User, HostKey: e.HostKey, KeyFile: e.ClientKey, Name: "lab"}, sshhost.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() }) // a fault may have broken the connection
	n := &node{t, s.lang, l, h, s.Choices}
	if s.Base != "" {
		if err := n.run(t.Context(), n.plan(s.Base), nil); err != nil {
			t.Fatalf("run of the base: %v", err)
		}
	}
	return n
}

// facts reads the facts of the node; the connection may have just been cut.
func (n *node) facts() *engine.Facts {
	n.t.Helper()
	var err error
	for range 3 {
		var a *engine.Answers
		if a, err = n.host.Batch(n.t.Context(), pve.FactAsks()); err != nil {
			continue
		}
		f, err := pve.ParseFacts(a, n.choices)
		if err != nil {
			n.t.Fatal(err)
		}
		return f
	}
	n.t.Fatal(err)
	return nil
}

// plan evaluates the recipe and compares it with the node.
func (n *node) plan(text string) *engine.Plan {
	n.t.Helper()
	facts := n.facts()
	src := "recipe(name = \"app\")\n" + text
	r, err := recipe.Load(n.t.Context(), "app.star", recipe.Options{
		Kinds: n.lang.Kinds, Constructors: n.lang.Constructors, Facts: facts,
		FS: n.lang.catalog(src), Catalogs: n.lang.Catalogs,
	})
	if err != nil {
		n.t.Fatalf("evaluate:\n%s\n%v", src, err)
	}
	var p *engine.Plan
	for range 3 { // a fault may have just cut the connection
		p, err = plan.Build(n.t.Context(), r.Graph, n.host, facts, plan.Options{Kinds: n.lang.Kinds})
		if !errors.Is(err, engine.ErrTransient) {
			break
		}
	}
	if err != nil {
		n.t.Fatalf("plan: %v", err)
	}
	return p
}

func (n *node) run(ctx context.Context, p *engine.Plan, cut <-chan struct{}) error {
	_, err := exec.Run(ctx, p, n.host, exec.Options{Cut: cut, Pause: time.Millisecond})
	return err
}

// mutating returns the commands that changed the node since the log had from entries.
func (n *node) mutating(from int) []string {
	var out []string
	for _, e := range n.lab.Log()[from:] {
		if e.Mutating && !housekeeping(e.Argv) {
			out = append(out, strings.Join(e.Argv, " "))
		}
	}
	return out
}

// housekeeping are commands of the transport itself, which change nothing that
// a kind is about.
func housekeeping(argv []string) bool {
	if slices.Contains([]string{"sh", "flock", "env", "kill", "trap", "umask"}, path.Base(argv[0])) {
		return true
	}
	// A batch keeps its answers in a directory of its own below /tmp.
	return argv[0] == "mktemp" && slices.Equal(argv[1:], []string{"-d"}) || argv[0] == "rm" && strings.HasPrefix(argv[len(argv)-1], "/tmp/tmp.")
}

// converges checks a run without faults and returns the commands by which the
// recipe, and then the second one, changed the node.
func (s suite) converges(t *testing.T) (commands, changing []string) {
	n := s.open(t)
	before := len(n.lab.Log())
	p := n.plan(s.Recipe)
	if got := n.mutating(before); len(got) > 0 {
		t.Errorf("observing changed the node:\n%s", strings.Join(got, "\n"))
	}
	checkPlan(t, p)
	if diff := cmp.Diff(changes(p), changes(n.plan(s.Recipe))); diff != "" {
		t.Errorf("planned again, without a change of the node (-first +second):\n%s", diff)
	}
	before = len(n.lab.Log())
	if err := n.run(t.Context(), p, nil); err != nil {
		t.Fatalf("run: %v", err)
	}
	commands = n.mutating(before)
	n.settled(s.Recipe)
	if s.Change != "" {
		p := n.plan(s.Change)
		checkPlan(t, p)
		if p.Empty() {
			t.Error("the second recipe changes nothing")
		}
		before = len(n.lab.Log())
		if err := n.run(t.Context(), p, nil); err != nil {
			t.Fatalf("run of the second recipe: %v", err)
		}
		changing = n.mutating(before)
		n.settled(s.Change)
	}
	return commands, changing
}

// settled checks that nothing is left to do, and that doing nothing changes nothing.
func (n *node) settled(text string) {
	n.t.Helper()
	before := len(n.lab.Log())
	p := n.plan(text)
	if !p.Empty() {
		n.t.Errorf("after a run there is still to do:\n%s", strings.Join(changes(p), "\n"))
		return
	}
	if p.Rounds > 2 {
		n.t.Errorf("a plan with nothing to do takes %d round trips; wanted 2 at most", p.Rounds)
	}
	if err := n.run(n.t.Context(), p, nil); err != nil {
		n.t.Errorf("run with nothing to do: %v", err)
	}
	if got := n.mutating(before); len(got) > 0 {
		n.t.Errorf("a run with nothing to do changed the node:\n%s", strings.Join(got, "\n"))
	}
}

// checkPlan checks what every plan must tell.
func checkPlan(t *testing.T, p *engine.Plan) {
	t.Helper()
	for _, n := range p.Nodes {
		for _, c := range n.Diff.Changes {
			if c.Why == "" {
				t.Errorf("%s: %s %s says no why", n.ID, c.Action, c.Field)
			}
			if destroys(n.ID, c) && c.Loses == "" {
				t.Errorf("%s: %s %s does not say what it destroys", n.ID, c.Action, c.Field)
			}
			if c.Action == engine.AdoptRefused && c.Hint == "" {
				t.Errorf("%s: refused without a way to adopt", n.ID)
			}
		}
	}
	for _, o := range p.Orphans {
		if holdsData(o.Step) && !o.Keep && o.Loses == "" {
			t.Errorf("%s: removing %s does not say what that destroys", o.Step, o.What)
		}
	}
}

// destroys reports whether a change does away with a container or a dataset. A
// replacement is told by the part that makes the new one; the parts after it
// follow. Removing a field, such as a mount, leaves what it named.
func destroys(id engine.NodeID, c engine.Change) bool {
	if !holdsData(id.Step()) {
		return false
	}
	switch c.Action {
	case engine.Replace:
		return id.Part() == "" || id.Part() == "create"
	case engine.Remove:
		return c.Field == "" || c.Field == "previous"
	}
	return false
}

func holdsData(step engine.StepID) bool {
	return slices.Contains([]string{"pct_create", "zfs_dataset"}, step.Kind())
}

// changes prints what a plan would do.
func changes(p *engine.Plan) []string {
	var out []string
	for _, n := range p.Nodes {
		for _, c := range n.Diff.Changes {
			out = append(out, fmt.Sprintf("%s: %s %s %q -> %q (%s)", n.ID, c.Action, c.Field, c.From, c.To, c.Why))
		}
		for _, k := range slices.Sorted(maps.Keys(n.Diff.Outputs)) {
			out = append(out, fmt.Sprintf("%s: output %s = %s", n.ID, k, n.Diff.Outputs[k]))
		}
	}
	for _, o := range p.Orphans {
		out = append(out, fmt.Sprintf("orphan %s %s", o.Step, o.What))
	}
	return out
}
