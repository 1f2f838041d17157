package sshhost

import (
	"context"
	"sync"
)

// maxSessions is how many sessions are open at once on one connection. The default
// of MaxSessions in sshd_config is 10; people log in over the same limit.
const maxSessions = 8

// slots count the open sessions, and keep them below what the server has shown to
// allow. A kept one is that of a lock, which nothing but its owner ends.
type slots struct {
	mu      sync.Mutex
	limit   int
	open    int
	kept    int
	turns   int           // how often one was taken or given back
	changed chan struct{} // closed when one is given back
}

func newSlots() *slots { return &slots{limit: maxSessions, changed: make(chan struct{})} }

// A slot is the right to one session.
type slot struct {
	kept  bool
	alone bool // nothing else that ends by itself was open
	turn  int
}

// take waits for a slot.
func (s *slots) take(ctx context.Context, kept bool) (slot, error) {
	for {
		if ctx.Err() != nil { // select would choose at random
			return slot{}, context.Cause(ctx)
		}
		got, changed, ok := s.try(kept)
		if ok {
			return got, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (s *slots) try(kept bool) (got slot, changed <-chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// One more than are kept is always worth a try: none of those may ever end.
	if s.open >= max(s.limit, s.kept+1) {
		return slot{}, s.changed, false
	}
	s.turns++
	got = slot{kept: kept, alone: s.open == s.kept, turn: s.turns}
	s.open++
	if kept {
		s.kept++
	}
	return got, nil, true
}

func (s *slots) give(back slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveLocked(back)
}

func (s *slots) giveLocked(back slot) {
	s.turns++
	s.open--
	if back.kept {
		s.kept--
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// refused gives back a slot for which the server had no session. From now on there
// are no more than it had. It reports whether waiting for one makes sense: not if
// nothing was open meanwhile that will end.
func (s *slots) refused(back slot) (wait bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	alone := back.alone && s.turns == back.turn
	s.limit = max(1, min(s.limit, s.open-1))
	s.giveLocked(back)
	return !alone
}

// count returns how many are taken.
func (s *slots) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}
