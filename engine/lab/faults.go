package lab

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// A When says at which moment of a program's run a fault fires.
type When int

// The moments. During is the program's first checkpoint (an archive is half
// unpacked); a program that has none is treated as After.
const (
	Before When = iota
	During
	After
)

// An Effect says what a fault does.
type Effect int

// The effects.
const (
	Fail  Effect = iota // the program ends with Fault.Exit and says Fault.Stderr
	Cut                 // every SSH connection drops; a systemd unit runs on
	Hang                // the program does nothing more until it is ended
	Kill                // the program ends at once, as by kill -9, and cleans up nothing
	Pause               // the program takes Fault.For longer, and goes on
)

// A Fault is something that goes wrong with one program, once.
type Fault struct {
	// Match and Prefix choose the program: by a function of its argv, or by how
	// argv begins. Both unset matches every program.
	Match  func(argv []string) bool
	Prefix []string
	Nth    int // the how manieth match from now, from 1; 0 is 1
	When   When
	Do     Effect
	Exit   int           // of Fail; 0 is 1
	Stderr string        // of Fail
	For    time.Duration // of Pause
	// Then, if not nil, is called when it fires, before Do has any effect, with the
	// argv that it fires on.
	Then func(argv []string)
}

func (f *Fault) matches(argv []string) bool {
	if f.Match != nil {
		return f.Match(argv)
	}
	return len(argv) >= len(f.Prefix) && slices.Equal(argv[:len(f.Prefix)], f.Prefix)
}

func (f *Fault) then(argv []string) {
	if f.Then != nil {
		f.Then(slices.Clone(argv))
	}
}

// A faultTable holds the faults that have not fired.
type faultTable struct {
	mu   sync.Mutex
	left []*Fault
}

func (t *faultTable) add(f Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left = append(t.left, &f)
}

// take counts a run of argv and returns the fault that is due, if any.
func (t *faultTable) take(argv []string) *Fault {
	t.mu.Lock()
	defer t.mu.Unlock()
	var due *Fault
	t.left = slices.DeleteFunc(t.left, func(f *Fault) bool {
		if !f.matches(argv) {
			return false
		}
		f.Nth--
		if f.Nth > 0 || due != nil {
			return false
		}
		due = f
		return true
	})
	return due
}

func (t *faultTable) pending() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.left)
}

// fire does what f says. If ended, the program is over with that exit status.
func (p *proc) fire(f *Fault) (exit int, ended bool) {
	p.fault = nil
	f.then(p.argv)
	switch f.Do {
	case Fail:
		fmt.Fprint(p.stderr, f.Stderr)
		return max(f.Exit, 1), true
	case Cut:
		p.node.cut()
		return exitKilled, p.ctx.Err() != nil
	case Hang:
		<-p.ctx.Done()
		return exitKilled, true
	case Kill:
		return exitKilled, true
	case Pause:
		return exitKilled, !p.sleep(f.For)
	}
	return 0, false
}

// An endedError says that a fault ended the program at a checkpoint.
type endedError struct{ exit int }

func (e *endedError) Error() string { return fmt.Sprintf("ended with status %d", e.exit) }

// checkpoint is called by programs where their work is half done. An error means
// that the program has ended there: *endedError if it must return that status at
// once and clean up nothing (it was killed), a *faultError if its work failed.
func (p *proc) checkpoint() error {
	if f := p.fault; f != nil && f.When == During {
		if f.Do == Fail {
			p.fault = nil
			f.then(p.argv)
			return &faultError{exit: max(f.Exit, 1), stderr: f.Stderr}
		}
		if exit, ended := p.fire(f); ended {
			return &endedError{exit}
		}
	}
	if p.ctx.Err() != nil {
		return &endedError{exitKilled}
	}
	return nil
}

// A faultError is a failure in the middle of a program's work: the disk is full.
// The program reports stderr in its own words and cleans up as it would.
type faultError struct {
	exit   int
	stderr string
}

func (e *faultError) Error() string { return e.stderr }
