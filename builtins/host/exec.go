package host

import (
	"context"
	"errors"
	"time"

	"github.com/tengil/tengil/builtins/mark"
	"github.com/tengil/tengil/builtins/once"
	"github.com/tengil/tengil/engine"
)

// ExecKind is the name of the recipe function.
const ExecKind = "node_exec"

// Exec returns the kind node_exec.
func Exec() engine.Kind {
	return engine.Kind{
		Name: ExecKind,
		Doc: "Runs a command on the node, as root, once. With `creates` it runs whenever that path is missing; with `unless` " +
			"it runs until it has succeeded once, and again when the recipe's command changes, unless the guard succeeds.",
		Example: `node_exec(["/usr/sbin/modprobe", "nct6775"], creates = "/sys/module/nct6775")`,
		Params: append(once.Params("on the node", 1), engine.Param{
			Name: "after", Type: engine.TypeSteps, Doc: "Steps that must be done first.", Example: `[db]`,
		}),
		New:      newExec,
		FindAsks: mark.FindAsks,
		Find:     mark.Find(ExecKind),
	}
}

// An execSpec is a command that must have run.
type execSpec struct {
	mark    mark.Mark
	command once.Command
}

func newExec(c engine.Call) (*engine.Made, error) {
	command, name, err := once.New(c.Args)
	if err != nil {
		return nil, err
	}
	part := engine.Part{Uses: command.Refs()}
	for _, h := range c.Args.Steps("after") {
		part.After = append(part.After, Last(h))
	}
	part.Spec = execSpec{mark.Mark{App: c.App, Step: engine.StepID(ExecKind + "/" + name)}, command}
	return &engine.Made{Name: name, Parts: []engine.Part{part}}, nil
}

// Last returns the node that ends a step: of a container the one that is ready.
func Last(h *engine.Handle) engine.NodeID {
	if h.ID.Kind() == "pct_create" {
		return h.ID.Node("ready")
	}
	return h.ID.Node("")
}

func (e execSpec) createsAsk() engine.Ask {
	return engine.AskRun("stat", "-c", "%F", e.command.Creates)
}

// Lingers implements engine.Lingering: a guard does not tell of a command that is
// still at work.
func (execSpec) Lingers() {}

// Patience implements engine.Patient.
func (e execSpec) Patience() time.Duration { return e.command.Timeout }

func (e execSpec) Asks(*engine.Answers) []engine.Ask {
	if e.command.Creates != "" {
		return []engine.Ask{e.createsAsk()}
	}
	return []engine.Ask{e.mark.Ask()}
}

// Observe returns whether the command is done.
func (e execSpec) Observe(a *engine.Answers) (engine.State, error) {
	if e.command.Creates == "" {
		return e.mark.Done(a, e.command.Words()...)
	}
	err := a.Get(e.createsAsk()).Err
	var exit *engine.ExitError
	if errors.As(err, &exit) {
		return false, nil
	}
	return err == nil, err
}

func (e execSpec) Diff(now engine.State, _ engine.Inputs) (engine.Diff, error) {
	if now.(bool) {
		return engine.Diff{}, nil
	}
	return engine.Diff{Changes: []engine.Change{{Action: engine.Create, To: e.command.String(),
		Why: "it has not run yet; it is left out if " + e.command.Guard()}}}, nil
}

func (e execSpec) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	if err := e.command.Run(ctx, w, once.Place{Wrap: func(argv ...string) []string { return argv }}); err != nil {
		return nil, err
	}
	if e.command.Creates != "" {
		return engine.Outputs{}, nil
	}
	return engine.Outputs{}, e.mark.Set(ctx, w.Host, e.command.Words()...)
}
