package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/recipe"
	"github.com/tengil/tengil/recipes"
)

func (s *session) recipesCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "recipes",
		Short: "List, search and show recipes",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "list",
			Short: "List the recipes of the catalog",
			Args:  exactly(),
			RunE:  func(*cobra.Command, []string) error { return s.recipesList("") },
		},
		&cobra.Command{
			Use:   "search WORD",
			Short: "List the recipes that have a word in their name or description",
			Args:  exactly("WORD"),
			RunE:  func(_ *cobra.Command, args []string) error { return s.recipesList(args[0]) },
		},
		s.recipesShowCmd(),
	)
	return cmd
}

// recipesList lists the recipes that have word in them; "" lists all.
func (s *session) recipesList(word string) error {
	apps, err := catalog()
	if err != nil {
		return err
	}
	apps = slices.DeleteFunc(apps, func(a engine.App) bool { return !mentions(a, word) })
	if s.json() {
		return s.term.JSON(apps)
	}
	if len(apps) == 0 {
		s.notef("no recipe has %q in its name or description\n", word)
		return nil
	}
	rows := make([][]string, len(apps))
	for i, a := range apps {
		rows[i] = []string{a.Name, a.Category, a.Summary}
	}
	return s.term.Table([]string{"NAME", "CATEGORY", "SUMMARY"}, rows)
}

func mentions(a engine.App, word string) bool {
	text := strings.ToLower(a.Name + "\n" + a.Title + "\n" + a.Summary + "\n" + a.Category)
	return strings.Contains(text, strings.ToLower(word))
}

// catalog reads what the recipes that ship with tg say about themselves, without
// evaluating more of them.
func catalog() ([]engine.App, error) {
	names, err := catalogNames()
	if err != nil {
		return nil, err
	}
	apps := make([]engine.App, 0, len(names))
	for _, name := range names {
		data, err := fs.ReadFile(recipes.FS, name+".star")
		if err != nil {
			return nil, err
		}
		app, err := recipe.Declared(name+".star", data)
		if err != nil {
			return nil, err
		}
		app.Source = "catalog:" + name
		apps = append(apps, app)
	}
	return apps, nil
}

func (s *session) recipesShowCmd() *cobra.Command {
	var source bool
	cmd := &cobra.Command{
		Use:               "show RECIPE",
		Short:             "Show what a recipe deploys and which options it has",
		Args:              exactly("RECIPE"),
		ValidArgsFunction: s.completeRecipe,
		RunE: func(cmd *cobra.Command, args []string) error {
			if source {
				return s.recipeSource(args[0])
			}
			return s.recipesShow(cmd, args[0])
		},
	}
	cmd.Flags().BoolVar(&source, "source", false, "print the recipe itself")
	return cmd
}

func (s *session) recipeSource(name string) error {
	src, err := s.find(name)
	if err != nil {
		return err
	}
	defer src.close()
	data, err := fs.ReadFile(src.file, src.name)
	if err != nil {
		return err
	}
	_, err = s.term.RawOut().Write(data)
	return err
}

// A recipeInfo is a recipe for programs.
type recipeInfo struct {
	engine.App
	OptionList []optionInfo    `json:"option_list"`
	Steps      []engine.StepID `json:"steps"`
	Outputs    []string        `json:"outputs"`
	Files      []string        `json:"files"`
}

type optionInfo struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Default  string   `json:"default,omitempty"`
	Required bool     `json:"required,omitempty"`
	Choices  []string `json:"choices,omitempty"`
	Help     string   `json:"help,omitempty"`
}

// recipesShow evaluates a recipe for an imagined node, so that no node is asked.
func (s *session) recipesShow(cmd *cobra.Command, name string) error {
	src, err := s.find(name)
	if err != nil {
		return err
	}
	defer src.close()
	r, err := imagine(cmd.Context(), src, nil)
	if err != nil {
		return err
	}
	info := infoOf(r)
	if s.json() {
		return s.term.JSON(info)
	}
	return s.printRecipe(info)
}

func infoOf(r *recipe.Recipe) recipeInfo {
	info := recipeInfo{App: r.Graph.App, Files: r.Files, OptionList: []optionInfo{}, Outputs: []string{}}
	info.Options = nil // what an imagined node has says nothing
	for _, o := range r.Options {
		info.OptionList = append(info.OptionList, optionInfo{o.Name, o.Type, o.Default, o.Required, o.Choices, o.Help})
	}
	seen := map[engine.StepID]bool{}
	for _, n := range r.Graph.Nodes() {
		if !seen[n.Step.ID] {
			seen[n.Step.ID] = true
			info.Steps = append(info.Steps, n.Step.ID)
		}
	}
	for _, o := range r.Graph.Outputs {
		info.Outputs = append(info.Outputs, o.Name)
	}
	return info
}

func (s *session) printRecipe(r recipeInfo) error {
	title := r.Name
	if r.Title != "" && r.Title != r.Name {
		title += ": " + r.Title
	}
	s.printf("%s\n", s.term.Strong(title))
	for _, line := range [][2]string{
		{"", r.Summary}, {"category ", r.Category}, {"homepage ", r.Homepage}, {"license  ", r.License}, {"recipe   ", r.Source},
	} {
		if line[1] != "" {
			s.printf("  %s%s\n", line[0], line[1])
		}
	}
	s.printf("\nmakes\n")
	for _, step := range r.Steps {
		s.printf("  %s\n", step)
	}
	s.printf("\n")
	if len(r.OptionList) == 0 {
		return nil
	}
	rows := make([][]string, len(r.OptionList))
	for i, o := range r.OptionList {
		rows[i] = []string{o.Name, optionType(o), optionDefault(o), o.Help}
	}
	return s.term.Table([]string{"OPTION", "TYPE", "DEFAULT", "HELP"}, rows)
}

func optionType(o optionInfo) string {
	if len(o.Choices) > 0 {
		return strings.Join(o.Choices, "|")
	}
	return o.Type
}

func optionDefault(o optionInfo) string {
	switch {
	case o.Required:
		return "(required)"
	case o.Type == "zpool" && o.Default == imagined().Default.Pool, o.Type == "storage" && o.Default == imagined().Default.Storage:
		return "(the node's)"
	}
	return o.Default
}

// orDeclared turns the error of options that a recipe needs into nothing, for
// those who only want to know about the options.
func orDeclared(err error) []recipe.Option {
	var missing *recipe.MissingError
	if errors.As(err, &missing) {
		return missing.Options
	}
	return nil
}

// placeholder returns a value of the option's type, for an evaluation that only
// looks at what a recipe makes.
func placeholder(o recipe.Option) (string, error) {
	if len(o.Choices) > 0 {
		return o.Choices[0], nil
	}
	values := map[string]string{
		"string": "example", "int": "1", "bool": "true", "size": "1G", "path": "/srv/example", "dataset": "pool/example",
		"zpool": "pool", "storage": "local-zfs", "ip": "192.0.2.10", "duration": "1m",
	}
	if v, ok := values[o.Type]; ok && o.Pattern == "" {
		return v, nil
	}
	return "", fmt.Errorf("option %q has no example", o.Name)
}
