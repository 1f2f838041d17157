package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/plan"
)

type planFlags struct {
	values   string // file
	facts    string // file
	out      string // file
	exitCode bool
}

func (s *session) planCmd() *cobra.Command {
	var f planFlags
	cmd := &cobra.Command{
		Use:        "plan RECIPE [key=value…]",
		SuggestFor: []string{"diff"},
		Short:      "Show what run would change, and change nothing",
		Long: `Show what tg run would change on the node, and change nothing.

With --facts, no node is asked: the plan is for an empty node of which the file
tells the facts, as JSON (tg doctor --facts prints those of a node).

With --out, the plan is also written to a file, with the recipe, all that it loads
and the values of its options. tg run FILE carries out that plan and no other.`,
		Example: `  tg plan immich
  tg plan immich --output json
  tg plan ./immich.star --facts node.json
  tg plan immich --out immich.plan`,
		Args:              atLeast("RECIPE"),
		ValidArgsFunction: s.completeRecipeArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.plan(cmd.Context(), args[0], args[1:], f)
		},
	}
	cmd.Flags().StringVar(&f.values, "values", "", "file with option values: a JSON object, or lines key=value")
	cmd.Flags().StringVar(&f.facts, "facts", "", "file with a node's facts, instead of a node")
	cmd.Flags().StringVar(&f.out, "out", "", "file to write the plan to, for tg run FILE")
	cmd.Flags().BoolVar(&f.exitCode, "exit-code", false, "end with status 3 if there is something to do")
	return cmd
}

// plan shows what run would do.
func (s *session) plan(ctx context.Context, name string, options []string, f planFlags) error {
	if f.facts != "" && s.host != "" {
		return usagef("--facts is instead of a node; leave --host out")
	}
	if f.out != "" {
		if f.facts != "" {
			return usagef("a plan for a file of facts cannot be carried out; leave --out or --facts out")
		}
		if err := mayWritePlan(f.out); err != nil {
			return err
		}
	}
	o, err := s.open(ctx, choice{name, options, f.values}, f.facts)
	if err != nil {
		return err
	}
	defer o.Close()
	p, err := o.plan(ctx)
	if err != nil {
		return err
	}
	if err := s.printPlan(p); err != nil {
		return err
	}
	s.tellRounds(o.host)
	if err := errors.Join(p.Refused()...); err != nil {
		return err
	}
	if f.out != "" {
		words := []string{"run", name}
		if f.values != "" {
			words = append(words, "--values", f.values)
		}
		if err := s.writePlan(o, p, f.out, s.line(append(words, options...)...)); err != nil {
			return err
		}
	}
	if f.exitCode && !p.Empty() {
		return statusError(exitChanges)
	}
	return nil
}

func (s *session) printPlan(p *engine.Plan) error {
	if !s.json() {
		s.term.Plan(plan.Text(p))
		return nil
	}
	data, err := plan.JSON(p)
	if err != nil {
		return err
	}
	s.printf("%s\n", data)
	return nil
}

// factsFor returns the node and its facts, or with a file of facts a node on
// which nothing is.
func (s *session) factsFor(ctx context.Context, file string) (*node, *engine.Facts, error) {
	if file != "" {
		facts, err := readFacts(file)
		return &node{Host: emptyNode{file}}, facts, err
	}
	host, err := s.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	facts, err := host.facts(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, host.Close())
	}
	return host, facts, nil
}

func readFacts(file string) (*engine.Facts, error) {
	data, err := readInputFile(file)
	if err != nil {
		return nil, err
	}
	var facts engine.Facts
	if err := decodeInput(data, &facts); err != nil {
		return nil, fmt.Errorf("%s:%w", file, err)
	}
	if facts.Node == "" || facts.PVE == "" {
		return nil, fmt.Errorf("%s: node and pve are needed; it has node %q, pve %q", file, facts.Node, facts.PVE)
	}
	return &facts, nil
}

// An emptyNode answers every question with: nothing there. It does nothing else.
type emptyNode struct{ file string }

var errEmptyNode = errors.New("there is no node behind a file of facts")

func (n emptyNode) Name() string { return n.file }

func (emptyNode) Batch(_ context.Context, asks []engine.Ask) (*engine.Answers, error) {
	answers := map[string]engine.Answer{}
	for _, q := range asks {
		answers[q.Key()] = engine.NothingThere(q)
	}
	return engine.NewAnswers(answers), nil
}

func (emptyNode) Run(context.Context, engine.Cmd) (engine.Result, error) {
	return engine.Result{}, errEmptyNode
}

func (emptyNode) WriteFile(context.Context, engine.File) error { return errEmptyNode }

func (emptyNode) Dial(context.Context, string, string) (net.Conn, error) { return nil, errEmptyNode }

func (emptyNode) Hold(context.Context, engine.Lock) (io.Closer, error) { return nil, errEmptyNode }

func (emptyNode) Close() error { return nil }
