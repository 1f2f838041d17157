package main

import (
	"context"
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
	style, err := watchStyle(events)
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
		_, err := s.pickFrom(host, guests, node, app, container)
		return err
	}
	for _, g := range guests.Mine() {
		if g.ID.App == app && g.Node == node {
			return nil
		}
	}
	return s.noSuchApp(ctx, host, app)
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
