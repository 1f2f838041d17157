package main

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/secret"
	"github.com/tengil/tengil/engine"
)

func (s *session) showCmd() *cobra.Command {
	var secrets bool
	cmd := &cobra.Command{
		Use:        "show APP",
		SuggestFor: []string{"info", "inspect"},
		Short:      "Show what an application is made of on a node",
		Long: `Show what an application is made of on a node.

With --secrets its passwords are shown too, as they are; nothing else that tg
prints holds them.`,
		Args:              exactly("APP"),
		ValidArgsFunction: s.completeApp,
		RunE:              func(cmd *cobra.Command, args []string) error { return s.show(cmd.Context(), args[0], secrets) },
	}
	cmd.Flags().BoolVar(&secrets, "secrets", false, "show the application's passwords")
	return cmd
}

// show tells what an application is made of.
func (s *session) show(ctx context.Context, app string, secrets bool) (err error) {
	host, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	states, err := s.apps(ctx, host, app)
	if err != nil {
		return err
	}
	if len(states) == 0 {
		return s.noSuchApp(ctx, host, app)
	}
	if secrets {
		if states[0].Secrets, err = revealed(ctx, host, app); err != nil {
			return err
		}
	}
	if s.json() {
		return s.term.JSON(states[0])
	}
	return s.printApp(states[0])
}

// revealed returns the app's secrets as they are: the user has asked to see them.
func revealed(ctx context.Context, host engine.Host, app string) (map[string]string, error) {
	all, err := secret.All(ctx, host, app)
	if err != nil {
		return nil, err
	}
	plain := map[string]string{}
	for name, v := range all {
		plain[name] = v.Reveal()
	}
	return plain, nil
}

// tellOutputs writes the results of an app, and how to see those that are secret.
func (s *session) tellOutputs(app string, outs []engine.PlanOutput) {
	s.term.Outputs(outs)
	if slices.ContainsFunc(outs, func(o engine.PlanOutput) bool { return o.Value.IsSecret() }) {
		s.printf("\nto see what is %s:\n    %s\n", engine.Masked, s.line("show", app, "--secrets"))
	}
}

func (s *session) printApp(a appState) error {
	s.printf("%s\n", s.term.Strong(a.App))
	for _, line := range [][2]string{{"recipe", a.Source}, {"digest", a.Digest}, {"updated", a.Updated}} {
		if line[1] != "" {
			s.printf("  %-8s %s\n", line[0], line[1])
		}
	}
	s.printMap("options", a.Options)
	s.printMap("outputs", a.Outputs)
	s.printMap("secrets", a.Secrets)
	rows := make([][]string, len(a.Things))
	for i, t := range a.Things {
		kept := ""
		if t.Data {
			kept = "kept by destroy"
		}
		rows[i] = []string{string(t.Step), t.text(), kept}
	}
	s.printf("\n")
	return s.term.Table([]string{"STEP", "WHAT", "DATA"}, rows)
}

func (s *session) printMap(title string, m map[string]string) {
	if len(m) == 0 {
		return
	}
	s.printf("\n%s\n", title)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s.printf("  %s = %s\n", k, m[k])
	}
}
