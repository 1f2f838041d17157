package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
)

// An imageView is an image that a node keeps.
type imageView struct {
	Refs        []string `json:"refs"`
	Digest      string   `json:"digest"`
	Size        int64    `json:"size"` // bytes of its blobs, some of which others may share
	Archive     string   `json:"archive,omitempty"`
	ArchiveSize int64    `json:"archiveSize,omitempty"`
	UsedBy      []string `json:"usedBy"`
	Missing     int      `json:"missing,omitempty"` // blobs that the store lacks
}

func (s *session) ociListCmd() *cobra.Command {
	return &cobra.Command{
		Use:        "list",
		Aliases:    []string{"ls"},
		SuggestFor: []string{"ps"},
		Short:      "List the images that a node keeps",
		Args:       exactly(),
		RunE:       func(cmd *cobra.Command, _ []string) error { return s.ociList(cmd.Context()) },
	}
}

func (s *session) ociList(ctx context.Context) error {
	host, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer host.Close()
	inv, usedBy, err := s.images(ctx, host)
	if err != nil {
		return err
	}
	views := []imageView{}
	var rows [][]string
	for _, k := range inv.Images {
		v := imageView{Refs: append([]string{}, k.Refs...), Digest: k.Digest, Size: k.Size(), Archive: k.Archive, ArchiveSize: k.Packed,
			UsedBy: append([]string{}, usedBy[k.Digest]...), Missing: len(k.Missing)}
		views = append(views, v)
		used := strings.Join(v.UsedBy, ", ")
		if used == "" {
			used = "nobody"
		}
		name := "(a tag has moved on)"
		if len(v.Refs) > 0 {
			name = strings.Join(v.Refs, ", ")
		}
		rows = append(rows, []string{name, shortDigest(k.Digest), bytesText(v.Size), bytesText(v.ArchiveSize), used})
	}
	if s.json() {
		return s.term.JSON(views)
	}
	if len(rows) == 0 {
		s.printf("no images on %s yet\n", host.Name())
		return nil
	}
	if err := s.term.Table([]string{"IMAGE", "DIGEST", "SIZE", "ARCHIVE", "USED BY"}, rows); err != nil {
		return err
	}
	all := inv.Loose
	var shared int64
	seen := map[string]bool{}
	for _, k := range inv.Images {
		for _, f := range k.Blobs {
			if !seen[f.Name] {
				seen[f.Name] = true
				shared += f.Size
			}
		}
	}
	for _, f := range all {
		shared += f.Size
	}
	s.notef("the store takes %s; what images share is there once\n", bytesText(shared))
	return nil
}

// shortDigest is a digest as people read it.
func shortDigest(digest string) string { return digest[:min(len(digest), len("sha256:")+12)] }
