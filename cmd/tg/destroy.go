package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/record"
)

type destroyFlags struct {
	data    bool
	confirm string
	yes     bool
	events  string
}

func (s *session) destroyCmd() *cobra.Command {
	var f destroyFlags
	cmd := &cobra.Command{
		Use:        "destroy APP",
		SuggestFor: []string{"remove", "rm", "delete", "uninstall", "down"},
		Short:      "Remove an application; keep its data",
		Long: `Remove the containers of an application and what belongs to them. Its datasets
stay, and so do the passwords that are of no use without them: tg run brings the
application back with its data.

With --data the datasets go too. They are named, and the application's name has
to be typed; in a script, --confirm APP does that.`,
		Example: `  tg destroy immich
  tg destroy immich --data`,
		Args:              exactly("APP"),
		ValidArgsFunction: s.completeApp,
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.destroy(cmd.Context(), args[0], f)
		},
	}
	cmd.Flags().BoolVar(&f.data, "data", false, "remove the datasets too")
	cmd.Flags().StringVar(&f.confirm, "confirm", "", "with --data: the application's name, instead of typing it")
	addApplyFlags(cmd, &f.yes, &f.events)
	return cmd
}

// destroy removes an application.
func (s *session) destroy(ctx context.Context, app string, f destroyFlags) error {
	style, err := s.watchStyle(f.events)
	if err != nil {
		return err
	}
	host, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer host.Close()
	build := func(ctx context.Context) (*engine.Plan, error) {
		return plan.Destroy(ctx, host, builtins.Kinds(), app, f.data)
	}
	p, err := build(ctx)
	if err != nil {
		return err
	}
	if len(p.Orphans) == 0 {
		return s.destroyRecord(ctx, host, p, app, f.data)
	}
	if p.Empty() {
		return s.onlyData(host, p)
	}
	s.showPlan(p, style)
	if err := errors.Join(p.Refused()...); err != nil {
		return err
	}
	if err := s.consentToDestroy(ctx, p, f); err != nil {
		return err
	}
	return s.apply(ctx, host, job{shown: p, again: build, forget: true, style: style, typed: s.destroyLine(app, f.data)})
}

// destroyRecord ends what a removal that was cut left: of an app of which nothing
// is there, the record. Without one there is no such app.
func (s *session) destroyRecord(ctx context.Context, host *node, p *engine.Plan, app string, data bool) error {
	if !appName.MatchString(app) {
		return s.noSuchApp(ctx, host, app)
	}
	a, err := host.Batch(ctx, []engine.Ask{engine.AskGlob(record.PrivGlob(app))})
	if err != nil {
		return err
	}
	if _, err := record.Read(a, app); errors.Is(err, fs.ErrNotExist) {
		return s.noSuchApp(ctx, host, app)
	}
	lock, err := s.hold(ctx, host, job{shown: p, typed: s.destroyLine(app, data)})
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := record.Forget(ctx, host, p); err != nil {
		return err
	}
	if s.json() {
		return s.term.JSON(resultOf(host, p, nil, nil, 0))
	}
	s.printf("%s: nothing was left on %s but what the node remembered of it; it is forgotten\n", s.term.Strong(app), host.Name())
	return nil
}

// appName is what the name of an app looks like; nothing else is looked for among
// the node's files.
var appName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (s *session) destroyLine(app string, data bool) string {
	if data {
		return s.line("destroy", app, "--data")
	}
	return s.line("destroy", app)
}

// onlyData says that nothing but data is left of an app, which stays.
func (s *session) onlyData(host *node, p *engine.Plan) error {
	if s.json() {
		return s.term.JSON(resultOf(host, p, nil, nil, 0))
	}
	s.printf("nothing to do: of %s only data is left on %s\n", s.term.Strong(p.App.Name), host.Name())
	for _, o := range p.Orphans {
		s.printf("  %s\n", withNow(o.What, o.Now))
	}
	s.printf("to remove that too:\n    %s\n", s.destroyLine(p.App.Name, true))
	return nil
}

// consentToDestroy asks, for data in a way that nobody answers by habit.
func (s *session) consentToDestroy(ctx context.Context, p *engine.Plan, f destroyFlags) error {
	app := p.App.Name
	if f.confirm != "" && f.confirm != app {
		return usagef("--confirm is %q; wanted the application's name, %q", f.confirm, app)
	}
	if f.data && f.confirm == app {
		return nil
	}
	var lost []string
	for _, o := range p.Orphans {
		if o.Data && o.Loses != "" && !o.Keep {
			lost = append(lost, withNow(o.What, o.Now)+": "+o.Loses)
		}
	}
	if len(lost) == 0 {
		return s.consent(ctx, f.yes, "Remove?")
	}
	for _, what := range lost {
		s.notef("%s\n", s.term.Bad("lost for good: "+what))
	}
	typed, err := s.term.Ask(ctx, fmt.Sprintf("To remove this data, type the name of the application (%s):", app))
	switch {
	case errors.Is(err, ui.ErrNobody):
		return usagef("nobody to ask about the data: this is no terminal\n  hint: to remove it without asking, add --confirm %s", app)
	case err != nil:
		return err
	case typed != app:
		s.notef("nothing was changed: %q is not %q\n", typed, app)
		return statusError(exitFailed)
	}
	return nil
}

// noSuchApp says that an app is not on the node, and which one may be meant.
func (s *session) noSuchApp(ctx context.Context, host *node, app string) error {
	found, err := plan.Find(ctx, host, builtins.Kinds(), "")
	if err != nil {
		return err
	}
	err = fmt.Errorf("there is no application %q on %s", app, host.Name())
	if near := nearest(app, appNames(found)); near != "" {
		err = fmt.Errorf("there is no application %q on %s (did you mean %q?)", app, host.Name(), near)
	}
	return engine.WithHint(err, "to see what is there:\n    "+s.line("ps"))
}

// appNames returns the apps of what was found, each once.
func appNames(found []engine.Found) []string {
	var names []string
	seen := map[string]bool{}
	for _, f := range found {
		if !seen[f.App] {
			seen[f.App] = true
			names = append(names, f.App)
		}
	}
	return names
}
