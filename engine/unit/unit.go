// Package unit runs long commands on a node as transient systemd units, which
// outlive the connection that started them: a run that finds the unit of an
// earlier one waits for it instead of starting its work again.
package unit

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/record"
)

// A Task is one long command.
type Task struct {
	App  string
	Name string   // with the app, the unit's name: "create.db"
	Argv []string // never holds a secret: systemd shows it
	// Once says that a unit of that name, if one runs, does the same work: Run
	// then waits for it and returns ErrJoined instead of starting its own.
	Once bool
	// PrivateTmp gives it a /tmp and a /var/tmp of its own, which go when it ends,
	// however it does.
	PrivateTmp bool
	// Progress, if not nil, is told every few seconds how much it has received over the
	// network, in bytes.
	Progress func(received int64)
	// Audit of the command; nil for none.
	Audit *engine.Audit
}

// ErrJoined is returned by Run of a Task with Once when another run was doing the
// work and has ended: look again what is there. It comes with engine.ErrTransient.
var ErrJoined = errors.New("another run was at it")

// Unit returns the name of the task's unit.
func (t Task) Unit() string {
	return "tengil-" + t.App + "-" + record.FileName(t.Name) + ".service"
}

func (t Task) output(stream string) string {
	return record.RunFile(t.App, record.FileName(t.Name)+"."+stream)
}

// Run starts the task as a unit and waits for its end. A unit of that name that
// still runs is waited for first. The error is an *engine.ExitError with what
// the command printed if it failed, and wraps engine.ErrTransient if the
// connection ended: then the command may go on, and Await is the way to know. A
// unit that does not end before a deadline of ctx, or stands still, is stopped; a
// ctx that is cancelled leaves it alone.
func Run(ctx context.Context, h engine.Host, t Task) error {
	if _, err := h.Run(ctx, engine.Cmd{Argv: []string{"mkdir", "-p", "-m", "700", path.Dir(t.output("out"))}}); err != nil {
		return err
	}
	err := start(ctx, h, t)
	if said := stderr(err); strings.Contains(said, "already loaded") || strings.Contains(said, "already exists") {
		// An earlier run started it, or its failure has not been cleared.
		if err := Await(ctx, h, t.Unit()); err != nil {
			return err
		}
		if t.Once {
			return engine.Transient(ErrJoined)
		}
		err = start(ctx, h, t)
	}
	var exit *engine.ExitError
	if !errors.As(err, &exit) || len(exit.Stderr) > 0 {
		return err // systemd-run itself says nothing when what it ran fails
	}
	out, readErr := outputs(ctx, h, t)
	if readErr != nil {
		return readErr
	}
	return &engine.ExitError{Argv: t.Argv, Exit: exit.Exit, Stdout: out.Stdout, Stderr: out.Stderr}
}

func start(ctx context.Context, h engine.Host, t Task) error {
	argv := []string{"systemd-run", "--wait", "--quiet", "--collect", "--unit=" + t.Unit(),
		"--property=IPAccounting=yes", "--property=IOAccounting=yes", "--property=PrivateTmp=" + yesNo(t.PrivateTmp),
		"--property=StandardOutput=truncate:" + t.output("out"),
		"--property=StandardError=truncate:" + t.output("err"),
		"--setenv=LC_ALL=C.UTF-8", "--"}
	watched, end := watch(ctx, h, t.Unit(), t.Progress)
	_, err := h.Run(watched, engine.Cmd{Argv: append(argv, t.Argv...), Audit: t.Audit})
	end()
	return stopLate(watched, h, t.Unit(), err)
}

// stderr returns what a failed command said.
func stderr(err error) string {
	var exit *engine.ExitError
	if errors.As(err, &exit) {
		return string(exit.Stderr)
	}
	return ""
}

func outputs(ctx context.Context, h engine.Host, t Task) (engine.Result, error) {
	a, err := h.Batch(ctx, []engine.Ask{engine.AskFile(t.output("out")), engine.AskFile(t.output("err"))})
	if err != nil {
		return engine.Result{}, err
	}
	var r engine.Result
	if r.Stdout, err = a.File(t.output("out")); err != nil {
		return r, err
	}
	r.Stderr, err = a.File(t.output("err"))
	return r, err
}

// ListAsk asks for the units of an app; give its answer to Running.
func ListAsk(app string) engine.Ask {
	return engine.AskRun("systemctl", "list-units", "--all", "--plain", "--no-legend", "--full", "tengil-"+app+"-*")
}

// Running returns the units of the app that have not ended, sorted.
func Running(a *engine.Answers, app string) ([]string, error) {
	ans := a.Get(ListAsk(app))
	if ans.Err != nil {
		return nil, ans.Err
	}
	var units []string
	for line := range strings.Lines(string(ans.Result.Stdout)) {
		// UNIT LOAD ACTIVE SUB DESCRIPTION
		f := strings.Fields(line)
		if len(f) >= 4 && (f[2] == "active" || f[2] == "activating" || f[2] == "deactivating") {
			units = append(units, f[0])
		}
	}
	slices.Sort(units)
	return units, nil
}

// Await waits until the unit has ended, or does not exist, and clears what
// systemd remembers of its failure. One that does not end before a deadline of ctx,
// or stands still, is stopped.
func Await(ctx context.Context, h engine.Host, unit string) error {
	watched, end := watch(ctx, h, unit, nil)
	err := await(watched, h, unit)
	end()
	return stopLate(watched, h, unit, err)
}

func await(ctx context.Context, h engine.Host, unit string) error {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = 200*time.Millisecond, 3*time.Second
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		state, err := activeState(ctx, h, unit)
		switch {
		case err != nil:
			return struct{}{}, backoff.Permanent(err)
		case state == "failed":
			return struct{}{}, permanent(clearFailed(ctx, h, unit))
		case state == "inactive":
			return struct{}{}, nil
		}
		return struct{}{}, fmt.Errorf("unit %s is %s", unit, state)
	}, backoff.WithBackOff(b), backoff.WithMaxElapsedTime(0))
	var p *backoff.PermanentError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err
}

func permanent(err error) error {
	if err == nil {
		return nil
	}
	return backoff.Permanent(err)
}

// clearFailed makes systemd forget a failure. That it has already is fine.
func clearFailed(ctx context.Context, h engine.Host, unit string) error {
	_, err := h.Run(ctx, engine.Cmd{Argv: []string{"systemctl", "reset-failed", unit}})
	if err != nil && !strings.Contains(stderr(err), "not loaded") {
		return fmt.Errorf("clear failed unit %s: %w", unit, err)
	}
	return nil
}

func activeState(ctx context.Context, h engine.Host, unit string) (string, error) {
	res, err := h.Run(ctx, engine.Cmd{Argv: []string{"systemctl", "show", "-p", "ActiveState", unit}, ReadOnly: true})
	if err != nil {
		return "", fmt.Errorf("look up unit %s: %w", unit, err)
	}
	state, ok := strings.CutPrefix(strings.TrimSpace(string(res.Stdout)), "ActiveState=")
	if !ok {
		return "", fmt.Errorf("look up unit %s: wanted ActiveState=…, got %q", path.Base(unit), res.Stdout)
	}
	return state, nil
}
