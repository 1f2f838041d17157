// Package scripttest tells whether a kind that a file of Starlark defines is right,
// to who writes one: what kindtest checks, on labs of its own, without a Go test.
package scripttest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/recipe"
	"github.com/tengil/tengil/engine/sshhost"
)

// Options say what to test with.
type Options struct {
	Kinds        []engine.Kind
	Constructors []engine.Constructor
	Catalogs     map[string]fs.FS
	Setup        []string // shell lines that prepare each lab
	// Each, if not nil, is told every result as it comes.
	Each func(Result)
}

// A Result is what a check has found.
type Result struct {
	Kind  string `json:"kind"`
	Check string `json:"check"`
	Err   error  `json:"-"` // nil if all is well
	Error string `json:"error,omitempty"`
}

// A suite tests one kind.
type suite struct {
	o      Options
	script engine.Script
	lines  string // of the recipe, below recipe()
	calls  int    // that change the node, in a run and in a removal without faults
	undoes int
	writes []string // files that the kind has written
}

var checks = []struct {
	name string
	run  func(*suite, context.Context) error
}{
	{"says what it is, with an example", (*suite).documented},
	{"observes without a change, and plans the same twice", (*suite).observes},
	{"finds what it has applied", (*suite).converges},
	{"sees that somebody has edited its files", (*suite).drifts},
	{"arrives after a failure before each command", func(s *suite, ctx context.Context) error { return s.survives(ctx, false) }},
	{"arrives after a failure behind each command", func(s *suite, ctx context.Context) error { return s.survives(ctx, true) }},
	{"is removed without its recipe", (*suite).removes},
	{"is removed after a failure at each command", (*suite).removesAgain},
}

// Run checks a kind with its example. After a check that fails the rest is left out,
// as each builds on those before.
func Run(ctx context.Context, s engine.Script, o Options) []Result {
	t := &suite{o: o, script: s, lines: fmt.Sprintf("load(\"//%s\", %q)\n%s\n", s.Source().File, s.Kind().Name, s.Kind().Example)}
	var all []Result
	for _, c := range checks {
		r := Result{Kind: s.Kind().Name, Check: c.name, Err: c.run(t, ctx)}
		if r.Err != nil {
			r.Error = r.Err.Error()
		}
		all = append(all, r)
		if o.Each != nil {
			o.Each(r)
		}
		if r.Err != nil {
			break
		}
	}
	return all
}

func (s *suite) documented(context.Context) error {
	k := s.script.Kind()
	if !strings.Contains(k.Example, k.Name+"(") {
		return engine.WithHint(fmt.Errorf("%s: its example is %q; wanted a line of a recipe that calls it, which is what is tested", s.script.Pos(), k.Example),
			fmt.Sprintf("in kind(…) write:\n    example = '%s(\"one\", …)'", k.Name))
	}
	for _, p := range k.Params {
		if p.Example == "" {
			return fmt.Errorf("%s: parameter %s has no example", s.script.Pos(), p.Name)
		}
	}
	return nil
}

// observes looks at a fresh node twice.
func (s *suite) observes(ctx context.Context) error {
	return s.on(ctx, func(n *node) error {
		first, err := n.plan(ctx)
		if err != nil {
			return err
		}
		second, err := n.plan(ctx)
		switch {
		case err != nil:
			return err
		case first.Empty():
			return fmt.Errorf("on a fresh node there is nothing to do for %s", s.script.Kind().Example)
		case plan.Text(first) != plan.Text(second):
			return fmt.Errorf("planned twice, without a change of the node:\n%s\nthen:\n%s", plan.Text(first), plan.Text(second))
		case n.calls > 0:
			return errors.New("looking changed the node")
		}
		return nil
	})
}

func (s *suite) converges(ctx context.Context) error {
	return s.on(ctx, func(n *node) error {
		if err := n.apply(ctx); err != nil {
			return err
		}
		s.calls, s.writes = n.calls, n.writes
		return n.settled(ctx)
	})
}

// settled checks that nothing is left to do, and that this is seen in two rounds.
func (n *node) settled(ctx context.Context) error {
	p, err := n.plan(ctx)
	switch {
	case err != nil:
		return err
	case !p.Empty():
		return fmt.Errorf("after a run there is still to do:\n%s", plan.Text(p))
	case p.Rounds > 2:
		return fmt.Errorf("observe asks in %d rounds; wanted 2 at most: let it ask all that it can before it looks at an answer", p.Rounds)
	}
	return nil
}

func (s *suite) drifts(ctx context.Context) error {
	for _, name := range s.writes {
		err := s.on(ctx, func(n *node) error {
			if err := n.apply(ctx); err != nil {
				return err
			}
			if exit := n.lab.Exec(ctx, []string{"sh", "-c", "echo edited by hand >" + name}, nil, nil, os.Stderr); exit != 0 {
				return nil // it was an intermediate file, and is gone
			}
			p, err := n.plan(ctx)
			if err != nil {
				return err
			}
			if p.Empty() {
				return fmt.Errorf("%s was overwritten, and the plan has nothing to do", name)
			}
			if err := n.apply(ctx); err != nil {
				return err
			}
			return n.settled(ctx)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

var errFault = errors.New("a fault of the test")

// survives breaks a run at each command in turn; the next must arrive.
func (s *suite) survives(ctx context.Context, behind bool) error {
	for i := range s.calls {
		err := s.on(ctx, func(n *node) error {
			n.failAt, n.behind = i+1, behind
			if err := n.apply(ctx); err == nil || n.failAt > 0 {
				return fmt.Errorf("the run does not fail with its command %d: %v", i+1, err)
			}
			if err := n.apply(ctx); err != nil {
				return fmt.Errorf("the run after one that failed at %s: %w", n.failed, err)
			}
			if err := n.settled(ctx); err != nil {
				return fmt.Errorf("two runs of which the first failed at %s: %w", n.failed, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) removes(ctx context.Context) error {
	return s.on(ctx, func(n *node) error {
		before, err := n.plan(ctx)
		if err != nil {
			return err
		}
		if err := n.apply(ctx); err != nil {
			return err
		}
		made := n.calls
		if err := n.destroy(ctx); err != nil {
			return err
		}
		s.undoes = n.calls - made
		return n.gone(ctx, before)
	})
}

// gone checks that the node is to the recipe as it was at first.
func (n *node) gone(ctx context.Context, before *engine.Plan) error {
	after, err := n.plan(ctx)
	if err != nil {
		return fmt.Errorf("after the removal: %w", err)
	}
	if plan.Text(after) != plan.Text(before) {
		return fmt.Errorf("after the removal the plan is:\n%s\nwanted the one of the beginning:\n%s", plan.Text(after), plan.Text(before))
	}
	return nil
}

func (s *suite) removesAgain(ctx context.Context) error {
	for i := range s.undoes {
		err := s.on(ctx, func(n *node) error {
			before, err := n.plan(ctx)
			if err != nil {
				return err
			}
			if err := n.apply(ctx); err != nil {
				return err
			}
			n.failAt, n.behind = n.calls+i+1, true
			if err := n.destroy(ctx); err == nil {
				return fmt.Errorf("the removal does not fail with its command %d", i+1)
			}
			if err := n.destroy(ctx); err != nil {
				return fmt.Errorf("the removal after one that failed at %s: %w", n.failed, err)
			}
			return n.gone(ctx, before)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// A node is a lab as a host that fails on demand.
type node struct {
	engine.Host
	lab   *lab.Lab
	suite *suite

	mu     sync.Mutex // guards what is below while steps run side by side
	calls  int        // that may change the node, so far
	writes []string
	failAt int // at which of them; 0 is never
	behind bool
	failed string // where it did
}

// on runs f on a fresh lab.
func (s *suite) on(ctx context.Context, f func(*node) error) (err error) {
	dir, err := os.MkdirTemp("", "tg-lab-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	l, err := lab.Open(ctx, lab.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	for _, line := range s.o.Setup {
		var said strings.Builder
		if exit := l.Exec(ctx, []string{"sh", "-c", line}, nil, &said, &said); exit != 0 {
			return fmt.Errorf("setup: %s: exit status %d: %s", line, exit, strings.TrimSpace(said.String()))
		}
	}
	e := l.Endpoint()
	h, err := sshhost.DialEndpoint(ctx, sshhost.Endpoint{Addr: e.Addr, User: e.User, HostKey: e.HostKey, KeyFile: e.ClientKey, Name: "lab"}, sshhost.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	return f(&node{Host: h, lab: l, suite: s})
}

// fault counts a call that may change the node, and runs it unless it is to fail.
func (n *node) fault(what string, call func() error) error {
	n.mu.Lock()
	n.calls++
	hit := n.calls == n.failAt
	if hit {
		n.failed, n.failAt = what, 0
	}
	n.mu.Unlock()
	if !hit {
		return call()
	}
	if n.behind {
		if err := call(); err != nil {
			return err
		}
	}
	return errFault
}

// Run implements engine.Host.
func (n *node) Run(ctx context.Context, c engine.Cmd) (res engine.Result, err error) {
	if c.ReadOnly {
		return n.Host.Run(ctx, c)
	}
	err = n.fault(strings.Join(c.Argv, " "), func() error {
		res, err = n.Host.Run(ctx, c)
		return err
	})
	return res, err
}

// WriteFile implements engine.Host.
func (n *node) WriteFile(ctx context.Context, f engine.File) error {
	n.mu.Lock()
	if !strings.HasPrefix(f.Name, "/etc/pve/") && !slices.Contains(n.writes, f.Name) {
		n.writes = append(n.writes, f.Name)
	}
	n.mu.Unlock()
	return n.fault("write "+path.Base(f.Name), func() error { return n.Host.WriteFile(ctx, f) })
}

// plan evaluates the example and compares it with the node.
func (n *node) plan(ctx context.Context) (*engine.Plan, error) {
	o := n.suite.o
	a, err := n.Batch(ctx, pve.FactAsks())
	if err != nil {
		return nil, err
	}
	facts, err := pve.ParseFacts(a, engine.Choices{})
	if err != nil {
		return nil, err
	}
	const app = "example.star"
	files := recipe.Bundle(maps.Clone(n.suite.script.Source().Files))
	files[app] = "recipe(name = \"example\")\n" + n.suite.lines
	r, err := recipe.Load(ctx, app, recipe.Options{Kinds: o.Kinds, Constructors: o.Constructors, Facts: facts, FS: files.FS(), Catalogs: o.Catalogs})
	if err != nil {
		return nil, err
	}
	p, err := plan.Build(ctx, r.Graph, n, facts, plan.Options{Kinds: o.Kinds})
	if err != nil {
		return nil, err
	}
	return p, errors.Join(p.Refused()...)
}

func (n *node) apply(ctx context.Context) error {
	p, err := n.plan(ctx)
	if err != nil {
		return err
	}
	return n.carryOut(ctx, p)
}

func (n *node) destroy(ctx context.Context) error {
	p, err := plan.Destroy(ctx, n, n.suite.o.Kinds, "example", true)
	if err != nil {
		return err
	}
	return n.carryOut(ctx, p)
}

func (n *node) carryOut(ctx context.Context, p *engine.Plan) error {
	_, err := exec.Run(ctx, p, n, exec.Options{Pause: time.Millisecond})
	return err
}
