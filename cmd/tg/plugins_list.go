package main

import (
	"slices"

	"github.com/spf13/cobra"
)

func (s *session) pluginsListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the plugins that are installed, and those that came with tg",
		Args:  exactly(),
		RunE:  func(*cobra.Command, []string) error { return s.pluginsList() },
	}
}

// pluginsList lists plugins without starting any.
func (s *session) pluginsList() error {
	store, err := s.pluginStore()
	if err != nil {
		return err
	}
	all, err := store.List()
	if err != nil {
		return err
	}
	views := []pluginView{}
	for _, p := range all {
		views = append(views, viewOfPlugin(p))
	}
	for _, name := range store.Available() {
		if !slices.ContainsFunc(views, func(v pluginView) bool { return v.Name == name }) {
			v := pluginView{}
			v.Name = name
			views = append(views, v)
		}
	}
	if s.json() {
		return s.term.JSON(views)
	}
	if len(views) == 0 {
		s.printf("no plugins\n")
		s.notef("to install one, or to write one:\n    tg plugins install PATH\n    tg plugins new registry-mine\n")
		return nil
	}
	rows := make([][]string, len(views))
	for i, v := range views {
		rows[i] = []string{v.Name, v.Version, v.Scheme + "://", powers(v.RegistryInfo), v.Doc}
		if !v.Installed {
			rows[i] = []string{v.Name, "not installed", "", "", "came with tg"}
		}
	}
	return s.term.Table([]string{"NAME", "VERSION", "SCHEME", "CAN", "WHAT"}, rows)
}
