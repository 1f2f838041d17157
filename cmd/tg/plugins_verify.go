package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func (s *session) pluginsVerifyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Compare every plugin with the checksum of when it was installed",
		Args:  exactly(),
		RunE:  func(*cobra.Command, []string) error { return s.pluginsVerify() },
	}
}

// A pluginCheck is how a plugin compares with its checksum, for programs.
type pluginCheck struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

func (s *session) pluginsVerify() error {
	store, err := s.pluginStore()
	if err != nil {
		return err
	}
	all, err := store.List()
	if err != nil {
		return err
	}
	checks := []pluginCheck{}
	var errs []error
	for _, p := range all {
		c := pluginCheck{Name: p.Info.Name, OK: true}
		if err := p.Verify(); err != nil {
			c.OK, c.Error = false, err.Error()
			errs = append(errs, err)
		}
		checks = append(checks, c)
	}
	if s.json() {
		if err := s.term.JSON(checks); err != nil || len(errs) == 0 {
			return err
		}
		return statusError(exitFailed)
	}
	for _, c := range checks {
		if c.OK {
			s.printf("%s is what was installed\n", c.Name)
		}
	}
	if len(checks) == 0 {
		s.printf("no plugins are installed\n")
	}
	return errors.Join(errs...)
}
