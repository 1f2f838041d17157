package lab

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
)

// A process is one running program.
type process struct {
	group  *group
	dir    string // working directory
	end    func()
	killed atomic.Int32 // the signal that ended it, 0 if none did
	args   string       // its command line; guarded by the table
	// kill takes the place of end for SIGKILL, where those differ.
	kill atomic.Pointer[func()]
}

// signal ends the program.
func (r *process) signal(sig syscall.Signal) {
	r.killed.CompareAndSwap(0, int32(sig))
	if kill := r.kill.Load(); kill != nil && sig == syscall.SIGKILL {
		(*kill)()
		return
	}
	r.end()
}

// onKill sets what SIGKILL does; nil is what every signal does.
func (r *process) onKill(kill func()) {
	if kill == nil {
		r.kill.Store(nil)
		return
	}
	r.kill.Store(&kill)
}

// A group is the programs of one session, or of one unit: what kill with the
// number 0 ends.
type group struct{ _ byte } // not empty: each has its own address

type groupKey struct{}

// withGroup returns a context whose programs are one group; that of a program in
// a group stays in it.
func withGroup(ctx context.Context) context.Context {
	if groupOf(ctx) != nil {
		return ctx
	}
	return context.WithValue(ctx, groupKey{}, new(group))
}

func groupOf(ctx context.Context) *group {
	g, _ := ctx.Value(groupKey{}).(*group)
	return g
}

// A pidTable numbers the running programs.
type pidTable struct {
	mu   sync.Mutex
	last int
	runs map[int]*process
	off  func() // while the power is off: called when no program runs
}

// firstPID is where numbering starts, above what a booted node uses up.
const firstPID = 20000

// add returns a number for something that end ends, such as a container's init.
func (t *pidTable) add(end func()) int { return t.start(&process{end: end}) }

// start returns a number for a program, 0 if there is no power to run it.
func (t *pidTable) start(r *process) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.off != nil {
		return 0
	}
	if t.runs == nil {
		t.runs, t.last = map[int]*process{}, firstPID
	}
	t.last++
	t.runs[t.last] = r
	return t.last
}

// name sets the command line of a program.
func (t *pidTable) name(pid int, args string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.runs[pid]; r != nil {
		r.args = args
	}
}

// A psRow is one running program.
type psRow struct {
	pid  int
	args string
}

// all returns the running programs by number.
func (t *pidTable) all() []psRow {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []psRow
	for pid, r := range t.runs {
		if r.args != "" {
			out = append(out, psRow{pid, r.args})
		}
	}
	slices.SortFunc(out, func(a, b psRow) int { return a.pid - b.pid })
	return out
}

func (t *pidTable) remove(pid int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.runs, pid)
	if t.off != nil && len(t.runs) == 0 {
		t.off()
	}
}

// powerOff ends all programs at once and forgets all else that has a number. none
// is closed when no program runs any more. Until powerOn none starts.
func (t *pidTable) powerOff() (none <-chan struct{}) {
	over := make(chan struct{})
	t.mu.Lock()
	t.off = sync.OnceFunc(func() { close(over) })
	var programs []*process
	for pid, r := range t.runs {
		if r.dir == "" { // the init of a container
			delete(t.runs, pid)
			continue
		}
		programs = append(programs, r)
	}
	if len(programs) == 0 {
		t.off()
	}
	t.mu.Unlock()
	for _, r := range programs {
		r.signal(syscall.SIGKILL)
	}
	return over
}

// powered reports whether programs can run.
func (t *pidTable) powered() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.off == nil
}

// powerOn lets programs start again, numbered as after a boot.
func (t *pidTable) powerOn() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.off, t.runs, t.last = nil, nil, 0
}

// find returns the program of a number, nil if there is none.
func (t *pidTable) find(pid int) *process {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.runs[pid]
}

// inGroup returns the programs of a group, but for the one that asks.
func (t *pidTable) inGroup(g *group, but int) []*process {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []*process
	for pid, r := range t.runs {
		if r.group == g && g != nil && pid != but {
			out = append(out, r)
		}
	}
	return out
}

// inside reports whether a program works in a directory that is.
func (t *pidTable) inside(is func(dir string) bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.runs {
		if r.dir != "" && is(r.dir) {
			return true
		}
	}
	return false
}
