package unit_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/unit"
)

// systemd is a host with units that end at a given time.
type systemd struct {
	engine.Host
	ends    map[string]time.Time // of running units
	failed  map[string]bool      // what systemd remembers of
	outcome map[string]string    // stderr of what a unit runs, "" for success
	ran     []string
	files   map[string]string
}

func (s *systemd) Run(ctx context.Context, c engine.Cmd) (engine.Result, error) {
	fail := func(code int, stderr string) (engine.Result, error) {
		r := engine.Result{Exit: code, Stderr: []byte(stderr)}
		return r, &engine.ExitError{Argv: c.Argv, Exit: code, Stderr: r.Stderr}
	}
	name := func() string { return c.Argv[len(c.Argv)-1] }
	switch c.Argv[0] {
	case "mkdir":
		return engine.Result{}, nil
	case "systemctl":
		if c.Argv[1] == "reset-failed" {
			delete(s.failed, name())
			return engine.Result{}, nil
		}
		state := "inactive"
		if end, ok := s.ends[name()]; ok && time.Now().Before(end) {
			state = "active"
		} else if s.failed[name()] {
			state = "failed"
		}
		return engine.Result{Stdout: []byte("ActiveState=" + state + "\n")}, nil
	}
	var u, out string
	for _, a := range c.Argv {
		if v, ok := strings.CutPrefix(a, "--unit="); ok {
			u = v
		}
		if v, ok := strings.CutPrefix(a, "--property=StandardError=truncate:"); ok {
			out = v
		}
	}
	if end, ok := s.ends[u]; ok && time.Now().Before(end) || s.failed[u] {
		return fail(1, "Failed to start transient service unit: Unit "+u+" was already loaded or has a fragment file.\n")
	}
	s.ran = append(s.ran, strings.Join(c.Argv[slices.Index(c.Argv, "--")+1:], " "))
	s.files[strings.TrimSuffix(out, "err")+"out"] = ""
	s.files[out] = s.outcome[u]
	if s.outcome[u] != "" {
		return fail(255, "")
	}
	return engine.Result{}, nil
}

func (s *systemd) Batch(_ context.Context, asks []engine.Ask) (*engine.Answers, error) {
	m := map[string]engine.Answer{}
	for _, q := range asks {
		m[q.Key()] = engine.Answer{Data: []byte(s.files[q.File()])}
	}
	return engine.NewAnswers(m), nil
}

func newSystemd() *systemd {
	return &systemd{ends: map[string]time.Time{}, failed: map[string]bool{}, outcome: map[string]string{}, files: map[string]string{}}
}

var task = unit.Task{App: "immich", Name: "create.db", Argv: []string{"pct", "create", "101"}}

func TestAFailureIsToldInTheWordsOfTheCommand(t *testing.T) {
	s := newSystemd()
	s.outcome[task.Unit()] = "unable to create CT 101 - no space left\n"
	err := unit.Run(t.Context(), s, task)
	var exit *engine.ExitError
	if !errors.As(err, &exit) || exit.Argv[0] != "pct" || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error is %v", err)
	}
}

func TestAUnitOfAnEarlierRunIsWaitedFor(t *testing.T) {
	for _, once := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSystemd()
			s.ends[task.Unit()] = time.Now().Add(time.Minute)
			begin := time.Now()
			mine := task
			mine.Once = once
			err := unit.Run(t.Context(), s, mine)
			if waited := time.Since(begin); waited < time.Minute {
				t.Errorf("waited %s only", waited)
			}
			if once != errors.Is(err, unit.ErrJoined) || once != errors.Is(err, engine.ErrTransient) || once == (len(s.ran) == 1) {
				t.Errorf("once=%v: error %v, ran %q", once, err, s.ran)
			}
		})
	}
}

func TestAFailureOfAnEarlierRunIsCleared(t *testing.T) {
	s := newSystemd()
	s.failed[task.Unit()] = true
	if err := unit.Run(t.Context(), s, task); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"pct create 101"}, s.ran); diff != "" {
		t.Errorf("ran (-want +got):\n%s", diff)
	}
}

func TestRunningReadsWhatSystemctlLists(t *testing.T) {
	ask := unit.ListAsk("immich")
	list := "tengil-immich-create.db.service loaded active running x y\ntengil-immich-create.web.service loaded failed failed z\n" +
		"tengil-immich-create.ml.service loaded activating start z\n"
	got, err := unit.Running(engine.NewAnswers(map[string]engine.Answer{ask.Key(): {Result: engine.Result{Stdout: []byte(list)}}}), "immich")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"tengil-immich-create.db.service", "tengil-immich-create.ml.service"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
