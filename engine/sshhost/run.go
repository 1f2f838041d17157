package sshhost

import (
	"context"
	"io"

	"github.com/tengil/tengil/engine"
)

// Run implements engine.Host. Of each stream the Result keeps the first and last 8
// MiB and says how much it leaves out; Cmd.Stdout and Cmd.Stderr get everything. An
// argv that cannot arrive unchanged is refused before anything runs. Cmd.Stdin may
// still be in a Read when Run returns, if the program ended before its input.
func (h *Host) Run(ctx context.Context, c engine.Cmd) (engine.Result, error) {
	words, err := quote(c.Argv)
	if err != nil {
		return engine.Result{}, err
	}
	if c.Audit != nil && c.Stdin != nil {
		a := *c.Audit
		a.Stdin, c.Audit = true, &a
	}
	if c.Terminal != nil {
		return h.runTerminal(ctx, c, words)
	}
	// In a subshell of its own, exec runs programs only, never a builtin of the
	// shell that has the same name.
	body := "exec " + words
	if c.Stdin == nil {
		body += " </dev/null"
	}
	var kept capture
	var sink io.Writer = &kept
	if c.Stdout != nil {
		sink = io.MultiWriter(&kept, c.Stdout)
	}
	r, err := h.do(ctx, job{name: c.Argv[0], body: body, stdin: c.Stdin, stdout: sink, stderr: c.Stderr, audit: c.Audit})
	res := engine.Result{Stdout: kept.Bytes(), Stderr: r.stderr, Exit: r.status}
	if err != nil || r.status == 0 {
		return res, err
	}
	shown := c.Argv
	if c.Audit != nil {
		shown = c.Audit.Argv // secrets masked
	}
	return res, &engine.ExitError{Argv: shown, Exit: res.Exit, Stdout: res.Stdout, Stderr: res.Stderr}
}
