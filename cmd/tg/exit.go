package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/recipe"
)

// The exit statuses of tg.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2 // a command line that cannot be right, values of options included
	exitChanges     = 3 // tg plan --exit-code: there is something to do
	exitInterrupted = 130
)

// exitMeanings are the statuses as the manual tells them.
var exitMeanings = []struct {
	status int
	means  string
}{
	{exitDone, "What was asked for is done, or is so already."},
	{exitFailed, "Something failed, or the answer to a question was no."},
	{exitUsage, "The command line cannot be right, names and values of options included; nothing was done."},
	{exitChanges, "tg plan --exit-code: there is something to do."},
	{exitInterrupted, "Interrupted by Ctrl-C or SIGTERM."},
}

// exitText lists them for the help.
func exitText() string {
	text := "\nExit status:\n"
	for _, e := range exitMeanings {
		text += fmt.Sprintf("  %-4d %s\n", e.status, e.means)
	}
	return text
}

// A usageError is a command line that cannot be right.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, a ...any) error { return &usageError{fmt.Errorf(format, a...)} }

// A statusError ends tg with a status and without a further message.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// report shows what went wrong, last of all, and returns the exit status.
func (s *session) report(err error) int {
	var status statusError
	var usage *usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, context.Canceled) && s.stop.caught():
		s.notef("%s\n", "interrupted")
		return exitInterrupted
	}
	for _, e := range flatten(err) {
		s.term.Failure(withProgram(e))
	}
	if errors.As(err, &usage) || errors.Is(err, recipe.ErrOption) {
		return exitUsage
	}
	return exitFailed
}

// flatten returns the errors that were joined to err, in order. What only matches
// several errors is not a join: its text is not that of its parts, line by line.
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // only a join itself is taken apart
	if !ok || err.Error() != errors.Join(joined.Unwrap()...).Error() {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

// withProgram says who speaks where no position does, and adds the hint that an
// *engine.Error shows itself.
func withProgram(err error) error {
	var placed *engine.Error
	if errors.As(err, &placed) {
		if placed.Pos != (engine.Pos{}) {
			return err
		}
		return fmt.Errorf("tg: %w", err)
	}
	hint := engine.HintOf(err)
	if hint == "" {
		return fmt.Errorf("tg: %w", err)
	}
	return fmt.Errorf("tg: %w\n  hint: %s", err, strings.ReplaceAll(hint, "\n", "\n      "))
}
