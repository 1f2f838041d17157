// Package exec turns a plan into effects: one loop that owns all state, and
// workers that only run Apply and report. It makes no decisions; what to do and
// why stands in the plan.
package exec

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/plan"
)

// Options for Run; the zero value works.
type Options struct {
	// Limits of work at once by class, and by Total; missing ones have defaults.
	Limits map[engine.Class]int
	// Events, if not nil, is called from one goroutine for everything that happens.
	Events func(engine.Event)
	// Cut, when closed, cancels what still runs after ctx has ended: the second
	// Ctrl-C. Ending ctx only stops new work from being started.
	Cut <-chan struct{}
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Pause is the wait before the first retry of what failed for a transient
	// reason; each further one is longer. 0 means 500 ms.
	Pause time.Duration
	// Deadlines are how long one try of work may take, by class, where they differ from
	// the defaults: light work 5 minutes, configure and start 10, unpack and what is
	// removed 1 hour, download 6. A download that stands still is ended long before that;
	// see package unit. What a Spec waits for on purpose comes on top; see engine.Patient.
	Deadlines map[engine.Class]time.Duration
	// Deadline ends a try; nil means context.WithTimeoutCause.
	Deadline engine.Deadline
}

// Long is the limit of downloads and unpacking together: each holds a session of
// the connection while it waits, and two must stay free for everything else.
const Long engine.Class = "long"

// total is the limit of everything together.
const total engine.Class = "total"

var defaultLimits = map[engine.Class]int{
	engine.Download: 4,
	engine.Unpack:   4,
	Long:            6,
	engine.Start:    8,
	total:           32,
}

// DefaultLimit returns how much of a class runs at once where Options do not say.
func DefaultLimit(c engine.Class) int { return defaultLimits[c] }

// A Summary tells how each node with changes ended, in plan order.
type Summary struct {
	Outcomes []Outcome
	Outputs  []engine.PlanOutput
	Took     time.Duration
}

// An Outcome is how one node ended. Err nil and Cause "": done. Err set: failed,
// or not started because the run was stopped. Cause set: skipped, since that
// node failed.
type Outcome struct {
	Node  engine.NodeID
	Pos   engine.Pos
	Err   error
	Cause engine.NodeID
	Took  time.Duration
}

// Done reports whether a node with changes did all of them.
func (s Summary) Done(id engine.NodeID) bool {
	return slices.ContainsFunc(s.Outcomes, func(o Outcome) bool { return o.Node == id && o.Err == nil && o.Cause == "" })
}

// Run executes the plan. It returns nil if everything succeeded; otherwise the
// errors of the failed nodes, joined in plan order, and ctx's error when it was
// stopped before the end. The Summary is complete in every case.
func Run(ctx context.Context, p *engine.Plan, h engine.Host, o Options) (Summary, error) {
	r := newRun(p, h, o)
	begin := r.now()
	r.loop(ctx)
	s := Summary{Outcomes: r.outcomes(), Took: r.now().Sub(begin)}
	for _, out := range p.Outputs {
		s.Outputs = append(s.Outputs, engine.PlanOutput{Name: out.Name, Doc: out.Doc, Value: out.Text.Fill(r.inputs(engine.Node{}))})
	}
	var errs []error
	for _, out := range s.Outcomes {
		if out.Err != nil && !errors.Is(out.Err, ErrNotStarted) {
			errs = append(errs, out.Err)
		}
	}
	return s, errors.Join(append(errs, r.stopped)...)
}

// ErrNotStarted is the Err of an Outcome whose work the stopped run never began.
var ErrNotStarted = errors.New("not started: the run was stopped")

// A run is the state of one execution; only the loop's goroutine touches it.
type run struct {
	host    engine.Host
	opts    Options
	now     func() time.Time
	app     engine.App
	jobs    []*job // in plan order, then removals
	ready   ready
	outputs map[engine.NodeID]engine.Outputs
	mask    *masker
	busy    map[engine.Class]int
	reports chan report
	stopped error // ctx's error once the run was stopped
}

// A job is one node with changes, or one removal.
type job struct {
	id      engine.NodeID
	step    engine.Step
	place   int              // in run.jobs
	node    *engine.PlanNode // nil for a removal
	orphan  *engine.Orphan
	class   engine.Class
	waiting int
	needers []*job
	state   jobState
	began   time.Time
	out     Outcome
}

type jobState int

const (
	pending jobState = iota
	running
	ended
)

// A report is what a worker tells the loop.
type report struct {
	job     *job
	event   engine.Event // Progress or Retrying; empty Kind: the work has ended
	outputs engine.Outputs
	err     error
}

func newRun(p *engine.Plan, h engine.Host, o Options) *run {
	r := &run{host: h, opts: o, now: o.Now, app: p.App, outputs: map[engine.NodeID]engine.Outputs{},
		mask: &masker{}, ready: ready{}, busy: map[engine.Class]int{}, reports: make(chan report)}
	if r.now == nil {
		r.now = time.Now
	}
	if r.opts.Pause == 0 {
		r.opts.Pause = 500 * time.Millisecond
	}
	if r.opts.Deadline == nil {
		r.opts.Deadline = context.WithTimeoutCause
	}
	r.build(p)
	return r
}

// build makes a job of everything that has something to do and links jobs to
// those they wait for, directly or through nodes without changes.
func (r *run) build(p *engine.Plan) {
	byNode := map[engine.NodeID][]*job{} // the jobs that stand between a node and its success
	for i := range p.Nodes {
		n := &p.Nodes[i]
		r.mask.learn(n.Diff.Outputs)
		if len(n.Diff.Changes) == 0 {
			r.outputs[n.ID] = n.Diff.Outputs
			for _, need := range n.Needs {
				byNode[n.ID] = appendNew(byNode[n.ID], byNode[need])
			}
			continue
		}
		j := &job{id: n.ID, step: n.Step, node: n, class: n.Class}
		for _, need := range n.Needs {
			j.waitFor(byNode[need]...)
		}
		byNode[n.ID] = []*job{j}
		r.jobs = append(r.jobs, j)
	}
	r.addRemovals(p)
	for i, j := range r.jobs {
		j.place = i
		if j.waiting == 0 {
			r.ready.add(j)
		}
	}
}

// addRemovals adds what the recipe no longer has. It goes once all images are
// unpacked, so that a failing pull costs nothing, and before anything is stopped
// or started: two containers never write the same data, and a removal that fails
// leaves running what runs.
func (r *run) addRemovals(p *engine.Plan) {
	var removals, unpacks, starts []*job
	for _, j := range r.jobs {
		switch j.class {
		case engine.Download, engine.Unpack:
			unpacks = append(unpacks, j)
		case engine.Configure, engine.Start:
			starts = append(starts, j)
		}
	}
	for i := range p.Orphans {
		o := &p.Orphans[i]
		if o.Keep {
			continue
		}
		j := &job{id: o.Step.Node("remove"), step: engine.Step{ID: o.Step}, orphan: o}
		j.waitFor(unpacks...)
		for _, k := range removals {
			if k.orphan.Order < o.Order {
				j.waitFor(k)
			}
		}
		removals = append(removals, j)
	}
	for _, j := range starts {
		j.waitFor(removals...)
	}
	r.jobs = append(r.jobs, removals...)
}

func (j *job) waitFor(needs ...*job) {
	for _, n := range needs {
		n.needers = append(n.needers, j)
		j.waiting++
	}
}

func appendNew(to, more []*job) []*job {
	for _, j := range more {
		if !containsJob(to, j) {
			to = append(to, j)
		}
	}
	return to
}

func containsJob(jobs []*job, j *job) bool {
	for _, k := range jobs {
		if k == j {
			return true
		}
	}
	return false
}

// loop starts what is ready, takes in what workers report, and returns when
// nothing runs and nothing more can start.
func (r *run) loop(ctx context.Context) {
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	done, cutSignal := ctx.Done(), r.opts.Cut
	for {
		if r.stopped == nil {
			r.startReady(ctx, work)
		}
		if r.busy[total] == 0 {
			return
		}
		select {
		case rep := <-r.reports:
			r.take(rep)
		case <-done:
			done, r.stopped = nil, ctx.Err()
			r.emit(engine.Event{Kind: engine.Stopping})
		case <-cutSignal:
			cutSignal = nil
			cut()
		}
	}
}

// start begins a job: under work, which a stop leaves alone, or under ctx where
// a stop may end it.
func (r *run) start(ctx, work context.Context, j *job) {
	j.state, j.began = running, r.now()
	for _, c := range countsAs(j.class) {
		r.busy[c]++
	}
	r.emit(engine.Event{Kind: engine.Started, Node: j.id, Pos: j.step.Pos.String(), Text: j.what()})
	late := &late{}
	w := worker{run: r, job: j, late: late, host: audited{Host: r.host, app: r.app.Name, step: j.step.ID, now: r.now, mask: r.mask, late: late}}
	if j.node != nil {
		w.in = r.inputs(j.node.Node)
	}
	if j.node != nil {
		if _, ok := j.node.Spec.(engine.Interruptible); ok {
			work = ctx
		}
	}
	go w.work(work)
}

func (j *job) what() string {
	if j.orphan != nil {
		return "remove " + j.orphan.What
	}
	return ""
}

// inputs returns n's inputs; the copy of outputs belongs to the worker.
func (r *run) inputs(n engine.Node) engine.Inputs {
	known := make(map[engine.NodeID]engine.Outputs, len(n.Needs))
	if n.ID == "" {
		known = r.outputs
	}
	for _, need := range n.Needs {
		known[need] = r.outputs[need]
	}
	return plan.InputsOf(n, known)
}

func (r *run) take(rep report) {
	j := rep.job
	if rep.event.Kind != "" {
		rep.event.Node, rep.event.Pos = j.id, j.step.Pos.String()
		rep.event.Text = r.mask.hide(rep.event.Text)
		r.emit(rep.event)
		return
	}
	for _, c := range countsAs(j.class) {
		r.busy[c]--
	}
	j.out = Outcome{Took: r.now().Sub(j.began)}
	r.mask.learn(rep.outputs)
	if rep.err != nil {
		r.fail(j, rep.err)
		return
	}
	j.state = ended
	r.outputs[j.id] = rep.outputs
	r.emit(engine.Event{Kind: engine.Done, Node: j.id, Pos: j.step.Pos.String(), Took: j.out.Took})
	for _, k := range j.needers {
		if k.waiting--; k.waiting == 0 {
			r.ready.add(k)
		}
	}
}

func (r *run) fail(j *job, err error) {
	j.state = ended
	if r.stopped != nil && errors.Is(err, context.Canceled) {
		err = &maskedError{"interrupted", err}
	}
	j.out.Err = &engine.Error{Pos: j.step.Pos, Via: j.step.Via, Step: j.step.ID,
		Err: r.mask.wrap(err), Hint: r.mask.hide(engine.HintOf(err))}
	r.emit(engine.Event{Kind: engine.Failed, Node: j.id, Pos: j.step.Pos.String(), Took: j.out.Took, Err: j.out.Err})
	r.skip(j.needers, j.id)
}

// skip ends all that can no longer succeed, naming the cause.
func (r *run) skip(jobs []*job, cause engine.NodeID) {
	for _, j := range jobs {
		if j.state != pending {
			continue
		}
		j.state, j.out.Cause = ended, cause
		r.emit(engine.Event{Kind: engine.Skipped, Node: j.id, Pos: j.step.Pos.String(), Cause: cause})
		r.skip(j.needers, cause)
	}
}

func (r *run) emit(e engine.Event) {
	if r.opts.Events == nil {
		return
	}
	e.Time = r.now()
	if e.Err != nil {
		e.Error = e.Err.Error()
	}
	r.opts.Events(e)
}

func (r *run) outcomes() []Outcome {
	outs := make([]Outcome, 0, len(r.jobs))
	for _, j := range r.jobs {
		o := j.out
		o.Node, o.Pos = j.id, j.step.Pos
		if j.state == pending {
			o.Err = ErrNotStarted
		}
		outs = append(outs, o)
	}
	return outs
}
