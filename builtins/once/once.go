// Package once is what pct_exec and node_exec share: a command that a recipe
// wants to have run, with the guard that tells whether it has.
package once

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/builtins/probe"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// A Command is an argv with a guard. Exactly one of Creates and Unless is set.
type Command struct {
	Argv    []engine.Text
	Stdin   engine.Text
	Creates string
	Unless  []string
	Timeout time.Duration
}

// Params are the parameters that describe a Command; where says where it runs.
func Params(where string, position int) []engine.Param {
	return []engine.Param{
		{Name: "argv", Type: engine.TypeTexts, Required: true, Position: position,
			Doc:     "The command and its arguments; no shell reads them. A secret cannot be among them, as process lists show arguments.",
			Example: `["/usr/bin/setup", "--once"]`},
		{Name: "creates", Type: engine.TypeString,
			Doc: "A path " + where + ": the command is taken as done if it exists.", Example: `"/var/lib/app/initialised"`},
		{Name: "unless", Type: engine.TypeStrings,
			Doc: "A command " + where + " that changes nothing: if it ends with status 0, the work is taken as done.", Example: `["/usr/bin/setup", "--check"]`},
		{Name: "stdin", Type: engine.TypeText,
			Doc: "What the command reads on standard input; it may hold secrets and is not logged.", Example: `password`},
		{Name: "timeout", Type: engine.TypeDuration, Default: `"1h"`,
			Doc: "How long it may take; then it is ended and the step fails; the next run tries it again unless its guard says that it is done.", Example: `"10m"`},
		{Name: "name", Type: engine.TypeString,
			Doc: "Tells several commands of a recipe apart; by default the program's name.", Example: `"create-admin"`},
	}
}

// New checks the arguments and returns the command and the step's name.
func New(a engine.Args) (c Command, name string, err error) {
	c = Command{Argv: a.Texts("argv"), Stdin: a.Text("stdin"), Creates: a.String("creates"), Unless: a.Strings("unless"), Timeout: a.Duration("timeout")}
	if name, err = c.checkArgv(); err != nil {
		return c, "", err
	}
	switch {
	case c.Timeout <= 0:
		return c, "", engine.ArgErrorf("timeout", "got %s, wanted more than 0", c.Timeout)
	case a.Has("creates") == a.Has("unless"):
		return c, "", errors.New("wanted creates= or unless=, one of them: without a guard a run that is cut off would do the work twice")
	case a.Has("creates"):
		if err := pve.CheckPath(c.Creates); err != nil {
			return c, "", engine.ArgErrorf("creates", "%w", err)
		}
	default:
		if err := probe.CheckArgv(c.Unless); err != nil {
			return c, "", engine.ArgErrorf("unless", "%w", err)
		}
	}
	if a.Has("name") {
		name = a.String("name")
	}
	if name == "" || len(name) > 64 || strings.Trim(name, nameChars) != "" {
		return c, "", engine.ArgErrorf("name", "%q is no name; wanted 1 to 64 letters, digits, dots, dashes or underscores", name)
	}
	return c, name, nil
}

const nameChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

func (c Command) checkArgv() (name string, err error) {
	if len(c.Argv) == 0 {
		return "", engine.ArgErrorf("argv", "wanted a program and its arguments, got nothing")
	}
	for i, t := range c.Argv {
		if t.Secret() {
			return "", engine.WithHint(engine.ArgErrorf("argv", "argument %d holds a secret, which everyone on the node could read in its process list", i),
				"hand it over with stdin=, in env of the container, or in a file")
		}
		if lit, ok := t.Literal(); ok && strings.ContainsRune(lit, 0) {
			return "", engine.ArgErrorf("argv", "argument %d holds a NUL, which no argument can", i)
		}
	}
	program, ok := c.Argv[0].Literal()
	if !ok || program == "" || strings.HasPrefix(program, "-") {
		return "", engine.ArgErrorf("argv", "program is %q; wanted its name or path", c.Argv[0])
	}
	return path.Base(program), nil
}

// Refs are the outputs that the command uses.
func (c Command) Refs() []engine.Ref {
	refs := c.Stdin.Refs()
	for _, t := range c.Argv {
		refs = append(refs, t.Refs()...)
	}
	return refs
}

// Words describe the command for a mark: as the recipe has it, without the values
// that other steps put in, so that a new address does not run it again.
func (c Command) Words() []string {
	words := []string{"stdin", c.Stdin.String(), "creates", c.Creates, "unless"}
	words = append(words, c.Unless...)
	words = append(words, "argv")
	for _, t := range c.Argv {
		words = append(words, t.String())
	}
	return words
}

// String is the command for people.
func (c Command) String() string {
	parts := make([]string, len(c.Argv))
	for i, t := range c.Argv {
		parts[i] = t.String()
	}
	return strings.Join(parts, " ")
}

// Guard tells for people what is looked at.
func (c Command) Guard() string {
	if c.Creates != "" {
		return c.Creates + " exists"
	}
	return strings.Join(c.Unless, " ") + " succeeds"
}

// A Place is where a Command runs.
type Place struct {
	// Wrap turns an argv into the one that the node runs.
	Wrap func(argv ...string) []string
	// Away, if not nil, reports whether a failure is that of the place, such as a
	// container that does not run, and so no answer of the program.
	Away func(error) bool
}

// Run runs the command unless its guard says that it is done.
func (c Command) Run(ctx context.Context, w engine.Work, at Place) error {
	done, err := c.done(ctx, w.Host, at)
	if err != nil || done {
		return err
	}
	argv := make([]string, len(c.Argv))
	for i, t := range c.Argv {
		v := t.Fill(w.In)
		if !v.IsKnown() || v.IsSecret() {
			return fmt.Errorf("argument %d is %s", i, v)
		}
		argv[i] = v.Reveal()
	}
	stdin := c.Stdin.Fill(w.In)
	if !stdin.IsKnown() {
		return fmt.Errorf("stdin is %s", stdin)
	}
	w.Report("run "+c.String(), 0, 0)
	return unseen(act.DoStdin(ctx, w.Host, strings.NewReader(stdin.Reveal()), at.Wrap(argv...)...))
}

// unseen makes of an error that leaves open whether the command is still at work one
// that is not tried again in the same run: the guard does not tell. See engine.Lingering.
func unseen(err error) error {
	var exit *engine.ExitError
	if !errors.Is(err, engine.ErrTransient) || errors.As(err, &exit) {
		return err
	}
	return engine.WithHint(fmt.Errorf("%v; it may still be at work, so it is not begun a second time", err),
		"when it has ended, run this again: if the guard does not say that it is done, it is begun anew")
}

// Statuses that are no answer of a guard: those of a shell or lxc-attach that
// could not start a program, and of pct itself. "test" answers no with exitNo and
// nothing else.
const (
	exitNo        = 1
	exitCannotRun = 126
	exitNotFound  = 127
	exitPct       = 255
)

func (c Command) done(ctx context.Context, h engine.Host, at Place) (bool, error) {
	guard := c.Unless
	if c.Creates != "" {
		guard = []string{"test", "-e", c.Creates}
	}
	_, err := act.Look(ctx, h, at.Wrap(guard...)...)
	switch {
	case err == nil:
		return true, nil
	case c.saysNo(err) && (at.Away == nil || !at.Away(err)):
		return false, nil
	}
	return false, fmt.Errorf("guard: %w", err)
}

// saysNo reports whether the guard ran and found that the work is to be done.
func (c Command) saysNo(err error) bool {
	var exit *engine.ExitError
	switch {
	case !errors.As(err, &exit):
		return false
	case c.Creates != "":
		return exit.Exit == exitNo
	}
	return exit.Exit != exitCannotRun && exit.Exit != exitNotFound && exit.Exit != exitPct
}
