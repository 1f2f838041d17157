package exec

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tengil/tengil/engine"
)

// audited adds the audit line to everything that changes the node.
type audited struct {
	engine.Host
	app  string
	step engine.StepID
	now  func() time.Time
	mask *masker
	late *late
}

// Run runs c; the line goes into the same round trip.
func (h audited) Run(ctx context.Context, c engine.Cmd) (engine.Result, error) {
	if !c.ReadOnly && c.Audit == nil {
		c.Audit = h.line(c.Argv)
	}
	res, err := h.Host.Run(ctx, c)
	h.late.see(ctx, err, h.mask.hide(named(c.Argv)))
	var exit *engine.ExitError
	if errors.As(err, &exit) {
		// Before anybody shortens it: half a secret is not recognised any more.
		exit.Stdout, exit.Stderr = []byte(h.mask.hide(string(exit.Stdout))), []byte(h.mask.hide(string(exit.Stderr)))
	}
	return res, err
}

// WriteFile writes f; the line tells the file's name and size.
func (h audited) WriteFile(ctx context.Context, f engine.File) error {
	if f.Audit == nil {
		f.Audit = h.line([]string{"write", f.Name, fmt.Sprintf("%d bytes", len(f.Data))})
	}
	err := h.Host.WriteFile(ctx, f)
	h.late.see(ctx, err, "write "+f.Name)
	return err
}

// Batch asks.
func (h audited) Batch(ctx context.Context, asks []engine.Ask) (*engine.Answers, error) {
	a, err := h.Host.Batch(ctx, asks)
	h.late.see(ctx, err, "look at the node")
	return a, err
}

func (h audited) line(argv []string) *engine.Audit {
	masked := make([]string, len(argv))
	for i, a := range argv {
		masked[i] = h.mask.hide(a)
	}
	return &engine.Audit{Time: h.now().UTC(), App: h.app, Step: h.step, Argv: masked}
}

// A masker hides the secrets it has learnt of. Secrets do not get into argv or
// messages by design; this is for what a program on the node may echo.
type masker struct {
	mu      sync.Mutex
	secrets []string
}

func (m *masker) learn(outs engine.Outputs) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range outs {
		if v.IsSecret() && len(v.Reveal()) >= 4 {
			m.secrets = append(m.secrets, v.Reveal())
		}
	}
}

func (m *masker) hide(s string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, secret := range m.secrets {
		s = strings.ReplaceAll(s, secret, engine.Masked)
	}
	return s
}

// wrap returns err with its text masked; errors.Is and As see through.
func (m *masker) wrap(err error) error {
	if text := m.hide(err.Error()); text != err.Error() {
		return &maskedError{text, err}
	}
	return err
}

type maskedError struct {
	text string
	err  error
}

func (e *maskedError) Error() string { return e.text }
func (e *maskedError) Unwrap() error { return e.err }
