package probe

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// ExecReady returns the constructor exec_ready.
func ExecReady() engine.Constructor {
	return engine.Constructor{
		Name: "exec_ready",
		Doc: "Ready when a command inside the container ends with status 0. " +
			"It runs as root of the container, not as the image's user, and finds only what the image has.",
		Example: `exec_ready(["pg_isready", "-U", "postgres"])`,
		Params: []engine.Param{
			{Name: "argv", Type: engine.TypeStrings, Required: true, Position: 1,
				Doc: "The command and its arguments; no shell reads them.", Example: `["redis-cli", "ping"]`},
			timeoutParam(),
		},
		New: newExec,
	}
}

type execProbe struct {
	argv    []string
	timeout time.Duration
}

func newExec(c engine.Call) (any, error) {
	p := execProbe{argv: c.Args.Strings("argv")}
	if err := CheckArgv(p.argv); err != nil {
		return nil, engine.ArgErrorf("argv", "%w", err)
	}
	var err error
	p.timeout, err = timeout(c.Args)
	return Probe(p), err
}

// CheckArgv refuses what is no command: nothing, an empty program or one that
// looks like an option, and text that argv cannot carry.
func CheckArgv(argv []string) error {
	if len(argv) == 0 || argv[0] == "" {
		return fmt.Errorf("wanted a program and its arguments, got nothing")
	}
	if strings.HasPrefix(argv[0], "-") {
		return fmt.Errorf("program %q starts with a dash", argv[0])
	}
	for _, a := range argv {
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("argument %q holds a NUL, which no argument can", a)
		}
	}
	return nil
}

// ExecArgv returns the command that runs argv in a container with the
// container's own environment only (LXC.pm: pct exec keeps the caller's by default).
func ExecArgv(vmid int, argv ...string) []string {
	return append([]string{"pct", "exec", strconv.Itoa(vmid), "--keep-env", "0", "--"}, argv...)
}

func (p execProbe) Check(ctx context.Context, h engine.Host, t Target) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	_, err := h.Run(ctx, engine.Cmd{Argv: ExecArgv(t.VMID, p.argv...), ReadOnly: true})
	if err != nil {
		return fmt.Errorf("%s: %w", p, pve.Explain(err))
	}
	return nil
}

func (p execProbe) String() string { return "exec " + strings.Join(p.argv, " ") }
