package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// completeRecipe offers the recipes of the catalog, and files that end in .star.
func (s *session) completeRecipe(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, err := catalogNames()
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, word) })
	if err != nil || len(names) == 0 {
		return []string{"star"}, cobra.ShellCompDirectiveFilterFileExt
	}
	return names, cobra.ShellCompDirectiveDefault
}

// completeRecipeArgs offers a recipe, then its options that are not given yet.
func (s *session) completeRecipeArgs(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return s.completeRecipe(cmd, args, word)
	}
	const none = cobra.ShellCompDirectiveNoFileComp
	src, err := s.find(args[0])
	if err != nil {
		return nil, none
	}
	defer src.close()
	r, err := imagine(cmd.Context(), src, nil)
	if err != nil {
		return nil, none
	}
	given := map[string]bool{}
	for _, a := range args[1:] {
		key, _, _ := strings.Cut(a, "=")
		given[key] = true
	}
	var offers []string
	for _, o := range r.Options {
		if key, _, ok := strings.Cut(word, "="); ok && key == o.Name {
			return completeChoices(o.Name, o.Choices), none
		}
		if !given[o.Name] {
			offers = append(offers, cobra.CompletionWithDesc(o.Name+"=", o.Help))
		}
	}
	return offers, none | cobra.ShellCompDirectiveNoSpace
}

func completeChoices(name string, choices []string) []string {
	offers := make([]string, len(choices))
	for i, c := range choices {
		offers[i] = name + "=" + c
	}
	return offers
}

// completeApp offers names without asking a node: an app is called as its recipe.
func (s *session) completeApp(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	names, err := catalogNames()
	if len(args) > 0 || err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeHost offers the lab and the hosts of the configuration.
func (s *session) completeHost(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names := []string{labName}
	if conf, err := s.config(); err == nil {
		names = append(names, slices.Sorted(maps.Keys(conf.Hosts))...)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
