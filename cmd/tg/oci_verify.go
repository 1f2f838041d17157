package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

func (s *session) ociVerifyCmd() *cobra.Command {
	var repair bool
	cmd := &cobra.Command{
		Use:        "verify",
		SuggestFor: []string{"check", "fsck"},
		Short:      "Compare what a node keeps of images with its digests",
		Long: `Read every layer, config and manifest in the store of a node and compare it with its
digest. It ends with 1 if something is wrong. With --repair, what is damaged is
removed, and so are the archives that were made of it; the next run that needs it
pulls it again.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.ociVerify(cmd.Context(), repair) },
	}
	cmd.Flags().BoolVar(&repair, "repair", false, "remove what is damaged")
	return cmd
}

func (s *session) ociVerify(ctx context.Context, repair bool) (err error) {
	host, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer host.Close()
	if repair { // so that nobody pulls what is being removed
		locks, lockErr := s.holdAll(ctx, host, s.line("oci", "verify", "--repair"))
		defer func() {
			for _, l := range locks {
				err = errors.Join(err, l.Close())
			}
		}()
		if lockErr != nil {
			return lockErr
		}
	}
	inv, _, err := s.images(ctx, host)
	if err != nil {
		return err
	}
	faults, err := inv.Verify(ctx, host, func(int64, int64) {})
	if err != nil {
		return err
	}
	type view struct {
		What     string `json:"what"`
		Why      string `json:"why"`
		Repaired bool   `json:"repaired"`
	}
	views := []view{}
	for _, f := range faults {
		if repair {
			for _, r := range f.Repair {
				if err := r.Remove(ctx, host); err != nil {
					return err
				}
			}
		}
		views = append(views, view{f.What, f.Why, repair})
	}
	if s.json() {
		if err := s.term.JSON(views); err != nil {
			return err
		}
	} else {
		for _, v := range views {
			s.printf("%s: %s\n", v.What, v.Why)
		}
		if len(views) == 0 {
			s.printf("%s: whole\n", counted(len(inv.Images), "image"))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	if repair {
		s.notef("removed; the next run that needs it pulls it again\n")
		return nil
	}
	s.notef("to remove what is damaged, so that it is pulled again:\n    %s\n", s.line("oci", "verify", "--repair"))
	return statusError(exitFailed)
}
