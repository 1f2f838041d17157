package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/oci"
	"github.com/tengil/tengil/engine"
)

type pruneFlags struct{ dryRun, archives, yes bool }

func (s *session) ociPruneCmd() *cobra.Command {
	var f pruneFlags
	cmd := &cobra.Command{
		Use:        "prune",
		SuggestFor: []string{"gc", "clean"},
		Short:      "Remove images that no container was made of",
		Long: `Remove images that no container was made of, with their archives and with the layers
that no other image has, and what pulls have left that were cut off. Containers do
not need the image that they were made of; it is kept for the next one.

With --archives the archives of the other images go too. They are made anew of the
store when a container is created, without a registry.`,
		Example: `  tg oci prune --dry-run
  tg oci prune --archives --yes`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.ociRemove(cmd.Context(), f, []string{"oci", "prune"}, nil)
		},
	}
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what would go")
	cmd.Flags().BoolVar(&f.archives, "archives", false, "also the archives of images that are in use")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	return cmd
}

func (s *session) ociRemoveCmd() *cobra.Command {
	var f pruneFlags
	cmd := &cobra.Command{
		Use:     "rm IMAGE…",
		Aliases: []string{"remove"},
		Short:   "Remove images from a node",
		Long: `Remove images, by reference or digest as tg oci list shows them. Containers that were
made of them stay as they are; the next one pulls the image again.`,
		Example: `  tg oci rm docker.io/library/redis:8`,
		Args:    atLeast("IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.ociRemove(cmd.Context(), f, append([]string{"oci", "rm"}, args...), args)
		},
	}
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what would go")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	return cmd
}

// ociRemove removes the images that are named, or with none all that nobody uses.
func (s *session) ociRemove(ctx context.Context, f pruneFlags, typed, named []string) (err error) {
	host, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer host.Close()
	inv, usedBy, err := s.images(ctx, host)
	if err != nil {
		return err
	}
	goes, err := whichGo(inv, usedBy, named)
	if err != nil {
		return err
	}
	removals := inv.Without(goes, f.archives)
	if len(removals) == 0 {
		s.printf("nothing to remove\n")
		return nil
	}
	if err := s.tellRemovals(removals); err != nil || f.dryRun {
		return err
	}
	if err := s.consent(ctx, f.yes, "Remove?"); err != nil {
		return err
	}
	locks, err := s.holdAll(ctx, host, s.line(typed...))
	defer func() {
		for _, l := range locks {
			err = errors.Join(err, l.Close())
		}
	}()
	if err != nil {
		return err
	}
	// A run may have pulled something since it was looked.
	if inv, usedBy, err = s.images(ctx, host); err != nil {
		return err
	}
	if goes, err = whichGo(inv, usedBy, named); err != nil {
		return err
	}
	same := func(a, b oci.Removal) bool { return a.What == b.What && a.Size == b.Size }
	if now := inv.Without(goes, f.archives); !slices.EqualFunc(now, removals, same) {
		return engine.WithHint(fmt.Errorf("images on %s have changed meanwhile; nothing was removed", host.Name()), "look again:\n    "+s.line(typed...))
	}
	for _, r := range removals {
		if err := r.Remove(ctx, host); err != nil {
			return fmt.Errorf("%s: %w", r.What, err)
		}
	}
	return nil
}

// whichGo reports of each image whether it is to be removed.
func whichGo(inv *oci.Inventory, usedBy map[string][]string, named []string) (func(oci.Kept) bool, error) {
	if named == nil {
		return func(k oci.Kept) bool { return len(usedBy[k.Digest]) == 0 }, nil
	}
	going := map[string]bool{}
	var known []string
	for _, name := range named {
		found := false
		for _, k := range inv.Images {
			known = append(known, k.Refs...)
			full := name
			if ref, err := oci.ParseReference(name); err == nil {
				full = ref.String()
			}
			if k.Digest == name || shortDigest(k.Digest) == name || slices.Contains(k.Refs, full) {
				going[k.Digest], found = true, true
			}
		}
		if !found {
			return nil, engine.WithHint(fmt.Errorf("there is no image %q%s", name, engine.DidYouMean(name, known)), "those that are there:\n    tg oci list")
		}
	}
	return func(k oci.Kept) bool { return going[k.Digest] }, nil
}

func (s *session) tellRemovals(removals []oci.Removal) error {
	type view struct {
		What string `json:"what"`
		Size int64  `json:"size"`
	}
	var views []view
	var sum int64
	for _, r := range removals {
		views = append(views, view{r.What, r.Size})
		sum += r.Size
	}
	if s.json() {
		return s.term.JSON(views)
	}
	for _, v := range views {
		s.printf("- %s  %s\n", v.What, bytesText(v.Size))
	}
	s.printf("%s in all\n", bytesText(sum))
	return nil
}

// holdAll takes the locks of all applications of a node, so that none of them pulls
// what is being removed.
func (s *session) holdAll(ctx context.Context, host *node, typed string) ([]io.Closer, error) {
	paths, err := oci.Busy(ctx, host)
	if err != nil {
		return nil, err
	}
	var held []io.Closer
	for _, path := range paths {
		lock, err := host.Hold(ctx, engine.Lock{Path: path, Holder: s.who() + ", " + typed, Since: time.Now().UTC()})
		if err != nil {
			return held, engine.WithHint(fmt.Errorf("a run is at work on %s: %w", host.Name(), err), "wait until it has ended, and run this again")
		}
		held = append(held, lock)
	}
	return held, nil
}
