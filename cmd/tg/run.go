package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/record"
)

// Run flags.
type runFlags struct {
	values string // file
	yes    bool
	events string
}

func (s *session) runCmd() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:        "run RECIPE|PLAN [key=value…]",
		SuggestFor: []string{"install", "deploy", "apply", "up"},
		Short:      "Bring an application to what its recipe says",
		Long: `Show what would be changed on the node, ask, and make it so.

RECIPE is a file, or the name of a recipe of the catalog (tg recipes list).
Options of the recipe follow as key=value; tg recipes show RECIPE lists them.

A file that tg plan --out wrote is carried out as it is, or not at all if the node
has changed since. Host, recipe and options are in it.`,
		Example: `  tg run immich
  tg run ./immich.star pool=tank gpu=none
  tg run immich --yes --events json
  tg run immich.plan`,
		Args:              atLeast("RECIPE"),
		ValidArgsFunction: s.completeRecipeArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.run(cmd.Context(), args[0], args[1:], f)
		},
	}
	cmd.Flags().StringVar(&f.values, "values", "", "file with option values: a JSON object, or lines key=value")
	addApplyFlags(cmd, &f.yes, &f.events)
	return cmd
}

// run brings an application to what its recipe says.
func (s *session) run(ctx context.Context, name string, options []string, f runFlags) error {
	style, err := s.watchStyle(f.events)
	if err != nil {
		return err
	}
	if data, isPlan, err := planData(name); err != nil {
		return err
	} else if isPlan {
		return s.runPlan(ctx, name, data, options, f, style)
	}
	o, err := s.open(ctx, choice{name, options, f.values}, "") // round trip 1
	if err != nil {
		return err
	}
	defer o.Close()
	p, err := o.plan(ctx) // round trips 2 and 3
	if err != nil {
		return err
	}
	words := []string{"run", name}
	if f.values != "" {
		words = append(words, "--values", f.values)
	}
	more := func(further ...string) string { return s.line(slices.Concat(words, options, further)...) }
	return s.carryOut(ctx, o, p, carry{style: style, yes: f.yes, typed: more(), more: more})
}

// A carry is how a plan is carried out.
type carry struct {
	style ui.Style
	yes   bool
	typed string // the command line, for the hint and the lock
	goOn  string // what to do where it ends half way; "" is to type the same again
	// more is the command line with further options; nil where it takes none.
	more func(options ...string) string
}

// carryOut shows the plan, asks, and does it.
func (s *session) carryOut(ctx context.Context, o *opened, p *engine.Plan, c carry) error {
	if p.Empty() {
		if err := s.finishRecord(ctx, o, p, c); err != nil {
			return err
		}
		return s.nothingToDo(o.host, p, c.style)
	}
	s.showPlan(p, c.style)
	if err := s.sameAsBefore(o, p, c); err != nil {
		return err
	}
	if err := errors.Join(p.Refused()...); err != nil {
		return err
	}
	if err := s.consent(ctx, c.yes, "Apply?"); err != nil {
		return err
	}
	remembered, err := recordOf(o)
	if err != nil {
		return err
	}
	return s.apply(ctx, o.host, job{
		shown:  p,
		again:  o.plan,
		record: remembered,
		style:  c.style,
		typed:  c.typed,
		goOn:   c.goOn,
	})
}

// sameAsBefore looks whether the app was deployed in another way before: from
// another recipe, or with options that are not given any more. A person is told
// and asked as always; a script is refused.
func (s *session) sameAsBefore(o *opened, p *engine.Plan, c carry) error {
	was, err := record.Read(p.Seen, p.App.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, told := range []error{otherSource(was, p), forgotten(was, o, c)} {
		switch {
		case told == nil:
		case c.yes:
			return told
		default:
			s.term.Failure(told)
		}
	}
	return nil
}

// otherSource tells of an app that was deployed from another recipe, if the plan
// removes something of it: two recipes of one name would destroy each other's
// containers.
func otherSource(was record.Record, p *engine.Plan) error {
	removes := func(o engine.Orphan) bool { return !o.Keep }
	if was.Source == p.App.Source || !slices.ContainsFunc(p.Orphans, removes) {
		return nil
	}
	return engine.WithHint(fmt.Errorf("%s was deployed from %s; this is %s, and it removes what it does not have", p.App.Name, was.Source, p.App.Source),
		"if that is meant, run it without --yes and agree; if not, give the recipe another name")
}

// forgotten tells of options that somebody chose in the last run and that are not
// given now, so that their defaults would undo the choice.
func forgotten(was record.Record, o *opened, c carry) error {
	now := o.recipe.Graph.App.Options
	var told, keep, undo []string
	for _, name := range was.Given {
		value, still := now[name]
		if !still || value == was.Options[name] || slices.Contains(o.given, name) {
			continue
		}
		told = append(told, fmt.Sprintf("%s was %s in the last run and is not given now: it would become %s", name, was.Options[name], value))
		keep, undo = append(keep, name+"="+was.Options[name]), append(undo, name+"="+value)
	}
	if len(told) == 0 || c.more == nil {
		return nil
	}
	return engine.WithHint(errors.New(strings.Join(told, "; ")), "to keep what was chosen:\n    "+c.more(keep...)+"\nto go back to the default:\n    "+c.more(undo...))
}

// finishRecord writes what a run that was cut after its last step did not come to
// write: the record on the node says that it is unfinished, and there is nothing
// left to do.
func (s *session) finishRecord(ctx context.Context, o *opened, p *engine.Plan, c carry) error {
	cut, err := record.Unfinished(p.Seen, p.App.Name)
	if err != nil || !cut {
		return err
	}
	lock, err := s.hold(ctx, o.host, job{shown: p, typed: c.typed})
	if err != nil {
		return err
	}
	defer lock.Close()
	r, err := recordOf(o)
	if err != nil {
		return err
	}
	return record.Finish(ctx, o.host, p, r, s.who())
}

// recordOf returns what the node is to remember of the app, besides what becomes of
// the run.
func recordOf(o *opened) (*record.Record, error) {
	g := o.recipe.Graph
	containers, err := pct.Containers(g)
	return &record.Record{
		App: g.App.Name, Source: g.App.Source, Digest: g.App.Digest, Options: g.App.Options, Given: o.given, Updated: time.Now().UTC(),
		Containers: containers,
	}, err
}

// nothingToDo says so, and what the app has to offer.
func (s *session) nothingToDo(host *node, p *engine.Plan, style ui.Style) error {
	if s.json() || style == ui.Events {
		return s.term.JSON(resultOf(host, p, nil, p.Outputs, 0))
	}
	s.printf("nothing to do: %s is as the recipe says\n", s.term.Strong(p.App.Name))
	s.tellOutputs(p.App.Name, p.Outputs)
	s.tellRounds(host)
	return nil
}

// tellRounds tells, with --verbose, how often the node was asked.
func (s *session) tellRounds(host *node) {
	if n, ok := host.rounds(); ok && s.verbose {
		s.notef("%d round trips to %s\n", n, host.Name())
	}
}

// showPlan shows what would be done: on standard output, or on standard error
// where standard output is for programs.
func (s *session) showPlan(p *engine.Plan, style ui.Style) {
	if s.json() || style == ui.Events {
		fmt.Fprint(s.term.Err, plan.Text(p))
		return
	}
	s.term.Plan(plan.Text(p))
}
