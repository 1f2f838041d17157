package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/builtins/capacity"
	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/recipe"
	"github.com/tengil/tengil/engine/record"
)

// A choice is a recipe as the command line names it: with values for its options.
type choice struct {
	name    string
	options []string // key=value
	values  string   // file of values; "" for none
}

// source finds the recipe and reads the values. The caller closes the source.
func (s *session) source(c choice) (*source, map[string]string, error) {
	values, err := parseValues(c.options, c.values)
	if err != nil {
		return nil, nil, err
	}
	src, err := s.find(c.name)
	return src, values, err
}

// An opened recipe is evaluated for a node.
type opened struct {
	host   *node
	facts  *engine.Facts
	recipe *recipe.Recipe
	source *source
	given  []string // names of the options that somebody chose
	// waiting is told that a plan waits; nil for nobody.
	waiting func(err error, wait time.Duration)
}

// open connects to the node, reads its facts and evaluates the recipe for it. With
// a file of facts there is no node.
func (s *session) open(ctx context.Context, c choice, facts string) (*opened, error) {
	src, values, err := s.source(c)
	if err != nil {
		return nil, err
	}
	o := &opened{source: src, waiting: s.waiting, given: slices.Sorted(maps.Keys(values))}
	if o.host, o.facts, err = s.factsFor(ctx, facts); err != nil {
		return nil, errors.Join(err, src.close())
	}
	if o.recipe, err = s.load(ctx, src, o.facts, values); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// waiting tells that a plan takes longer, and why.
func (s *session) waiting(err error, wait time.Duration) {
	said, _, _ := strings.Cut(err.Error(), "\n")
	s.notef("%s\nasked again in %s\n", said, ui.Took(wait))
}

// plan compares the recipe with the node as it is now.
func (o *opened) plan(ctx context.Context) (*engine.Plan, error) {
	return plan.Build(ctx, o.recipe.Graph, o.host, o.facts, plan.Options{
		Kinds: builtins.Kinds(), Checks: []engine.Check{capacity.Check()}, Also: []engine.Ask{engine.AskGlob(record.PrivGlob(o.recipe.Graph.App.Name))},
		Waiting: o.waiting,
	})
}

// Close ends the connection and closes the recipe.
func (o *opened) Close() error { return errors.Join(o.host.Close(), o.source.close()) }
