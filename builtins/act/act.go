// Package act runs commands for step kinds; what a node's tool says on failure
// becomes a typed error with a hint where there is one.
package act

import (
	"context"
	"io"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// Do runs a command that changes the node.
func Do(ctx context.Context, h engine.Host, argv ...string) error {
	_, err := h.Run(ctx, engine.Cmd{Argv: argv})
	return pve.Explain(err)
}

// DoStdin is Do with something to read, which no log shows.
func DoStdin(ctx context.Context, h engine.Host, stdin io.Reader, argv ...string) error {
	_, err := h.Run(ctx, engine.Cmd{Argv: argv, Stdin: stdin})
	return pve.Explain(err)
}

// Look runs a command that changes nothing and returns what it printed.
func Look(ctx context.Context, h engine.Host, argv ...string) ([]byte, error) {
	res, err := h.Run(ctx, engine.Cmd{Argv: argv, ReadOnly: true})
	return res.Stdout, pve.Explain(err)
}

// WriteFile replaces one file of the node.
func WriteFile(ctx context.Context, h engine.Host, f engine.File) error {
	return pve.Explain(h.WriteFile(ctx, f))
}

// ReadFile reads one file of the node; the error wraps fs.ErrNotExist if there
// is none.
func ReadFile(ctx context.Context, h engine.Host, name string) ([]byte, error) {
	a, err := h.Batch(ctx, []engine.Ask{engine.AskFile(name)})
	if err != nil {
		return nil, err
	}
	return a.File(name)
}
