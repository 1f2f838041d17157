package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/plan"
)

// turnCmd makes the commands start, stop and restart.
func (s *session) turnCmd(turn pct.Turn, cmd *cobra.Command) *cobra.Command {
	var events string
	var dependents bool
	cmd.Use = string(turn) + " APP[/CONTAINER]"
	cmd.Args = exactly("APP[/CONTAINER]")
	cmd.ValidArgsFunction = s.completeAppOrContainer
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return s.turn(cmd.Context(), turn, args[0], dependents, events)
	}
	addEventsFlag(cmd, &events)
	if turn == pct.Restart {
		cmd.Flags().BoolVar(&dependents, "with-dependents", false, "restart what needs the container too")
	}
	return cmd
}

// turn starts, stops or restarts what a name stands for. There is no question: the
// command says all, and nothing is lost.
func (s *session) turn(ctx context.Context, turn pct.Turn, name string, dependents bool, events string) error {
	style, err := s.watchStyle(events)
	if err != nil {
		return err
	}
	app, container, one := strings.Cut(name, "/")
	if app == "" || one && (container == "" || strings.Contains(container, "/")) {
		return usagef("%q is no application and no container; wanted APP or APP/CONTAINER", name)
	}
	host, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer host.Close()
	if err := s.mustHave(ctx, host, app, container); err != nil {
		return err
	}
	build := func(ctx context.Context) (*engine.Plan, error) {
		g, node, err := pct.Power(ctx, host, pct.Switch{Turn: turn, App: app, Name: container, Dependents: dependents})
		if err != nil {
			return nil, err
		}
		return plan.Build(ctx, g, host, &engine.Facts{Node: node}, plan.Options{})
	}
	p, err := build(ctx)
	if err != nil {
		return err
	}
	if p.Empty() {
		return s.turnedAlready(host, p, turn, name)
	}
	s.showPlan(p, style)
	for _, err := range p.Refused() {
		return err // one is enough: its hint helps with all
	}
	words := []string{string(turn), name}
	if dependents {
		words = append(words, "--with-dependents")
	}
	return s.apply(ctx, host, job{shown: p, again: build, style: style, typed: s.line(words...)})
}

// mustHave returns an error if the node does not have the app, or the container.
func (s *session) mustHave(ctx context.Context, host *node, app, container string) error {
	guests, node, err := pct.Look(ctx, host)
	if err != nil {
		return err
	}
	if container != "" {
		if guests.Current(node, app, container) != nil {
			return nil
		}
		return s.noSuchContainer(ctx, host, guests, app, container)
	}
	elsewhere := false
	for _, g := range guests.Mine() {
		if g.ID.App == app && g.Node == node {
			return nil
		}
		elsewhere = elsewhere || g.ID.App == app
	}
	if !elsewhere {
		if err := s.onlyDataLeft(ctx, host, app); err != nil {
			return err
		}
	}
	return s.noSuchApp(ctx, host, app)
}

// onlyDataLeft returns an error that says so of an app that was destroyed, and how it
// comes back; nil for one that the node does not have, or has more of.
func (s *session) onlyDataLeft(ctx context.Context, host *node, app string) error {
	states, err := s.apps(ctx, host, app)
	if err != nil || len(states) == 0 || !states[0].onlyData() {
		return err
	}
	recipe := "RECIPE"
	if states[0].Source != "" {
		recipe = strings.TrimPrefix(states[0].Source, "catalog:")
	}
	return engine.WithHint(fmt.Errorf("of %s only data is left on %s", app, host.Name()), "to bring it back:\n    "+s.line("run", recipe))
}

// onlyData reports whether the app has nothing but what destroy keeps.
func (a appState) onlyData() bool {
	return !slices.ContainsFunc(a.Things, func(t thing) bool { return !t.Data })
}

func (s *session) turnedAlready(host *node, p *engine.Plan, turn pct.Turn, name string) error {
	if s.json() {
		return s.term.JSON(resultOf(host, p, nil, nil, 0))
	}
	is := "runs and is ready"
	if turn == pct.TurnOff {
		is = "is stopped"
	}
	s.printf("nothing to do: %s %s\n", s.term.Strong(name), is)
	return nil
}
