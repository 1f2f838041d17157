package main

import (
	"github.com/spf13/cobra"
)

func (s *session) hostRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Forget a host; nothing is changed there",
		Args:  exactly("NAME"), ValidArgsFunction: s.completeKnownHost,
		RunE: func(_ *cobra.Command, args []string) error { return s.hostRemove(args[0]) },
	}
}

// hostRemove takes a host out of the configuration.
func (s *session) hostRemove(name string) error {
	wasDefault := false
	err := s.editConfig(func(c *config) error {
		if _, err := c.knownHost(name); err != nil {
			return err
		}
		delete(c.Hosts, name)
		if wasDefault = c.Default == name; wasDefault {
			c.Default = ""
		}
		return nil
	})
	if err != nil {
		return err
	}
	if s.json() {
		return s.term.JSON(struct {
			Removed    string `json:"removed"`
			WasDefault bool   `json:"was_default"`
		}{name, wasDefault})
	}
	if wasDefault {
		s.printf("%s is removed; there is no default any more\n", name)
		return nil
	}
	s.printf("%s is removed\n", name)
	return nil
}
