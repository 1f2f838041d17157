package main

import (
	"slices"

	"github.com/spf13/cobra"
)

func (s *session) labDoctorCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check whether containers can run for real on this machine",
		Long: `Check whether containers can run for real on this machine, as tg lab start --real has
them; change nothing. Below what is missing stands what to type. The model, which is
what tg lab start runs without --real, needs none of it.`,
		Args: exactly(),
		RunE: func(*cobra.Command, []string) error { return s.labDoctor() },
	}
}

func (s *session) labDoctor() error {
	r := report{Host: "this machine", Checks: labChecks()}
	r.OK = !slices.ContainsFunc(r.Checks, func(c check) bool { return !c.OK })
	return s.tell(r)
}
