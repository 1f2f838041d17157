package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/engine"
)

func (s *session) hostDefaultCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "default [NAME]",
		Short:             "Choose the host when none is named, or say which it is",
		Args:              atMost("NAME"),
		ValidArgsFunction: s.completeDefault,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return s.tellDefault()
			}
			return s.hostDefault(args[0])
		},
	}
}

// completeDefault offers the lab too, which needs no entry.
func (s *session) completeDefault(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.completeHost(cmd, args, word)
}

// hostDefault makes a host the default.
func (s *session) hostDefault(name string) error {
	err := s.editConfig(func(c *config) error {
		if name != labName {
			if _, err := c.knownHost(name); err != nil {
				return err
			}
		}
		c.Default = name
		return nil
	})
	if err != nil {
		return err
	}
	if s.json() {
		return s.tellDefault()
	}
	s.printf("the default is %s\n", name)
	return nil
}

// tellDefault says which host is the default.
func (s *session) tellDefault() error {
	conf, err := s.config()
	if err != nil {
		return err
	}
	if conf.Default == "" {
		return engine.WithHint(errors.New("there is no default host"), "to choose one:\n    tg host default NAME")
	}
	if s.json() {
		return s.term.JSON(struct {
			Default string `json:"default"`
		}{conf.Default})
	}
	s.printf("%s\n", conf.Default)
	return nil
}
