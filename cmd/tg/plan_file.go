package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/recipe"
)

// maxPlanFile bounds what is read of a plan file; a recipe has at most some
// files of at most 1 MiB.
const maxPlanFile = 64 << 20

// planData returns what is in the file of that name, if that is meant to be a
// plan; ok is false for recipes, and for names that are no file.
func planData(name string) (data []byte, ok bool, err error) {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return nil, false, nil // find says what is wrong with it
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	data, err = io.ReadAll(io.LimitReader(f, maxPlanFile))
	return data, plan.IsFile(data), err
}

// errIsPlan says that a plan file was given where a recipe is wanted.
func errIsPlan(name string) error {
	return &usageError{engine.WithHint(fmt.Errorf("%s is a plan, not a recipe", name), "to carry it out:\n    "+ui.Command([]string{"tg", "run", name}))}
}

// writePlan writes the plan with all that it was made of to a file that only its
// owner reads: it tells much about a node. What runs the same without a file is in run.
func (s *session) writePlan(o *opened, p *engine.Plan, name, run string) error {
	if hidden := plan.Unsealed(p); hidden != "" {
		return engine.WithHint(fmt.Errorf("%s: the value that is there is not shown, and %s has no record of %s with a key to seal it; no plan was written", hidden, p.Host, p.App.Name),
			"carry it out without a file; later plans can be written then:\n    "+run)
	}
	text, err := plan.JSON(p)
	if err != nil {
		return err
	}
	app := o.recipe.Graph.App
	data, err := plan.Encode(plan.File{
		Tengil: readVersion().Version,
		Host:   plan.FileHost{Name: o.host.target.name, Address: o.host.target.address, Choices: o.host.choices},
		Recipe: plan.FileRecipe{
			Source: app.Source, Name: o.source.name, Dir: o.source.dir, Digest: app.Digest, Files: o.recipe.Bundle,
		},
		Options: app.Options,
		Given:   givenOptions(o.recipe),
		Facts:   o.facts,
		Plan:    text,
	})
	if err != nil {
		return err
	}
	if err := writePrivate(name, data); err != nil {
		return err
	}
	s.notef("plan written to %s; to carry it out:\n    %s\n", name, ui.Command([]string{"tg", "run", name}))
	return nil
}

// givenOptions returns the names of the options that the user gave.
func givenOptions(r *recipe.Recipe) []string {
	var names []string
	for _, o := range r.Options {
		if o.Given {
			names = append(names, o.Name)
		}
	}
	slices.Sort(names)
	return names
}

// mayWritePlan refuses to write over what is no plan.
func mayWritePlan(name string) error {
	data, ok, err := planData(name)
	if err != nil {
		return err
	}
	if !ok {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	} else if _, err := plan.Decode(data); !errors.Is(err, plan.ErrForeign) {
		return nil
	}
	return usagef("%s is there and is no plan; tg does not write over it", name)
}

// writePrivate writes a file in one step; only its owner may read it.
func writePrivate(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".tg-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(f.Name()))
	}
	return nil
}

// runPlan carries out the plan of a file: exactly that, or nothing.
func (s *session) runPlan(ctx context.Context, name string, data []byte, options []string, f runFlags, style ui.Style) error {
	file, err := plan.Decode(data)
	if err != nil {
		return engine.WithHint(fmt.Errorf("%s: %w", name, err), "write it anew:\n    "+s.line("plan", "RECIPE", "--out", name))
	}
	if err := s.fitsPlan(name, file, options, f.values); err != nil {
		return err
	}
	o, err := s.openPlan(ctx, file)
	if err != nil {
		return err
	}
	defer o.Close()
	if o.facts.Node != file.Facts.Node {
		return fmt.Errorf("%s is a plan for the node %s; %s is %s", name, file.Facts.Node, o.host.Name(), o.facts.Node)
	}
	p, err := o.plan(ctx)
	if err != nil {
		return engine.WithHint(err, s.newPlanHint(name, file))
	}
	how := carry{
		style: style, yes: f.yes, typed: ui.Command([]string{"tg", "run", name}),
		goOn: "The plan no longer fits; to go on from there, " + s.newPlanHint(name, file),
	}
	if p.Empty() {
		return s.carryOut(ctx, o, p, how)
	}
	difference, err := file.Difference(p)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if difference != "" {
		return engine.WithHint(fmt.Errorf("%s changed after the plan was made; nothing was done: %s", o.host.Name(), difference),
			s.newPlanHint(name, file)+madeByAnother(file))
	}
	return s.carryOut(ctx, o, p, how)
}

// fitsPlan refuses what contradicts the plan.
func (s *session) fitsPlan(name string, file *plan.File, options []string, values string) error {
	switch {
	case len(options) > 0 || values != "":
		what := strings.Join(options, " ")
		if what == "" {
			what = "--values"
		}
		return &usageError{engine.WithHint(fmt.Errorf("%s is a plan, with all its options in it; it takes no %s", name, what),
			s.newPlanHint(name, file))}
	case s.host != "" && s.host != file.Host.Name:
		return usagef("%s is a plan for %s, not for %s\n  hint: leave --host out", name, hostLabel(file), s.host)
	}
	s.host = s.planHost(file) // for what is to be typed next
	return nil
}

func hostLabel(file *plan.File) string {
	if file.Host.Name == "" {
		return "the node that it was made on"
	}
	return file.Host.Name
}

// openPlan connects to the plan's host, with the choices that its owner had made,
// and evaluates the recipe out of the file.
func (s *session) openPlan(ctx context.Context, file *plan.File) (*opened, error) {
	t, err := s.planTarget(file)
	if err != nil {
		return nil, err
	}
	bundle := recipe.Bundle(file.Recipe.Files)
	o := &opened{source: &source{
		file: bundle.FS(), catalogs: bundle.Catalogs(),
		name: file.Recipe.Name, dir: file.Recipe.Dir, label: file.Recipe.Source, close: func() error { return nil },
	}, waiting: s.waiting, given: slices.Sorted(maps.Keys(file.Options))}
	if o.host, err = s.connectTo(ctx, t); err != nil {
		return nil, err
	}
	if o.facts, err = o.host.facts(ctx); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	if o.recipe, err = s.load(ctx, o.source, o.facts, file.Options); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	if got := o.recipe.Graph.App.Digest; got != file.Recipe.Digest {
		return nil, errors.Join(fmt.Errorf("the plan's recipe has digest %s; wanted %s", got, file.Recipe.Digest), o.Close())
	}
	return o, nil
}

// planTarget is where this machine finds the plan's host: by its name, or else
// at the address that the plan has. What the owner chose is the plan's.
func (s *session) planTarget(file *plan.File) (target, error) {
	conf, err := s.config()
	if err != nil {
		return target{}, err
	}
	t := target{name: file.Host.Name, address: file.Host.Address, choices: file.Host.Choices}
	if h, ok := conf.Hosts[t.name]; ok {
		t.address = h.Address
	}
	if t.address == "" && !onNode() {
		return target{}, fmt.Errorf("the plan was made on the node %s itself, for that node; run it there", file.Facts.Node)
	}
	return t, nil
}

// planHost is what --host is given here for the plan's host; "" for the node itself.
func (s *session) planHost(file *plan.File) string {
	conf, err := s.config()
	if _, known := conf.Hosts[file.Host.Name]; err == nil && !known {
		return file.Host.Address
	}
	return file.Host.Name
}

// newPlanHint is the command that made the plan, as it is to be typed here.
func (s *session) newPlanHint(name string, file *plan.File) string {
	words := []string{"tg"}
	if host := s.planHost(file); host != "" {
		words = append(words, "--host", host)
	}
	words = append(words, "plan", sourceArg(file.Recipe.Source))
	for _, option := range file.Given {
		words = append(words, option+"="+file.Options[option])
	}
	return "make a new plan and look at it:\n    " + ui.Command(append(words, "--out", name))
}

func sourceArg(label string) string { return strings.TrimPrefix(label, "catalog:") }

// madeByAnother tells of a likely reason for a difference.
func madeByAnother(file *plan.File) string {
	if v := readVersion().Version; v != file.Tengil {
		return fmt.Sprintf("\nthe plan was made by tg %s, this is tg %s", file.Tengil, v)
	}
	return ""
}
