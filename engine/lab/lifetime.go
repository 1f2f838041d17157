package lab

import (
	"context"
	"sync"
)

// A lifetime is the context of what outlives its session, from one boot of the
// node to the next.
type lifetime struct {
	mu  sync.Mutex
	ctx context.Context
	end context.CancelFunc
}

// context returns the context of this boot; outside one it has ended.
func (l *lifetime) context() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ctx
}

// begin begins a boot, whose values are those of parent.
func (l *lifetime) begin(parent context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ctx, l.end = context.WithCancel(context.WithoutCancel(parent))
}

// finish ends what hangs on the context.
func (l *lifetime) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
}
