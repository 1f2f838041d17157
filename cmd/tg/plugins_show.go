package main

import "github.com/spf13/cobra"

func (s *session) pluginsShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Show what a plugin is, what it asks for and what it is given",
		Args:  exactly("NAME"), ValidArgsFunction: s.completePlugin,
		RunE: func(_ *cobra.Command, args []string) error { return s.pluginsShow(args[0]) },
	}
}

func (s *session) pluginsShow(name string) error {
	store, err := s.pluginStore()
	if err != nil {
		return err
	}
	p, err := s.knownPlugin(store, name)
	if err != nil {
		return err
	}
	if s.json() {
		return s.term.JSON(viewOfPlugin(p))
	}
	s.printPlugin(p)
	return nil
}
