package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine/recipe"
)

func (s *session) docsCmd() *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use:   "docs [NAME]",
		Short: "Explain the functions that recipes call",
		Example: `  tg docs
  tg docs pct_create
  tg docs --markdown > docs/reference.md`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return exactly("NAME")(cmd, args)
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return functionNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case markdown:
				return recipe.Reference(s.term.Out, builtins.Kinds(), builtins.Constructors())
			case len(args) == 0:
				return s.docsList()
			}
			return s.docsOf(args[0])
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print the whole reference")
	return cmd
}

// docsList lists the functions with their first sentences.
func (s *session) docsList() error {
	var rows [][]string
	for _, d := range recipe.Docs(builtins.Kinds(), builtins.Constructors()) {
		rows = append(rows, []string{d.Name, d.Section, d.Summary()})
	}
	if err := s.term.Table([]string{"FUNCTION", "SECTION", "WHAT IT DOES"}, rows); err != nil {
		return err
	}
	s.printf("\nmore about one of them:\n    tg docs pct_create\n")
	return nil
}

func (s *session) docsOf(name string) error {
	text, err := recipe.Help(name, builtins.Kinds(), builtins.Constructors())
	if err != nil {
		return err
	}
	s.printf("%s\n", strings.TrimRight(text, "\n"))
	return nil
}

func functionNames() []string {
	var names []string
	for _, d := range recipe.Docs(builtins.Kinds(), builtins.Constructors()) {
		names = append(names, d.Name)
	}
	return names
}
