package record

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// SecretKind is the step kind whose names Record.Secrets holds.
const SecretKind = "secret"

// A Run keeps what the node remembers of an app in step with a plan that is carried
// out: Begin, then the plan, then End. It may be cut anywhere between.
type Run struct {
	host engine.Host
	plan *engine.Plan
	o    RunOptions
}

// RunOptions say what a run leaves.
type RunOptions struct {
	// Record is what the node is to remember of the app, besides what becomes of the
	// run; nil: nothing new. With it the plan's Seen must answer PrivGlob of the app.
	Record *Record
	Forget bool   // the node is to forget the app, if nothing of it stays
	Who    string // runs it
}

// Begin notes on the node that the plan is being carried out.
func Begin(ctx context.Context, h engine.Host, p *engine.Plan, o RunOptions) (*Run, error) {
	r := &Run{h, p, o}
	if o.Forget {
		if err := r.forgetSecrets(ctx); err != nil {
			return nil, err
		}
	}
	if o.Record == nil {
		return r, nil
	}
	if err := o.Record.keepSealKey(p.Seen); err != nil {
		return nil, err
	}
	o.Record.Unfinished, o.Record.Secrets = true, r.secrets(nil)
	return r, remember(ctx, h, o.Record, RunBegins, o.Who)
}

// End notes how it ended: with what outputs, which nodes did what they had to, and
// the error, which it returns with those of its own.
func (r *Run) End(ctx context.Context, outputs []engine.PlanOutput, done func(engine.NodeID) bool, err error) error {
	if r.o.Forget && err == nil {
		err = Forget(ctx, r.host, r.plan)
	}
	if r.o.Record == nil {
		return err
	}
	// What was done is remembered also when the rest was called off.
	return errors.Join(err, r.remember(context.WithoutCancel(ctx), outputs, done, err))
}

func (r *Run) remember(ctx context.Context, outputs []engine.PlanOutput, done func(engine.NodeID) bool, err error) error {
	rec := r.o.Record
	rec.Outputs, rec.Secrets, rec.Unfinished = plain(outputs), r.secrets(done), err != nil
	end := RunEnds
	if err != nil {
		end = RunFails
	}
	return remember(ctx, r.host, rec, end, r.o.Who)
}

// keepSealKey takes the key over from the record that is there, or makes one.
func (r *Record) keepSealKey(seen *engine.Answers) error {
	was, err := Read(seen, r.App)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if r.SealKey = was.SealKey; r.SealKey == nil {
		r.SealKey = engine.NewSealKey()
	}
	return nil
}

// Unfinished reports whether the app's record says that a run was cut or has failed.
func Unfinished(a *engine.Answers, app string) (bool, error) {
	was, err := Read(a, app)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return was.Unfinished, err
}

// Finish writes what a run that was cut after its last step did not come to write:
// of the plan p nothing is left to do.
func Finish(ctx context.Context, h engine.Host, p *engine.Plan, rec *Record, who string) error {
	if err := rec.keepSealKey(p.Seen); err != nil {
		return err
	}
	r := &Run{h, p, RunOptions{Record: rec, Who: who}}
	return r.remember(ctx, p.Outputs, nil, nil)
}

// Forget removes the app's record once nothing of the app is left. What else lies
// beside it belongs to the kinds; its directory goes with the last of it.
func Forget(ctx context.Context, h engine.Host, p *engine.Plan) error {
	if slices.ContainsFunc(p.Orphans, func(o engine.Orphan) bool { return o.Keep }) {
		return nil
	}
	file := PrivFile(p.App.Name, recordFile)
	if err := audited(ctx, h, p.App.Name, "rm", "-f", "--", file); err != nil {
		return err
	}
	err := audited(ctx, h, p.App.Name, "rmdir", "--", path.Dir(file))
	var exit *engine.ExitError
	if errors.As(err, &exit) {
		return nil // not empty, or not there
	}
	return err
}

func audited(ctx context.Context, h engine.Host, app string, argv ...string) error {
	_, err := h.Run(ctx, engine.Cmd{Argv: argv, Audit: &engine.Audit{Time: time.Now().UTC(), App: app, Argv: argv}})
	return err
}

// remember writes the app's record; said goes into the log beside it: how far whose
// run is.
func remember(ctx context.Context, h engine.Host, r *Record, said ...string) error {
	f := r.File()
	f.Audit = &engine.Audit{Time: time.Now().UTC(), App: r.App, Argv: append([]string{"write", f.Name}, said...)}
	if err := h.WriteFile(ctx, f); err != nil {
		return fmt.Errorf("record of %s: %w", r.App, pve.Explain(err))
	}
	return nil
}

// forgetSecrets makes the record know nothing of the secrets that the plan removes,
// beforehand, so that they do not count as lost if the rest is cut off.
func (r *Run) forgetSecrets(ctx context.Context) error {
	app := r.plan.App.Name
	gone := func(name string) bool {
		return slices.ContainsFunc(r.plan.Orphans, func(o engine.Orphan) bool {
			return !o.Keep && o.Step.Kind() == SecretKind && o.Step.Name() == name
		})
	}
	a, err := r.host.Batch(ctx, []engine.Ask{engine.AskGlob(PrivGlob(app))})
	if err != nil {
		return err
	}
	was, err := Read(a, app)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !slices.ContainsFunc(was.Secrets, gone) {
		return nil
	}
	if err != nil {
		return err
	}
	was.Secrets = slices.DeleteFunc(was.Secrets, gone)
	return remember(ctx, r.host, &was)
}

// secrets names the secrets that are there: those of the plan that needed no
// change, and those that were made.
func (r *Run) secrets(done func(engine.NodeID) bool) []string {
	var names []string
	for _, n := range r.plan.Nodes {
		if n.Step.ID.Kind() == SecretKind && (len(n.Diff.Changes) == 0 || done != nil && done(n.ID)) {
			names = append(names, n.Step.ID.Name())
		}
	}
	slices.Sort(names)
	return names
}

// plain returns the outputs that are known and not secret.
func plain(outs []engine.PlanOutput) map[string]string {
	out := map[string]string{}
	for _, o := range outs {
		if o.Value.IsKnown() && !o.Value.IsSecret() {
			out[o.Name] = o.Value.Reveal()
		}
	}
	return out
}
