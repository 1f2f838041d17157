package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/cmd/tg/draw"
	"github.com/tengil/tengil/cmd/tg/ui"
)

type graphFlags struct {
	format string
	values string
	parts  bool
}

func (s *session) graphCmd() *cobra.Command {
	f := graphFlags{format: "mermaid"}
	cmd := &cobra.Command{
		Use:   "graph RECIPE [key=value…]",
		Short: "Draw what a recipe makes and what waits for what",
		Long: `Draw what a recipe makes and what waits for what, for a node that has everything.
No node is asked.`,
		Example: `  tg graph immich --format svg > immich.svg
  tg graph immich --format dot --parts`,
		Args:              atLeast("RECIPE"),
		ValidArgsFunction: s.completeRecipeArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.graph(cmd.Context(), args[0], args[1:], f)
		},
	}
	cmd.Flags().StringVar(&f.format, "format", f.format, "dot, mermaid or svg")
	cmd.Flags().StringVar(&f.values, "values", "", "file with option values: a JSON object, or lines key=value")
	cmd.Flags().BoolVar(&f.parts, "parts", false, "draw create, configure, start and ready of each container")
	if err := cmd.RegisterFlagCompletionFunc("format", completeWords("dot", "mermaid", "svg")); err != nil {
		panic(err) // the flag is defined right above
	}
	return cmd
}

// graph draws a recipe.
func (s *session) graph(ctx context.Context, name string, options []string, f graphFlags) error {
	if s.json() {
		return usagef("graph draws; --output json is not among its formats\n  hint: tg recipes show %s -o json tells the steps", ui.Command([]string{name}))
	}
	drawings := map[string]func(io.Writer, draw.Diagram) error{"dot": draw.Dot, "mermaid": draw.Mermaid, "svg": draw.SVG}
	write, ok := drawings[f.format]
	if !ok {
		return usagef("--format is %q; wanted dot, mermaid or svg", f.format)
	}
	src, values, err := s.source(choice{name, options, f.values})
	if err != nil {
		return err
	}
	defer src.close()
	r, err := imagine(ctx, src, values)
	if err != nil {
		return err
	}
	return write(s.term.Out, draw.Of(r.Graph, f.parts))
}
