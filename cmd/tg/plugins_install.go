package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
)

func (s *session) pluginsInstallCmd() *cobra.Command {
	var yes bool
	var set []string
	cmd := &cobra.Command{
		Use:   "install PATH",
		Short: "Install a plugin, after a look at what it asks for",
		Long: `Install a plugin: a program, or the name of one that came with tg. It is copied, and
the copy is run once, with an empty environment, to say what it is. Then you are
asked. From then on it is started only as long as it is that file, byte for byte.`,
		Args: exactly("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.pluginsInstall(cmd.Context(), args[0], set, yes)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().StringArrayVar(&set, "set", nil, "NAME=VALUE: keep a variable that the plugin asks for; NAME alone takes it from the environment. Again for more")
	return cmd
}

func (s *session) pluginsInstall(ctx context.Context, path string, set []string, yes bool) (err error) {
	store, err := s.pluginStore()
	if err != nil {
		return err
	}
	file, err := store.Find(path)
	if err != nil {
		return engine.WithHint(err, "those that came with tg:\n    tg plugins list")
	}
	c, err := store.Candidate(ctx, file, s.pluginOptions())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Drop()) }()
	for _, assign := range set {
		name, value, ok := strings.Cut(assign, "=")
		if !ok {
			if value = s.getenv(name); value == "" {
				return usagef("--set %s: the environment has no %[1]s", name)
			}
		}
		if err := c.Set(name, value); err != nil {
			return usagef("--set: %w", err)
		}
	}
	if !s.json() {
		s.printPlugin(c.Installed)
		if c.Was != nil {
			s.printf("%s %s is installed; this replaces it\n", c.Was.Info.Name, c.Was.Info.Version)
		}
	}
	if err := s.consent(ctx, yes, "Install it? It can do on this machine what you can do."); err != nil {
		return err
	}
	if err := c.Install(); err != nil {
		return err
	}
	if s.json() {
		return s.term.JSON(viewOfPlugin(c.Installed))
	}
	s.printf("%s is installed\n", c.Info.Name)
	for _, e := range c.Info.Env {
		if e.Required && c.Env[e.Name] == "" && s.getenv(e.Name) == "" {
			s.notef("it needs %s: in the environment, or kept with it:\n    %s\n", e.Name, ui.Command([]string{"tg", "plugins", "install", path, "--set", e.Name + "=…"}))
		}
	}
	return nil
}
