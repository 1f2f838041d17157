package pct

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/builtins/mark"
	"github.com/tengil/tengil/builtins/once"
	"github.com/tengil/tengil/builtins/probe"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// ExecKind is the name of the recipe function.
const ExecKind = "pct_exec"

// Exec returns the kind pct_exec.
func Exec() engine.Kind {
	return engine.Kind{
		Name: ExecKind,
		Doc: "Runs a command inside a container, as its root, once it is ready. It runs once, and again when the recipe's " +
			"command changes or the container is replaced, each time unless its guard says that it is done. " +
			"`creates` needs the program test in the image.",
		Example: `pct_exec(db, ["createdb", "app"], unless = ["psql", "-d", "app", "-c", "select 1"])`,
		Params: append([]engine.Param{
			{Name: "container", Type: engine.TypeStep, Of: []string{"pct_create"}, Required: true, Position: 1,
				Doc: "Where it runs.", Example: `db`},
		}, once.Params("in the container", 2)...),
		New:      newExec,
		FindAsks: mark.FindAsks,
		Find:     mark.Find(ExecKind),
	}
}

// An execSpec is a command that must have run in a container.
type execSpec struct {
	container *Container
	node      string     // of the cluster
	vmid      engine.Ref // of the container
	mark      mark.Mark
	command   once.Command
}

func newExec(c engine.Call) (*engine.Made, error) {
	h := c.Args.Step("container")
	container, ok := h.Detail.(*Container)
	if !ok {
		return nil, engine.ArgErrorf("container", "%s is no container", h.ID)
	}
	command, name, err := once.New(c.Args)
	if err != nil {
		return nil, err
	}
	name = container.Name + "/" + name
	e := execSpec{
		container: container, node: c.Facts.Node, command: command,
		vmid: engine.Ref{Node: h.ID.Node(partCreate), Output: "vmid"},
		mark: mark.Mark{App: c.App, Step: engine.StepID(ExecKind + "/" + name)},
	}
	return &engine.Made{Name: name, Parts: []engine.Part{{
		Spec: e, Uses: append(command.Refs(), e.vmid), After: []engine.NodeID{h.ID.Node(partReady)},
	}}}, nil
}

// Lingers implements engine.Lingering: a guard does not tell of a command that is
// still at work.
func (execSpec) Lingers() {}

// Patience implements engine.Patient.
func (e execSpec) Patience() time.Duration { return e.command.Timeout }

func (e execSpec) Asks(*engine.Answers) []engine.Ask {
	return append(GuestAsks(e.node), e.mark.Ask())
}

// Observe returns the ids of those containers of that name in which the command
// has run: while one container replaces another there are two.
func (e execSpec) Observe(a *engine.Answers) (engine.State, error) {
	guests, err := GuestsOf(a, e.node)
	if err != nil {
		return nil, err
	}
	done := map[string]bool{}
	for _, g := range guests.Named(e.container.App, e.container.Name) {
		root, err := g.rootVolume()
		if err != nil {
			return nil, fmt.Errorf("CT %d: rootfs: %w", g.VMID, err)
		}
		vmid := strconv.Itoa(g.VMID)
		if done[vmid], err = e.mark.Done(a, e.words(vmid, root)...); err != nil {
			return nil, err
		}
	}
	return done, nil
}

// words describe the command and the container that it changed: one with another
// root file system does not remember it.
func (e execSpec) words(vmid string, root pve.Mount) []string {
	return append([]string{"container", vmid, root.Volume}, e.command.Words()...)
}

func (e execSpec) Diff(now engine.State, in engine.Inputs) (engine.Diff, error) {
	vmid := in.Value(e.vmid)
	if vmid.IsKnown() && now.(map[string]bool)[vmid.Reveal()] {
		return engine.Diff{}, nil
	}
	return engine.Diff{Changes: []engine.Change{{Action: engine.Create, To: e.command.String(),
		Why: "it has not run in this container yet; it is left out if " + e.command.Guard()}}}, nil
}

func (e execSpec) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	vmid, err := strconv.Atoi(w.In.Value(e.vmid).Reveal())
	if err != nil {
		return nil, fmt.Errorf("id of %s is %q; wanted a number", e.container.Name, w.In.Value(e.vmid))
	}
	data, err := act.ReadFile(ctx, w.Host, ConfigFile(vmid))
	if err != nil {
		return nil, err
	}
	config, err := pve.ParseConfig(data)
	if err != nil {
		return nil, err
	}
	root, err := (&Guest{VMID: vmid, Config: config}).rootVolume()
	if err != nil {
		return nil, fmt.Errorf("CT %d: rootfs: %w", vmid, err)
	}
	at := once.Place{Wrap: func(argv ...string) []string { return probe.ExecArgv(vmid, argv...) }, Away: away}
	if err := e.command.Run(ctx, w, at); err != nil {
		return nil, err
	}
	return engine.Outputs{}, e.mark.Set(ctx, w.Host, e.words(strconv.Itoa(vmid), root)...)
}

// away reports whether pct exec did not reach the container.
func away(err error) bool {
	return errors.Is(err, pve.ErrNotRunning) || errors.Is(err, pve.ErrNoSuchCT) || errors.Is(err, pve.ErrLocked)
}
