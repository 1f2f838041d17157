package recipe

import (
	"errors"
	"fmt"
	"slices"

	"github.com/bazelbuild/buildtools/build"
	"go.starlark.net/syntax"

	"github.com/tengil/tengil/engine"
)

// Format lays a recipe out in the usual style of Starlark, that of buildifier. It
// moves blanks and line ends only: no argument and no load changes its place.
// file is for messages; a file that does not parse is an *engine.Error.
func Format(file string, src []byte) ([]byte, error) {
	if err := checkSource(file, src); err != nil {
		return nil, err
	}
	before, err := dialect().Parse(file, src, 0)
	if err != nil {
		return nil, syntaxError(err, src)
	}
	f, err := build.ParseDefault(file, src)
	if err != nil {
		return nil, formatError(file, err)
	}
	out := build.FormatWithoutRewriting(f)
	// The formatter writes some strings anew; one with control characters and
	// letters beyond ASCII comes out with other bytes.
	after, err := dialect().Parse(file, out, 0)
	if err != nil || !slices.Equal(words(before), words(after)) {
		return nil, fmt.Errorf("%s: a string holds characters that cannot be formatted", file)
	}
	return out, nil
}

// words lists the names and values in a file, in order.
func words(f *syntax.File) []string {
	var out []string
	syntax.Walk(f, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Ident:
			out = append(out, n.Name)
		case *syntax.Literal:
			out = append(out, fmt.Sprint(n.Value))
		}
		return true
	})
	return out
}

func formatError(file string, err error) error {
	var e build.ParseError
	if errors.As(err, &e) {
		return &engine.Error{Pos: engine.Pos{File: file, Line: e.Pos.Line, Col: e.Pos.LineRune}, Err: errors.New(e.Message)}
	}
	return fmt.Errorf("%s: %w", file, err)
}
