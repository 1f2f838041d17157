package main

import "github.com/spf13/cobra"

func (s *session) pluginsRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a plugin",
		Args:  exactly("NAME"), ValidArgsFunction: s.completePlugin,
		RunE: func(_ *cobra.Command, args []string) error { return s.pluginsRemove(args[0]) },
	}
}

func (s *session) pluginsRemove(name string) error {
	store, err := s.pluginStore()
	if err != nil {
		return err
	}
	if _, err := s.knownPlugin(store, name); err != nil {
		return err
	}
	if err := store.Remove(name); err != nil {
		return err
	}
	if s.json() {
		return s.term.JSON(struct {
			Removed string `json:"removed"`
		}{name})
	}
	s.printf("%s is removed\n", name)
	return nil
}
