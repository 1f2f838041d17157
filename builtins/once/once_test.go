package once

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// A host has one file, /made, which the command "make" makes.
type host struct {
	engine.Host
	made   bool
	broken int    // status of every guard, if not 0
	said   string // what such a guard writes on standard error
	lost   string // "guard" or "command": the connection is, while it runs
	ran    []string
	stdin  string
}

func (h *host) Run(_ context.Context, c engine.Cmd) (engine.Result, error) {
	exit := 0
	if h.lost == "guard" && c.ReadOnly || h.lost == "command" && !c.ReadOnly {
		return engine.Result{}, engine.Transient(errors.New("connection lost while it ran"))
	}
	switch {
	case c.ReadOnly && h.broken != 0:
		exit = h.broken
	case c.ReadOnly && !h.made:
		exit = 1
	case !c.ReadOnly:
		h.made = true
		h.ran = append(h.ran, strings.Join(c.Argv, "|"))
		if c.Stdin != nil {
			data, err := io.ReadAll(c.Stdin)
			if err != nil {
				return engine.Result{}, err
			}
			h.stdin = string(data)
		}
	}
	if exit != 0 {
		return engine.Result{Exit: exit}, &engine.ExitError{Argv: c.Argv, Exit: exit, Stderr: []byte(h.said)}
	}
	return engine.Result{}, nil
}

func work(h engine.Host) engine.Work {
	secret := engine.Known("hunter2").Sensitive()
	return engine.Work{Host: h, Report: func(string, int64, int64) {}, In: engine.Inputs{Value: func(engine.Ref) engine.Value { return secret }}}
}

func plain() Place { return Place{Wrap: func(argv ...string) []string { return argv }} }

func command() Command {
	return Command{
		Argv: []engine.Text{engine.Lit("make"), engine.Lit("a b")}, Creates: "/made",
		Stdin: engine.Hole(engine.Ref{Node: "secret/x", Output: "value"}, true),
	}
}

func TestRunsUnlessDone(t *testing.T) {
	h := &host{}
	for range 2 {
		if err := command().Run(t.Context(), work(h), plain()); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"make|a b"}, h.ran); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	if h.stdin != "hunter2" {
		t.Errorf("stdin: want the secret, got %q", h.stdin)
	}
}

func TestGuardThatCannotRunIsNoAnswer(t *testing.T) {
	for _, status := range []int{2, 126, 127, 255} {
		h := &host{broken: status}
		err := command().Run(t.Context(), work(h), plain())
		var exit *engine.ExitError
		if !errors.As(err, &exit) || exit.Exit != status {
			t.Errorf("status %d of the guard: wanted it as the error, got %v", status, err)
		}
		if len(h.ran) > 0 {
			t.Errorf("status %d of the guard: the command ran all the same", status)
		}
	}
}

func TestPlaceThatIsAwayIsNoAnswer(t *testing.T) {
	at := plain()
	at.Away = func(err error) bool { return errors.Is(err, pve.ErrNotRunning) }
	unless := command()
	unless.Creates, unless.Unless = "", []string{"check"}
	for name, c := range map[string]Command{"creates": command(), "unless": unless} {
		h := &host{broken: 1, said: "CT 101 not running\n"}
		if err := c.Run(t.Context(), work(h), at); !errors.Is(err, pve.ErrNotRunning) {
			t.Errorf("%s: wanted that the container does not run, got %v", name, err)
		}
		if len(h.ran) > 0 {
			t.Errorf("%s: the command ran all the same", name)
		}
	}
}

func TestWordsHoldNoSecret(t *testing.T) {
	words := command().Words()
	if i := slices.IndexFunc(words, func(s string) bool { return strings.Contains(s, "hunter2") }); i >= 0 {
		t.Errorf("word %d is %q", i, words[i])
	}
	other := command()
	other.Argv = append(other.Argv, engine.Lit("c"))
	if slices.Equal(words, other.Words()) {
		t.Error("another argv gives the same words")
	}
}

// Whatever is tried again at once begins with the guard, so what was lost in the guard
// may be; what was lost in the command may not.
func TestALostCommandIsNotForAnotherTry(t *testing.T) {
	err := command().Run(t.Context(), work(&host{lost: "guard"}), plain())
	if !errors.Is(err, engine.ErrTransient) {
		t.Errorf("lost in the guard: %v", err)
	}
	err = command().Run(t.Context(), work(&host{lost: "command"}), plain())
	if err == nil || errors.Is(err, engine.ErrTransient) || !strings.Contains(err.Error(), "connection lost while it ran; it may still be at work") || engine.HintOf(err) == "" {
		t.Errorf("lost in the command: %v, hint %q", err, engine.HintOf(err))
	}
}
