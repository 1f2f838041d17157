package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/oci"
	"github.com/tengil/tengil/builtins/pct"
)

func (s *session) ociCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "oci",
		Aliases:    []string{"images", "image"},
		SuggestFor: []string{"registry", "prune"},
		Short:      "Look at images and registries",
		Long: `Look at the images that a node keeps and at what registries have. A node keeps the
layers of all images in one store, each once; an archive, which Proxmox unpacks, is
made of them and may be removed.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	cmd.AddCommand(s.ociListCmd(), s.ociInspectCmd(), s.ociTagsCmd(), s.ociPruneCmd(), s.ociRemoveCmd(), s.ociVerifyCmd(), s.ociLoginCmd(), s.ociLogoutCmd())
	return cmd
}

// images asks what a node keeps of images, and which containers were made of them,
// by digest.
func (s *session) images(ctx context.Context, host *node) (*oci.Inventory, map[string][]string, error) {
	facts, err := host.facts(ctx)
	if err != nil {
		return nil, nil, err
	}
	if facts.Default.Templates == "" {
		return nil, nil, fmt.Errorf("no storage on %s can keep archives", facts.Node)
	}
	inv, err := oci.Look(ctx, host, facts.Default.Templates)
	if err != nil {
		return nil, nil, err
	}
	guests, node, err := pct.Look(ctx, host)
	if err != nil {
		return nil, nil, err
	}
	usedBy := map[string][]string{}
	for _, g := range guests.Mine() {
		if _, digest, ok := strings.Cut(g.ID.Image, "@"); ok && g.Node == node {
			usedBy[digest] = append(usedBy[digest], fmt.Sprintf("%s/%s", g.ID.App, g.ID.Name))
		}
	}
	return inv, usedBy, nil
}

// bytesText is a size as people read it.
func bytesText(n int64) string {
	switch {
	case n == 0:
		return "–"
	case n < 1e6:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// counted is "1 layer" or "3 layers".
func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
