package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/record"
)

// A job is a plan that was shown and is now to be carried out.
type job struct {
	shown  *engine.Plan
	again  func(context.Context) (*engine.Plan, error) // makes it anew, under the lock
	record *record.Record                              // nil: the node is to remember nothing new
	forget bool                                        // the node is to forget the app, if nothing of it stays
	style  ui.Style
	typed  string // the command line, for the hint and the lock
	goOn   string // what to do where it ends half way; "" is to type the same again
}

func addApplyFlags(cmd *cobra.Command, yes *bool, events *string) {
	cmd.Flags().BoolVarP(yes, "yes", "y", false, "do not ask")
	addEventsFlag(cmd, events)
}

func addEventsFlag(cmd *cobra.Command, events *string) {
	cmd.Flags().StringVar(events, "events", "", "json: write every event as a line of JSON on standard output")
	if err := cmd.RegisterFlagCompletionFunc("events", completeWords("json")); err != nil {
		panic(err) // the flag is defined right above
	}
}

// watchStyle returns how a run is shown: with --verbose in lines, which nothing redraws.
func (s *session) watchStyle(events string) (ui.Style, error) {
	switch {
	case events == "" && s.verbose:
		return ui.Lines, nil
	case events == "":
		return ui.Auto, nil
	case events == "json":
		return ui.Events, nil
	}
	return ui.Auto, usagef("--events is %q; wanted json", events)
}

// consent asks whether to go on. Where nobody can answer, --yes must have.
func (s *session) consent(ctx context.Context, yes bool, question string) error {
	if yes {
		return nil
	}
	ok, err := s.term.Confirm(ctx, question)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		ok, err = false, nil // Ctrl-D is no yes
		s.notef("\n")
	}
	switch {
	case errors.Is(err, ui.ErrNobody):
		return usagef("nobody to ask %q: this is no terminal\n  hint: to go ahead without asking, add --yes", question)
	case err != nil:
		return err
	case !ok:
		s.notef("nothing was changed\n")
		return statusError(exitFailed)
	}
	return nil
}

// apply carries out what was shown and nothing else: under the app's lock the
// plan is made anew, and only if it is still the same is it executed.
func (s *session) apply(ctx context.Context, host *node, j job) error {
	lock, err := s.hold(ctx, host, j)
	if err != nil {
		return err
	}
	defer lock.Close()
	p, err := j.again(ctx)
	if err != nil {
		return err
	}
	if difference := plan.Difference(j.shown, p); difference != "" {
		return engine.WithHint(fmt.Errorf("%s changed after the plan was shown; nothing was done: %s", host.Name(), difference),
			"look at the new plan:\n    "+j.typed)
	}
	run, err := record.Begin(ctx, host, p, record.RunOptions{Record: j.record, Forget: j.forget, Who: s.who()})
	if err != nil {
		return err
	}
	watcher := ui.NewWatcher(s.watched(j.style), p, j.style, nil)
	var sum exec.Summary
	var runErr error
	watcher.During(func(events func(engine.Event)) {
		sum, runErr = exec.Run(ctx, p, host, exec.Options{Events: events, Cut: s.stop.cut, Limits: limits(host.choices.Limits)})
	})
	runErr = run.End(ctx, sum.Outputs, sum.Done, runErr)
	return s.finish(host, p, j, watcher.Phases(), sum, runErr)
}

// watched is where a run is shown while it goes on: on standard error, line by line,
// where standard output is for one JSON value at the end.
func (s *session) watched(style ui.Style) *ui.Terminal {
	if !s.json() || style == ui.Events {
		return s.term
	}
	return &ui.Terminal{Out: s.term.Err, Err: s.term.Err}
}

// limits returns what the host's owner has chosen; the rest is left to exec.
func limits(l engine.Limits) map[engine.Class]int {
	chosen := map[engine.Class]int{}
	for class, n := range map[engine.Class]int{engine.Download: l.Downloads, engine.Unpack: l.Unpacks, engine.Start: l.Starts} {
		if n > 0 {
			chosen[class] = n
		}
	}
	return chosen
}

// hold takes the app's lock.
func (s *session) hold(ctx context.Context, host *node, j job) (io.Closer, error) {
	app := j.shown.App.Name
	lock, err := host.Hold(ctx, engine.Lock{Path: record.LockPath(app), Holder: s.who() + ", " + j.typed, Since: time.Now().UTC()})
	var locked *engine.LockedError
	if !errors.As(err, &locked) {
		return lock, err
	}
	holder := locked.Holder
	if holder == "" {
		holder = "someone"
	}
	since := ""
	if !locked.Since.IsZero() {
		since = " since " + locked.Since.Local().Format("15:04:05 on 2006-01-02")
	}
	return nil, engine.WithHint(fmt.Errorf("%s on %s is being changed by %s%s", app, host.Name(), holder, since),
		"wait until that has ended and run it again; a session that breaks off frees the lock")
}

// who names the person at this machine.
func (s *session) who() string {
	user := s.getenv("USER")
	if user == "" {
		user = "uid " + fmt.Sprint(os.Getuid())
	}
	machine, err := os.Hostname()
	if err != nil {
		return user
	}
	return user + "@" + machine
}

// finish shows how a run ended: outputs and times, and what failed last of all,
// with what to type next.
func (s *session) finish(host *node, p *engine.Plan, j job, phases []ui.Phase, sum exec.Summary, runErr error) error {
	r := resultOf(host, p, sum.Outcomes, sum.Outputs, sum.Took)
	r.Phases = phases
	switch {
	case j.style == ui.Events: // the events have said it all
	case s.json():
		if err := s.term.JSON(r); err != nil {
			return err
		}
	default:
		s.tellEnd(p, r, phases, sum)
	}
	s.tellRounds(host)
	if runErr == nil {
		return nil
	}
	interrupted := errors.Is(runErr, context.Canceled) && s.stop.caught()
	goOn := j.goOn
	if goOn == "" {
		goOn = "To go on from there:\n    " + j.typed
	}
	s.tellFailures(runErr, sum.Outcomes, goOn, interrupted)
	if interrupted {
		return statusError(exitInterrupted)
	}
	return statusError(exitFailed)
}

func (s *session) tellEnd(p *engine.Plan, r result, phases []ui.Phase, sum exec.Summary) {
	word := s.term.Good("done")
	if r.Failed > 0 || r.Skipped > 0 {
		word = s.term.Bad("not done")
	}
	times := ""
	if len(phases) > 0 {
		times = s.term.Quiet(" (" + ui.PhaseLine(phases) + ")")
	}
	s.printf("\n%s: %s in %s%s\n", s.term.Strong(p.App.Name), word, ui.Took(sum.Took), times)
	if r.Failed == 0 && r.Skipped == 0 {
		s.tellOutputs(p.App.Name, sum.Outputs)
	}
}

// skippedSteps returns the steps that did not happen because others failed.
func skippedSteps(outcomes []exec.Outcome) []string {
	told := map[engine.StepID]bool{}
	for _, o := range outcomes {
		if o.Err != nil {
			told[o.Node.Step()] = true
		}
	}
	var names []string
	for _, o := range outcomes {
		if step := o.Node.Step(); o.Cause != "" && !told[step] {
			told[step] = true
			names = append(names, string(step))
		}
	}
	return names
}

// tellFailures writes each failure, then what did not happen because of them,
// then what to do.
func (s *session) tellFailures(err error, outcomes []exec.Outcome, goOn string, interrupted bool) {
	for _, e := range flatten(err) {
		if interrupted && errors.Is(e, context.Canceled) {
			continue
		}
		s.notef("\n")
		s.term.Failure(withProgram(e))
	}
	if skipped := skippedSteps(outcomes); len(skipped) > 0 {
		s.notef("\nnot done because of that: %s\n", strings.Join(skipped, ", "))
	}
	s.notef("\n")
	if interrupted {
		s.notef("interrupted; ")
	}
	s.notef("what was done stays. %s\n", goOn)
}
