package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab"
)

// healths are the words for how an application is doing, in the order of their
// trouble.
func healths() []lab.HealthState {
	return []lab.HealthState{lab.Healthy, lab.Slow, lab.Unhealthy, lab.Dying}
}

func (s *session) labHealthCmd() *cobra.Command {
	var probes int
	words := make([]string, len(healths()))
	for i, h := range healths() {
		words[i] = string(h)
	}
	cmd := &cobra.Command{
		Use:   "health APP/CONTAINER STATE",
		Short: "Make an application in the lab healthy, slow, unhealthy or dying",
		Long: `Make an application in the lab healthy, slow (nothing listens for the first probes
after a start), unhealthy (probes fail) or dying (its process ends at once), to see
what tg makes of it. It holds for the container's host name, also after it was
replaced. The application need not be there yet.`,
		Example: `  tg lab health immich/db unhealthy
  tg lab health immich/server slow --probes 20`,
		Args: exactly("APP/CONTAINER", "STATE"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return words, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(words, args[1]) {
				return usagef("state is %q; wanted %s", args[1], strings.Join(words, ", "))
			}
			return s.labHealth(cmd.Context(), args[0], lab.Health{State: lab.HealthState(args[1]), Probes: probes})
		},
	}
	cmd.Flags().IntVar(&probes, "probes", 5, "with slow: how many probes find nothing")
	return cmd
}

func (s *session) labHealth(ctx context.Context, name string, h lab.Health) (err error) {
	app, container, ok := strings.Cut(name, "/")
	if !ok || app == "" || container == "" || strings.Contains(container, "/") {
		return usagef("%q is no container; wanted APP/CONTAINER, as in immich/db", name)
	}
	if err := h.Check(); err != nil {
		return usagef("%v", err)
	}
	n, err := s.connectLab(ctx, target{name: labName, address: labName})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	host, err := s.labHostName(ctx, n, app, container)
	if err != nil {
		return err
	}
	if _, err := n.Run(ctx, engine.Cmd{Argv: h.Argv(host)}); err != nil {
		return err
	}
	if s.json() {
		return s.term.JSON(struct {
			Container string `json:"container"`
			lab.Health
		}{name, h})
	}
	s.printf("%s is %s\n", name, h.State)
	return nil
}

// labHostName returns the host name of a container, which stays when it is
// replaced. If the application is not there yet it is the one that a recipe gives
// unless it says otherwise.
func (s *session) labHostName(ctx context.Context, n *node, app, name string) (string, error) {
	guests, at, err := pct.Look(ctx, n)
	if err != nil {
		return "", err
	}
	if g := guests.Current(at, app, name); g != nil && g.Config.Get("hostname") != "" {
		return g.Config.Get("hostname"), nil
	}
	if slices.ContainsFunc(guests.Mine(), func(g *pct.Guest) bool { return g.ID.App == app }) {
		return "", s.noSuchContainer(ctx, n, guests, app, name)
	}
	s.notef("lab: %s is not there yet; this holds once it is\n", app)
	if app == name {
		return name, nil
	}
	return app + "-" + name, nil
}
