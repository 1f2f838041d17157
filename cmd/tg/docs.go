package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/recipe"
	"github.com/tengil/tengil/recipes"
)

func (s *session) docsCmd() *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use:   "docs [NAME|FILE]",
		Short: "Explain the functions that recipes call",
		Long: `Explain the functions that recipes call: all of them in short, or one. Of a FILE
that ends in .star and defines kinds, explain these.`,
		Example: `  tg docs
  tg docs pct_create
  tg docs kinds/samba_share.star
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
			case markdown && s.json():
				return usagef("--markdown and --output json; choose one")
			case len(args) == 1 && strings.HasSuffix(args[0], ".star"):
				return s.docsOfFile(args[0])
			case s.json():
				return s.docsJSON(args)
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

// A functionDoc describes a recipe function for programs.
type functionDoc struct {
	Name    string     `json:"name"`
	Section string     `json:"section"` // Declarations, Steps, Values
	Doc     string     `json:"doc"`
	Example string     `json:"example,omitempty"`
	Params  []paramDoc `json:"params"`
	Outputs []valueDoc `json:"outputs,omitempty"`
	Result  string     `json:"result,omitempty"` // the output that a call evaluates to, if not the step
}

type paramDoc struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Required bool     `json:"required,omitempty"`
	Position int      `json:"position,omitempty"` // from 1, for those that need no name
	Default  string   `json:"default,omitempty"`
	Choices  []string `json:"choices,omitempty"`
	Doc      string   `json:"doc"`
	Example  string   `json:"example,omitempty"`
}

type valueDoc struct {
	Name string `json:"name"`
	Doc  string `json:"doc"`
}

// docsJSON describes all functions, or the one that is named.
func (s *session) docsJSON(names []string) error {
	all := []functionDoc{}
	for _, d := range recipe.Docs(builtins.Kinds(), builtins.Constructors()) {
		f := docOf(d)
		if len(names) == 1 && names[0] == d.Name {
			return s.term.JSON(f)
		}
		all = append(all, f)
	}
	if len(names) == 1 {
		return s.docsOf(names[0]) // says which was meant
	}
	return s.term.JSON(all)
}

func docOf(d recipe.Doc) functionDoc {
	f := functionDoc{Name: d.Name, Section: d.Section, Doc: d.Doc, Example: d.Example, Params: []paramDoc{}, Result: d.Result}
	for _, p := range d.Params {
		f.Params = append(f.Params, paramDoc{p.Name, string(p.Type), p.Required, p.Position, p.Default, p.Choices, p.Doc, p.Example})
	}
	for _, o := range d.Outputs {
		f.Outputs = append(f.Outputs, valueDoc{o.Name, o.Doc})
	}
	return f
}

// findKinds opens a file that defines kinds: one of the user, or one of the catalog,
// as kinds/samba_share.star.
func (s *session) findKinds(name string) (*source, error) {
	src, err := fromFile(name)
	if errors.Is(err, fs.ErrNotExist) && fs.ValidPath(name) {
		if _, e := fs.Stat(recipes.FS, name); e == nil {
			return &source{file: recipes.FS, name: name, close: func() error { return nil }}, nil
		}
	}
	return src, err
}

// docsOfFile describes the kinds that a file defines.
func (s *session) docsOfFile(name string) error {
	src, err := s.findKinds(name)
	if err != nil {
		return err
	}
	defer src.close()
	scripts, err := recipe.Scripts(src.name, recipe.Options{
		Kinds: builtins.Kinds(), Constructors: builtins.Constructors(), FS: src.file, Dir: src.dir, Catalogs: src.otherCatalogs(),
	})
	if err != nil {
		return err
	}
	if len(scripts) == 0 {
		return engine.WithHint(fmt.Errorf("%s defines no kinds", name), "to see what a recipe makes:\n    tg recipes show "+name)
	}
	all := []functionDoc{}
	for i, k := range scripts {
		if s.json() {
			all = append(all, docOf(recipe.ScriptDoc(k)))
			continue
		}
		if i > 0 {
			s.printf("\n")
		}
		s.printf("%s\n", strings.TrimRight(recipe.ScriptDoc(k).Text(), "\n"))
	}
	if s.json() {
		return s.term.JSON(all)
	}
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
