package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/oci"
)

func (s *session) ociInspectCmd() *cobra.Command {
	var arch string
	cmd := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Show an image as Proxmox will use it",
		Long: `Ask the registry, from the node, for an image and show what of it a container gets:
command, environment, user, directories for data, ports. Nothing is pulled. It ends
with 1 for an image that tg would refuse, and says why.`,
		Example: `  tg oci inspect docker.io/library/redis:8`,
		Args:    exactly("IMAGE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return s.ociInspect(cmd.Context(), args[0], arch) },
	}
	cmd.Flags().StringVar(&arch, "arch", "", "amd64 or arm64; the node's without")
	return cmd
}

func (s *session) ociInspect(ctx context.Context, name, arch string) error {
	host, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer host.Close()
	facts, err := host.facts(ctx)
	if err != nil {
		return err
	}
	img, err := oci.Inspect(ctx, host, facts, name, arch)
	if err != nil {
		return err
	}
	if s.json() {
		return s.term.JSON(img)
	}
	row := func(what, text string) {
		if text != "" {
			s.printf("%-11s %s\n", what, text)
		}
	}
	row("image", img.Ref)
	row("digest", img.Digest)
	row("platform", img.Platform)
	row("size", bytesText(img.Size)+" in "+counted(len(img.Layers), "layer"))
	row("command", strings.Join(img.Argv, " "))
	row("user", img.User)
	row("directory", img.WorkingDir)
	row("stop signal", img.StopSignal)
	row("ports", strings.Join(img.Ports, ", "))
	for _, v := range img.Volumes {
		row("volume", v+"  (without a mount, what is written there goes with the container)")
	}
	for _, e := range img.Env {
		row("env", e)
	}
	return nil
}

func (s *session) ociTagsCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "tags REPOSITORY",
		Short:   "List the tags of an image in its registry, newest version first",
		Example: `  tg oci tags ghcr.io/immich-app/immich-server`,
		Args:    exactly("REPOSITORY"),
		RunE:    func(cmd *cobra.Command, args []string) error { return s.ociTags(cmd.Context(), args[0]) },
	}
}

func (s *session) ociTags(ctx context.Context, name string) error {
	host, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer host.Close()
	tags, err := oci.Tags(ctx, host, name)
	if err != nil {
		return err
	}
	if s.json() {
		return s.term.JSON(tags)
	}
	for _, t := range tags {
		s.printf("%s\n", t)
	}
	return nil
}
