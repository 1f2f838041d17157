package recipe

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/tengil/tengil/engine"
)

// position converts a position of Starlark.
func position(p syntax.Position) engine.Pos {
	return engine.Pos{File: p.Filename(), Line: int(p.Line), Col: int(p.Col)}
}

// places returns where a call stack is: the innermost line of a recipe or a
// library, and the lines it was called from, innermost first. Built-in functions
// have no line of their own.
func places(stack starlark.CallStack) (pos engine.Pos, via []engine.Pos) {
	for i := range stack {
		frame := stack[len(stack)-1-i]
		if frame.Pos.Line == 0 {
			continue
		}
		if p := position(frame.Pos); pos == (engine.Pos{}) {
			pos = p
		} else {
			via = append(via, p)
		}
	}
	return pos, via
}

// here returns where the running thread is.
func here(t *starlark.Thread) (engine.Pos, []engine.Pos) {
	return places(t.CallStack())
}

// blame converts an error of running a file to one with positions.
func (ev *evaluation) blame(err error) error {
	var e *starlark.EvalError
	if !errors.As(err, &e) {
		return err
	}
	pos, via := places(e.CallStack)
	var failure *loadFailure
	if errors.As(err, &failure) {
		return calledFrom(failure.error, append([]engine.Pos{pos}, via...))
	}
	cause := e.Unwrap()
	if stop := ev.meter.stopped; stop != nil {
		cause = stop
	}
	return &engine.Error{Pos: pos, Via: via, Err: ev.readable(cause), Hint: engine.HintOf(cause)}
}

// A loadFailure carries the error of a loaded file through the interpreter to
// blame, past the file that loads it.
type loadFailure struct{ error }

func (f *loadFailure) Unwrap() error { return f.error }

// calledFrom adds to every *engine.Error in err the lines that led to it; an
// error without a position gets the first of them.
func calledFrom(err error, via []engine.Pos) error {
	switch e := err.(type) {
	case *engine.Error:
		moved := *e
		moved.Via = slices.Concat(e.Via, via)
		return &moved
	case interface{ Unwrap() []error }:
		var errs []error
		for _, e := range e.Unwrap() {
			errs = append(errs, calledFrom(e, via))
		}
		return errors.Join(errs...)
	}
	return &engine.Error{Pos: via[0], Via: via[1:], Err: err}
}

// readable returns err with the names of unknown values in place of their markers.
func (ev *evaluation) readable(err error) error {
	text := err.Error()
	if shown := ev.show(text); shown != text {
		if errors.Is(err, ErrOption) {
			return &givenError{errors.New(shown)}
		}
		return errors.New(shown)
	}
	return err
}

// callError is an error of a recipe function: "pct_create: …".
func callError(fn string, err error) error {
	if rest, ok := strings.CutPrefix(err.Error(), fn); ok && (rest[:1] == " " || rest[:1] == "/") {
		return err // it begins with the name: option "pool", pct_create/web
	}
	return fmt.Errorf("%s: %w", fn, err)
}
