package pct

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/builtins/probe"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// ready is the node that waits until the application works, notes that, and
// removes the container that this one replaced. The note lies below /run: a run
// that is cut before it makes the next one wait again, and so does a restart of
// the node.
type ready struct{ *container }

// Interruptible implements engine.Interruptible: a run that is stopped does not
// wait for an application.
func (ready) Interruptible() {}

// Patience implements engine.Patient.
func (c ready) Patience() time.Duration { return c.timeout }

// Diff implements engine.Spec.
func (c ready) Diff(now engine.State, in engine.Inputs) (engine.Diff, error) {
	f := now.(*found)
	current, previous := c.pick(f, in)
	started := in.Value(engine.Ref{Node: c.id.Node(partStart), Output: "started"})
	var d engine.Diff
	wait := engine.Change{Field: "ready", To: c.probeText()}
	switch {
	case current == nil && len(previous) > 0:
		wait.Action, wait.Why = engine.Replace, "the new container must work before the old one goes"
	case current == nil:
		wait.Action, wait.Why = engine.Create, "what uses this container waits for it"
	case started.Reveal() != "":
		wait.Action, wait.Why = engine.Update, "the container starts"
	case f.marks[markName(c.name)] != strconv.Itoa(current.VMID):
		wait.Action, wait.Why = engine.Update, notSeenReady
	}
	if wait.Action != "" {
		d.Changes = append(d.Changes, wait)
	}
	for _, g := range previous {
		if current == nil && g == previous[len(previous)-1] {
			continue // stands as Loses in the plan of create
		}
		d.Changes = append(d.Changes, engine.Change{Action: engine.Remove, Field: "previous", From: fmt.Sprintf("CT %d", g.VMID),
			Why: "it has been replaced", Loses: fmt.Sprintf("what CT %d wrote outside its mounts", g.VMID)})
	}
	d.Outputs = engine.Outputs{"address": in.Value(engine.Ref{Node: c.id.Node(partStart), Output: "address"})}
	return d, nil
}

// notSeenReady is why one waits for a container that runs: its note is gone with the
// start of the node, or a start of the container took it away.
const notSeenReady = "it has not been seen ready since it was last started"

func (c *container) stoppedByItself(vmid int, waitedFor string) error {
	return engine.WithHint(fmt.Errorf("CT %d has stopped by itself while tengil waited for %s", vmid, waitedFor),
		"all that it has printed:\n    tg logs "+c.app+"/"+c.name)
}

func (c ready) probeText() string {
	if c.probe == nil {
		return "it keeps running"
	}
	return c.probe.String()
}

// Apply implements engine.Spec.
func (c ready) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	vmid, err := vmidOf(c.container, w.In)
	if err != nil {
		return nil, err
	}
	address := w.In.Value(engine.Ref{Node: c.id.Node(partStart), Output: "address"})
	if err := c.wait(ctx, w, probe.Target{VMID: vmid, Address: address.Reveal()}); err != nil {
		return nil, err
	}
	for _, g := range w.Now.(*found).guests {
		if g.VMID == vmid {
			continue
		}
		if err := removeContainer(ctx, w.Host, c.app, g.VMID, false, w.Report); err != nil {
			return nil, fmt.Errorf("remove the replaced container: %w", err)
		}
	}
	mark := engine.File{Name: record.RunFile(c.app, markName(c.name)), Data: fmt.Appendln(nil, vmid), Perm: 0o600}
	if err := act.WriteFile(ctx, w.Host, mark); err != nil {
		return nil, fmt.Errorf("note that it is ready: %w", err)
	}
	return engine.Outputs{"address": address}, nil
}

// wait waits for the application; a failure carries what it printed.
func (c ready) wait(ctx context.Context, w engine.Work, t probe.Target) error {
	return c.withLog(ctx, w.Host, c.await(ctx, w, t))
}

// await probes until the application answers, its container stops or time is up.
func (c ready) await(ctx context.Context, w engine.Work, t probe.Target) error {
	b := backoff.NewExponentialBackOff()
	// A pause is about a quarter of what was waited before, so that an answer is not
	// seen much later than it could be.
	b.InitialInterval, b.MaxInterval, b.Multiplier = 100*time.Millisecond, 2*time.Second, 1.25
	tries := 0
	// The library would give up as soon as the next pause led beyond the limit.
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var last, stopped error
	_, err := backoff.Retry(limited, func() (struct{}, error) {
		tries++
		err := c.check(limited, w.Host, t)
		if err == nil || limited.Err() != nil {
			return struct{}{}, err
		}
		last = err
		if errors.Is(err, engine.ErrForwarding) {
			return struct{}{}, backoff.Permanent(err)
		}
		w.Report("waiting: "+firstLine(err.Error()), 0, 0)
		if running, lookErr := isRunning(ctx, w.Host, t.VMID); lookErr == nil && !running {
			stopped = c.stoppedByItself(t.VMID, c.probeText())
			return struct{}{}, backoff.Permanent(stopped)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(b), backoff.WithMaxElapsedTime(0))
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case stopped != nil:
		return stopped
	case errors.Is(last, engine.ErrForwarding):
		return last
	}
	if last == nil {
		last = err
	}
	return engine.WithHint(fmt.Errorf("not ready after %s and %d tries: %w", c.timeout, tries, last),
		"give it more time with ready_timeout, or look what it prints, and inside:\n    tg logs "+c.app+"/"+c.name+"\n    tg exec "+c.app+"/"+c.name+" -- COMMAND")
}

// steady is how long a container without a probe has to keep running: nothing
// restarts one whose program ends (no such thing in Proxmox), so what runs after
// that has not ended in between.
const steady = 2 * time.Second

// check is one try.
func (c ready) check(ctx context.Context, h engine.Host, t probe.Target) error {
	if c.probe != nil {
		return c.probe.Check(ctx, h, t)
	}
	select {
	case <-time.After(steady):
	case <-ctx.Done():
		return ctx.Err()
	}
	running, err := isRunning(ctx, h, t.VMID)
	if err == nil && !running {
		err = fmt.Errorf("CT %d is not running", t.VMID)
	}
	return err
}

func isRunning(ctx context.Context, h engine.Host, vmid int) (bool, error) {
	res, err := h.Run(ctx, engine.Cmd{Argv: []string{"pct", "status", strconv.Itoa(vmid)}, ReadOnly: true})
	if err != nil {
		return false, pve.Explain(err)
	}
	return strings.TrimSpace(string(res.Stdout)) == "status: running", nil
}

func firstLine(s string) string { line, _, _ := strings.Cut(s, "\n"); return line }
