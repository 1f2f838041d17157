package recipes_test

import (
	"context"
	"io"
	"sync"

	"github.com/tengil/tengil/engine"
)

// A mortal is the host of a tg that is killed before or after its n-th call: from
// then on it can do nothing more.
type mortal struct {
	engine.Host
	at    int // the call, from 1
	after bool
	dead  func() // ends everything that the program does
	mu    sync.Mutex
	calls int
}

// never is the call before which a tg that lives on is killed.
const never = 1 << 30

// step counts a call and tells whether it still happens, and whether it is the last.
func (m *mortal) step() (alive, last bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	return m.calls < m.at || m.calls == m.at && m.after, m.calls == m.at
}

func mortally[T any](m *mortal, do func() (T, error)) (T, error) {
	var zero T
	alive, last := m.step()
	if !alive {
		m.dead()
		return zero, errKilled
	}
	v, err := do()
	if last {
		m.dead()
		return zero, errKilled
	}
	return v, err
}

func (m *mortal) Run(ctx context.Context, c engine.Cmd) (engine.Result, error) {
	return mortally(m, func() (engine.Result, error) { return m.Host.Run(ctx, c) })
}

func (m *mortal) Batch(ctx context.Context, asks []engine.Ask) (*engine.Answers, error) {
	return mortally(m, func() (*engine.Answers, error) { return m.Host.Batch(ctx, asks) })
}

func (m *mortal) WriteFile(ctx context.Context, f engine.File) error {
	_, err := mortally(m, func() (struct{}, error) { return struct{}{}, m.Host.WriteFile(ctx, f) })
	return err
}

func (m *mortal) Hold(ctx context.Context, l engine.Lock) (io.Closer, error) {
	return mortally(m, func() (io.Closer, error) { return m.Host.Hold(ctx, l) })
}
