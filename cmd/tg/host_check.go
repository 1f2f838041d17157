package main

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/engine"
)

func (s *session) hostCheckCmd() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "check [NAME]",
		Short: "Check that a host, or each of the config file, is ready for tg",
		Long: `Check that a host, or each host of the config file, is ready for tg, as tg doctor does.
With a problem on any of them the exit status is 1.`,
		Args:              atMost("NAME"),
		ValidArgsFunction: s.completeKnownHost,
		RunE:              func(cmd *cobra.Command, args []string) error { return s.hostCheck(cmd.Context(), args, f) },
	}
	cmd.Flags().BoolVar(&f.registries, "registries", false, "try whether the nodes reach the registries")
	return cmd
}

// hostCheck checks hosts one after the other, as one may ask about its key.
func (s *session) hostCheck(ctx context.Context, names []string, f doctorFlags) error {
	conf, err := s.config()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(conf.Hosts))
	}
	if len(names) == 0 {
		return engine.WithHint(errors.New("the config file has no hosts"), "to check one that is not in it:\n    tg --host root@pve1 doctor")
	}
	reports := []report{}
	ok := true
	for i, name := range names {
		t, err := s.hostNamed(conf, []string{name})
		if err != nil {
			return err
		}
		r := s.examine(ctx, t, f)
		if err := ctx.Err(); err != nil {
			return err
		}
		r.Host = name
		reports, ok = append(reports, r), ok && r.OK
		if !s.json() {
			if i > 0 {
				s.printf("\n")
			}
			s.printf("%s\n", s.term.Strong(name))
			s.printChecks(r.Checks)
		}
	}
	if s.json() {
		if err := s.term.JSON(reports); err != nil {
			return err
		}
	}
	if !ok {
		return statusError(exitFailed)
	}
	return nil
}
