package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/sshhost"
)

// completeRecipe offers the recipes of the catalog, and files that end in .star;
// to run also in .plan, as files of plans may.
func (s *session) completeRecipe(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, err := catalogNames()
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, word) })
	if err != nil || len(names) == 0 {
		if cmd.Name() == "run" {
			return []string{"star", "plan"}, cobra.ShellCompDirectiveFilterFileExt
		}
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

// completeTime is how long a node may take to say what it has: whoever pressed
// the key waits.
const completeTime = 2 * time.Second

// completeApp offers the applications of the node, if it answers quickly.
func (s *session) completeApp(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, f := range s.foundQuietly(cmd.Context()) {
		if !slices.Contains(names, f.App) {
			names = append(names, f.App)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeContainer offers APP/CONTAINER of the node's containers.
func (s *session) completeContainer(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, f := range s.foundQuietly(cmd.Context()) {
		if name := f.App + "/" + f.Step.Name(); f.Step.Kind() == "pct_create" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// foundQuietly asks the node what tengil made there. Nothing is printed, nobody is
// asked for a key, and no lab is started: who completes a word wants no more.
func (s *session) foundQuietly(ctx context.Context) []engine.Found {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	host, err := s.connectQuietly(ctx)
	if err != nil {
		return nil
	}
	defer host.Close()
	found, err := plan.Find(ctx, host, builtins.Kinds(), "")
	if err != nil {
		return nil
	}
	return found
}

func (s *session) connectQuietly(ctx context.Context) (engine.Host, error) {
	t, err := s.target()
	if err != nil {
		return nil, err
	}
	switch t.address {
	case labName:
		dir, err := s.labDir()
		if err != nil {
			return nil, err
		}
		at, running := lab.Find(dir)
		if !running {
			return nil, lab.ErrNoLab
		}
		return s.dialLab(ctx, at, labName)
	case "":
		return sshhost.Local(sshhost.Options{}), nil
	}
	o := sshhost.DefaultOptions()
	o.ConnectTimeout = completeTime
	return sshhost.Dial(ctx, t.address, o)
}

// completeHost offers the lab and the hosts of the configuration.
func (s *session) completeHost(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names := []string{labName}
	if conf, err := s.config(); err == nil {
		names = append(names, slices.Sorted(maps.Keys(conf.Hosts))...)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeAppOrContainer offers the applications, and once one is typed with its
// slash, its containers.
func (s *session) completeAppOrContainer(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if strings.Contains(word, "/") {
		return s.completeContainer(cmd, args, word)
	}
	return s.completeApp(cmd, args, word)
}

// completePlace offers a container with the colon that ends it, else files of this
// machine.
func (s *session) completePlace(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, _ := s.completeContainer(cmd, nil, word)
	var places []string
	for _, n := range names {
		if strings.HasPrefix(n+":", word) && word != "" {
			places = append(places, n+":")
		}
	}
	if len(places) == 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return places, cobra.ShellCompDirectiveNoSpace
}
