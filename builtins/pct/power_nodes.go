package pct

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/builtins/probe"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/record"
)

// stopping is the node that shuts a container down.
type stopping struct {
	*power
	turn Turn
}

// Patience implements engine.Patient: the deadline counts on downTime.
func (p stopping) Patience() time.Duration { return downTimeOf(p.startup) - downTime }

// Diff implements engine.Spec. The output "stopped" is "1" when it is this run
// that stops the container.
func (p stopping) Diff(now engine.State, _ engine.Inputs) (engine.Diff, error) {
	d := engine.Diff{Outputs: engine.Outputs{"stopped": engine.Known("")}}
	for _, g := range now.(*found).guests {
		if !g.Running {
			continue
		}
		change := engine.Change{Action: engine.Update, Field: "running", From: fmt.Sprintf("CT %d", g.VMID), To: "no", Why: p.why}
		if p.turn == Restart {
			change.Action = engine.Restart
			change.From, change.To = "", fmt.Sprintf("CT %d", g.VMID)
		}
		d.Changes = append(d.Changes, change)
		d.Outputs["stopped"] = engine.Known("1")
	}
	return d, nil
}

// Apply implements engine.Spec.
func (p stopping) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	for _, g := range w.Now.(*found).guests {
		if g.Running {
			if err := p.stop(ctx, w, g.VMID, g.Config); err != nil {
				return nil, err
			}
		}
	}
	return engine.Outputs{"stopped": engine.Known("1")}, nil
}

// starting is the node that starts a container.
type starting struct {
	*power
	turn Turn
}

// Diff implements engine.Spec.
func (p starting) Diff(now engine.State, in engine.Inputs) (engine.Diff, error) {
	f := now.(*found)
	d := engine.Diff{Outputs: engine.Outputs{"started": engine.Known(""), "address": engine.Unknown("after start")}}
	maps.Copy(d.Outputs, p.secrets)
	stopped := p.turn == Restart && in.Value(engine.Ref{Node: p.id.Node(partStop), Output: "stopped"}).Reveal() == "1"
	g := p.current(f)
	if g == nil {
		return d, fmt.Errorf("container %s of %s is gone", p.name, p.app)
	}
	if addr, ok := p.fixedAddress(); ok {
		d.Outputs["address"] = engine.Known(addr)
	} else if g.Running && !stopped {
		d.Outputs["address"] = engine.Known(f.address[g.VMID])
	}
	if g.Running && !stopped {
		return d, nil
	}
	d.Changes = []engine.Change{{Action: engine.Update, Field: "running", From: "no", To: fmt.Sprintf("CT %d", g.VMID), Why: p.why}}
	if why := p.unfit(f, stopped); why != "" {
		d.Changes[0] = engine.Change{Action: engine.AdoptRefused, To: fmt.Sprintf("CT %d", g.VMID), Why: why, Hint: "tg run finishes it, with the recipe " + p.source}
	}
	d.Outputs["started"] = engine.Known("1")
	return d, nil
}

// current returns the container that runs, else the newest; nil if there is none.
func (p *power) current(f *found) *Guest { return f.all.Current(p.facts.Node, p.app, p.name) }

// unfit tells why a container must not be started as it is; "" if nothing does.
// One that ran until this moment has all that it needs.
func (p *power) unfit(f *found, ran bool) string {
	switch {
	case len(f.guests) > 1:
		return fmt.Sprintf("a run was cut while CT %d replaced CT %d", f.guests[len(f.guests)-1].VMID, f.guests[0].VMID)
	case p.unfinished && !ran:
		return fmt.Sprintf("the last run of %s did not finish: the container may lack its mounts and its environment", p.app)
	}
	return ""
}

// Apply implements engine.Spec.
func (p starting) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	g := p.current(w.Now.(*found))
	if err := p.unmark(ctx, w.Host); err != nil {
		return nil, err
	}
	w.Report(fmt.Sprintf("starting CT %d", g.VMID), 0, 0)
	addr, err := p.run(ctx, w.Host, g.VMID)
	if err != nil {
		return nil, err
	}
	if err := p.roll.move(ctx, w.Host, p.container, addr); err != nil {
		return nil, err
	}
	return engine.Outputs{"address": engine.Known(addr), "started": engine.Known("1")}, nil
}

// answering is the node that waits until the application of a container works.
type answering struct{ *power }

// Interruptible implements engine.Interruptible.
func (answering) Interruptible() {}

// Patience implements engine.Patient.
func (p answering) Patience() time.Duration { return p.timeout }

// Diff implements engine.Spec.
func (p answering) Diff(now engine.State, in engine.Inputs) (engine.Diff, error) {
	f := now.(*found)
	g := p.current(f)
	change := engine.Change{Action: engine.Update, Field: "ready", To: ready{p.container}.probeText(), Why: p.why}
	switch {
	case g == nil:
		return engine.Diff{}, fmt.Errorf("container %s of %s is gone", p.name, p.app)
	case in.Value(engine.Ref{Node: p.id.Node(partStart), Output: "started"}).Reveal() == "1":
	case !p.isReady(f, g):
		change.Why = notSeenReady
	default:
		return engine.Diff{}, nil
	}
	return engine.Diff{Changes: []engine.Change{change}}, nil
}

// Apply implements engine.Spec.
func (p answering) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	vmid := p.current(w.Now.(*found)).VMID
	address := w.In.Value(engine.Ref{Node: p.id.Node(partStart), Output: "address"}).Reveal()
	if err := (ready{p.container}).wait(ctx, w, probe.Target{VMID: vmid, Address: address}); err != nil {
		return nil, err
	}
	mark := engine.File{Name: record.RunFile(p.app, markName(p.name)), Data: fmt.Appendln(nil, vmid), Perm: 0o600}
	if err := act.WriteFile(ctx, w.Host, mark); err != nil {
		return nil, fmt.Errorf("note that it is ready: %w", err)
	}
	return engine.Outputs{}, nil
}
