package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/engine"
)

type doctorFlags struct {
	facts      bool
	registries bool
}

func (s *session) doctorCmd() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:        "doctor",
		SuggestFor: []string{"check"},
		Short:      "Check that a node and this machine are ready for tg",
		Long: `Check that a node and this machine are ready for tg; change nothing. Each line is a
check: ok; note, for what works otherwise than with newer packages; or problem. Below a
problem stands what to do about it. With a problem the exit status is 1, else 0.

With --registries, also try whether the node reaches the registries of images.
With --facts, print what recipes see of the node, for tg plan --facts.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.facts {
				return s.printFacts(cmd.Context())
			}
			return s.doctor(cmd.Context(), f)
		},
	}
	cmd.Flags().BoolVar(&f.facts, "facts", false, "print the node's facts as JSON")
	cmd.Flags().BoolVar(&f.registries, "registries", false, "try whether the node reaches the registries")
	return cmd
}

func (s *session) printFacts(ctx context.Context) error {
	host, facts, err := s.factsFor(ctx, "")
	if err != nil {
		return err
	}
	defer host.Close()
	return s.term.JSON(facts)
}

// The states of a check.
const (
	stateOK      = "ok"
	stateNote    = "note" // works, though not as well as it could
	stateProblem = "problem"
)

// A check is one thing that a node or this machine needs.
type check struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`    // it is no problem
	State string `json:"state"` // ok, note, problem
	Says  string `json:"says"`  // what was found
	ToDo  string `json:"todo,omitempty"`
}

func fine(name, format string, a ...any) check {
	return check{Name: name, OK: true, State: stateOK, Says: fmt.Sprintf(format, a...)}
}

func note(name, todo, format string, a ...any) check {
	return check{Name: name, OK: true, State: stateNote, Says: fmt.Sprintf(format, a...), ToDo: todo}
}

func problem(name, todo, format string, a ...any) check {
	return check{Name: name, State: stateProblem, Says: fmt.Sprintf(format, a...), ToDo: todo}
}

// failed is a check that an error kept from being made.
func failed(name string, err error) check {
	return problem(name, engine.HintOf(err), "%v", err)
}

// A report is what the doctor says of one host.
type report struct {
	Host   string  `json:"host"`
	OK     bool    `json:"ok"`
	Checks []check `json:"checks"`
}

// examine connects to a host and checks it, and what of this machine leads there.
func (s *session) examine(ctx context.Context, t target, f doctorFlags) report {
	r := report{Host: t.label()}
	host, err := s.connectTo(ctx, t)
	if err != nil {
		r.Checks = append(r.Checks, failed("reachable", err))
	} else {
		r.Host = host.Name()
		r.Checks = append(r.Checks, s.examineNode(ctx, host)...)
		if f.registries {
			r.Checks = append(r.Checks, reachRegistries(ctx, host)...)
		}
		if err := host.Close(); err != nil {
			r.Checks = append(r.Checks, failed("reachable", err))
		}
	}
	r.Checks = append(r.Checks, s.examineMachine(t, err == nil)...)
	r.OK = !slices.ContainsFunc(r.Checks, func(c check) bool { return !c.OK })
	return r
}

// doctor checks the host that the command is for.
func (s *session) doctor(ctx context.Context, f doctorFlags) error {
	t, err := s.target()
	if err != nil {
		return err // says how to name one
	}
	r := s.examine(ctx, t, f)
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.tell(r)
}

// tell prints a report; with a problem in it the status is that of a failure.
func (s *session) tell(r report) error {
	if s.json() {
		if err := s.term.JSON(r); err != nil {
			return err
		}
	} else {
		s.printChecks(r.Checks)
	}
	if !r.OK {
		return statusError(exitFailed)
	}
	return nil
}

func (s *session) printChecks(checks []check) {
	width := 0
	for _, c := range checks {
		width = max(width, len(c.Name))
	}
	tint := map[string]func(string) string{stateOK: s.term.Good, stateNote: s.term.Notice, stateProblem: s.term.Bad}
	for _, c := range checks {
		s.printf("%s  %-*s  %s\n", tint[c.State](fmt.Sprintf("%-7s", c.State)), width, c.Name, strings.ReplaceAll(c.Says, "\n", "\n         "))
		for line := range strings.Lines(c.ToDo) {
			s.printf("         %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
}
