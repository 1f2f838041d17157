package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/plugins/launch"
	"github.com/tengil/tengil/plugins/registrytest"
)

func (s *session) pluginsCheckCmd() *cobra.Command {
	var o registrytest.Options
	var setup []string
	cmd := &cobra.Command{
		Use:   "test PATH",
		Short: "Run the conformance suite on a plugin or on a kind of Starlark",
		Long: `Run the conformance suite on a plugin: a program that need not be installed, or the
name of one that is. It is started as tg starts it, and asked all that tg asks, and
much that it should refuse. Variables that it asks for come from the environment.

A file that ends in .star defines kinds. Each is tested with its example, on lab nodes
that are made for it: that it finds what it has applied, sees when that is changed,
arrives after a failure at each command, and is removed without its recipe.`,
		Example: `  tg plugins test ./registry-mine
  tg plugins test motd.star
  tg plugins test kinds/samba_share.star --setup 'apt-get install samba'`,
		Args: exactly("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.HasSuffix(args[0], ".star") {
				return s.kindsCheck(cmd.Context(), args[0], setup)
			}
			return s.pluginsCheck(cmd.Context(), args[0], o)
		},
	}
	cmd.Flags().StringArrayVar(&setup, "setup", nil, "of a kind: a shell line that prepares each lab node")
	cmd.Flags().StringVar(&o.Ref, "ref", "", "an image that is there; by default what the plugin names as its example")
	cmd.Flags().StringVar(&o.Missing, "missing", "", "an image that is not there; by default one with a longer name")
	cmd.Flags().StringVar(&o.Arch, "arch", "amd64", "the architecture to resolve it for")
	return cmd
}

func (s *session) pluginsCheck(ctx context.Context, path string, o registrytest.Options) (err error) {
	p, err := s.pluginToTest(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if !s.json() {
		o.Each = func(r registrytest.Result) {
			switch {
			case r.Err != nil:
				s.printf("failed   %s\n         %s\n", r.Check, r.Error)
			case r.Skipped != "":
				s.printf("skipped  %s: %s\n", r.Check, r.Skipped)
			default:
				s.printf("ok       %s\n", r.Check)
			}
		}
	}
	report := registrytest.Run(ctx, p, o)
	if err := ctx.Err(); err != nil {
		return err
	}
	passed, failed, skipped := report.Count()
	if s.json() {
		if err := s.term.JSON(report); err != nil {
			return err
		}
	} else {
		s.printf("%d ok, %d failed, %d skipped\n", passed, failed, skipped)
	}
	if failed > 0 {
		return statusError(exitFailed)
	}
	return nil
}

// pluginToTest returns the plugin that is meant, with the variables that it asks for.
func (s *session) pluginToTest(ctx context.Context, path string) (*launch.Plugin, error) {
	store, err := s.pluginStore()
	if err != nil {
		return nil, err
	}
	if p, err := store.Get(path); err == nil {
		return launch.Program(p.File(), p.Info, p.Env, s.pluginOptions()), nil
	}
	file, err := store.Find(path)
	if err != nil {
		return nil, err
	}
	info, err := launch.Probe(ctx, file, s.pluginOptions())
	if err != nil {
		return nil, fmt.Errorf("it does not say what it is: %w", err)
	}
	return launch.Program(file, info, nil, s.pluginOptions()), nil
}
