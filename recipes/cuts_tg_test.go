package recipes_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/record"
)

var errKilled = errors.New("tg was killed")

// A tg is one life of the program, as the host that it works on: kill ends it, and
// from then on it can do nothing more.
type tg struct {
	engine.Host
	life context.Context
	kill context.CancelFunc

	mu    sync.Mutex
	calls map[*call]struct{} // under way
}

// A call is one use of the host that may have to be given up.
type call struct {
	argv  []string
	mixed bool   // the node runs other programs for it than argv
	quit  func() // gives up the work that it belongs to
}

func newTG(ctx context.Context, h engine.Host) *tg {
	m := &tg{Host: h, calls: map[*call]struct{}{}}
	m.life, m.kill = context.WithCancel(ctx)
	return m
}

// giveUp does what a deadline does to whatever waits for the command argv.
func (m *tg) giveUp(argv []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := false
	for c := range m.calls {
		if len(c.argv) >= len(argv) && slices.Equal(c.argv[len(c.argv)-len(argv):], argv) {
			c.quit()
			found = true
		}
	}
	for c := range m.calls {
		if !found && c.mixed {
			c.quit()
		}
	}
}

func alive[T any](ctx context.Context, m *tg, c *call, do func(context.Context) (T, error)) (T, error) {
	var zero T
	if m.life.Err() != nil {
		return zero, errKilled
	}
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(m.life, func() { cancel(errKilled) })()
	c.quit = func() { cancel(&engine.TimeoutError{After: time.Minute}) }
	if quit, ok := ctx.Value(quitKey{}).(func()); ok {
		c.quit = quit
	}
	m.mu.Lock()
	m.calls[c] = struct{}{}
	m.mu.Unlock()
	v, err := do(inner)
	m.mu.Lock()
	delete(m.calls, c)
	m.mu.Unlock()
	if m.life.Err() != nil {
		return zero, errKilled
	}
	return v, err
}

func (m *tg) Run(ctx context.Context, c engine.Cmd) (engine.Result, error) {
	under := &call{argv: c.Argv, mixed: c.Stdin != nil}
	return alive(ctx, m, under, func(ctx context.Context) (engine.Result, error) { return m.Host.Run(ctx, c) })
}

func (m *tg) Batch(ctx context.Context, asks []engine.Ask) (*engine.Answers, error) {
	return alive(ctx, m, &call{mixed: true}, func(ctx context.Context) (*engine.Answers, error) { return m.Host.Batch(ctx, asks) })
}

func (m *tg) WriteFile(ctx context.Context, f engine.File) error {
	_, err := alive(ctx, m, &call{mixed: true}, func(ctx context.Context) (struct{}, error) { return struct{}{}, m.Host.WriteFile(ctx, f) })
	return err
}

func (m *tg) Hold(ctx context.Context, l engine.Lock) (io.Closer, error) {
	return alive(ctx, m, &call{mixed: true}, func(ctx context.Context) (io.Closer, error) { return m.Host.Hold(ctx, l) })
}

func (m *tg) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return alive(ctx, m, &call{}, func(ctx context.Context) (net.Conn, error) { return m.Host.Dial(ctx, network, addr) })
}

// quitKey finds, in the context of a call, the way to end the deadline of its work.
type quitKey struct{}

// deadline is context.WithTimeoutCause for those who cannot wait: time is up when
// giveUp says so.
func deadline(ctx context.Context, _ time.Duration, cause error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	return context.WithValue(ctx, quitKey{}, func() { cancel(cause) }), func() { cancel(nil) }
}

// A stage is one thing that is done to an app that is in a certain state.
type stage struct {
	name   string
	begin  string // the recipe that was run before; "" for a fresh node
	recipe string // "" to destroy
	data   bool   // destroy --data
}

const app = "immich"

// stages are what a user does to Immich in the end.
func stages(t *testing.T) []stage {
	immich := source(t, "immich.star")
	return []stage{
		{name: "a fresh run", recipe: immich},
		{name: "a run with changes", begin: immich, recipe: changedImmich(t, immich)},
		{name: "a destroy", begin: immich},
		{name: "a destroy of data", begin: replaced(t, immich, ", protect = True", ""), data: true},
	}
}

// changedImmich has a new image for server, another amount of memory for redis, which
// takes effect at once, another environment for db, which takes a restart, and no
// machine-learning.
func changedImmich(t *testing.T, s string) string {
	s = replaced(t, s, `"v3.1.0"`, `"v3.1.1"`)
	s = replaced(t, s, `valkey:8-bookworm"),`, `valkey:8-bookworm"), memory = "768M",`)
	s = replaced(t, s, "--data-checksums", "--data-checksums --no-locale")
	s = replaced(t, s, `ml = pct_create("machine-learning", image = oci_pull("ghcr.io/immich-app/immich-machine-learning:" + release),
                memory = "4G", ready = http_ready(3003, "/ping"))
`, "")
	s = replaced(t, s, `,
           "IMMICH_MACHINE_LEARNING_URL": "http://%s:3003" % ml.address}`, "}")
	return replaced(t, s, "gpu_attach(ml, gpu)\n", "")
}

// do is what tg run or tg destroy does after its question was answered.
func (s stage) do(r *rig, h *tg) error {
	ctx := h.life
	lock, err := h.Hold(ctx, engine.Lock{Path: record.LockPath(app), Holder: "test", Since: time.Unix(1, 0).UTC()})
	if err != nil {
		return err
	}
	defer lock.Close()
	p, err := s.plan(ctx, r, h)
	if err != nil {
		return err
	}
	o := record.RunOptions{Forget: s.recipe == "", Who: "test"}
	if s.recipe != "" {
		o.Record = &record.Record{App: app, Source: "immich.star", Digest: p.App.Digest, Updated: time.Unix(1, 0).UTC()}
		if p.Empty() {
			if cut, err := record.Unfinished(p.Seen, app); err != nil || !cut {
				return err
			}
			return record.Finish(ctx, h, p, o.Record, o.Who)
		}
	}
	run, err := record.Begin(ctx, h, p, o)
	if err != nil {
		return err
	}
	quickly := quick
	quickly.Cut, quickly.Deadline = ctx.Done(), deadline
	sum, err := exec.Run(ctx, p, h, quickly)
	return run.End(ctx, sum.Outputs, sum.Done, err)
}

func (s stage) plan(ctx context.Context, r *rig, h engine.Host) (*engine.Plan, error) {
	if s.recipe == "" {
		return plan.Destroy(ctx, h, builtins.Kinds(), app, s.data)
	}
	f, err := factsOf(ctx, h, r.choices)
	if err != nil {
		return nil, err
	}
	g, err := load(ctx, f, "immich.star", s.recipe, nil)
	if err != nil {
		return nil, err
	}
	return plan.Build(ctx, g, h, f, plan.Options{Kinds: builtins.Kinds(), Also: []engine.Ask{engine.AskGlob(record.PrivGlob(app))}})
}

func replaced(t *testing.T, s, old, with string) string {
	t.Helper()
	if before, after, ok := cutOnce(s, old); ok {
		return before + with + after
	}
	t.Fatalf("the recipe no longer has %q exactly once", old)
	return ""
}
