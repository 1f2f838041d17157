package lab

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A When says at which moment a fault fires.
type When int

// The moments. During is the program's first checkpoint (an archive is half
// unpacked); a program that has none is treated as After. A request, and the
// opening of a file, has no During.
const (
	Before When = iota
	During
	After
)

// An Effect says what a fault does.
type Effect int

// The effects.
const (
	Fail  Effect = iota // it ends with Fault.Exit and says Fault.Stderr; a file gives an I/O error
	Cut                 // every SSH connection drops; a systemd unit runs on
	Hang                // it does nothing more until it is ended
	Kill                // it ends at once, as by kill -9, and cleans up nothing
	Pause               // it takes Fault.For longer, and goes on
	// Truncate lets only the first Fault.Bytes of its output, or of the file that
	// is read, through; the status stays.
	Truncate
	// Replace puts Fault.Text in place of its output, or of what the file that is
	// read holds; the status stays.
	Replace
	// Meddle runs Fault.Argv on the node, as somebody else who works on it would.
	Meddle
)

// A Subject says what a fault happens to.
type Subject int

// The subjects.
const (
	Programs Subject = iota // argv is the program's
	Requests                // whatever is asked for over SSH at once; argv is the command line
	Reads                   // files that programs and the shell open to read; argv is the path
	Writes                  // files that they open to write; argv is the path
)

// Forever as Fault.Times lets a fault fire every time.
const Forever = -1

// A Fault is something that goes wrong, once or some times.
type Fault struct {
	Of Subject `json:"of,omitempty"`
	// Match and Prefix choose what it happens to: by a function of argv, or by how
	// argv begins. Of files, Prefix holds one path or pattern of path.Match; of
	// requests, one text that the command line holds. Both unset matches all.
	Match  func(argv []string) bool `json:"-"`
	Prefix []string                 `json:"prefix,omitempty"`
	Nth    int                      `json:"nth,omitempty"`   // the how manieth match from now, from 1; 0 is 1
	Times  int                      `json:"times,omitempty"` // how often it fires from then on; 0 is once
	When   When                     `json:"when,omitempty"`
	Do     Effect                   `json:"do,omitempty"`
	For    time.Duration            `json:"for,omitempty"`    // waited before it does so; all of Pause
	Exit   int                      `json:"exit,omitempty"`   // of Fail; 0 is 1
	Stderr string                   `json:"stderr,omitempty"` // of Fail
	Bytes  int                      `json:"bytes,omitempty"`  // of Truncate
	Text   string                   `json:"text,omitempty"`   // of Replace
	Argv   []string                 `json:"argv,omitempty"`   // of Meddle
	// Then, if not nil, is called when it fires, before Do has any effect, with the
	// argv that it fires on.
	Then func(argv []string) `json:"-"`

	fired bool
}

func (f *Fault) then(argv []string) {
	if f.Then != nil {
		f.Then(slices.Clone(argv))
	}
}

func (f *Fault) matches(of Subject, argv []string) bool {
	switch {
	case f.Of != of:
		return false
	case f.Match != nil:
		return f.Match(argv)
	case of == Programs || len(f.Prefix) == 0:
		return len(argv) >= len(f.Prefix) && slices.Equal(argv[:len(f.Prefix)], f.Prefix)
	case of == Requests:
		return strings.Contains(argv[0], f.Prefix[0])
	}
	ok, err := path.Match(f.Prefix[0], argv[0])
	return f.Prefix[0] == argv[0] || ok && err == nil
}

// spoils reports whether a fault changes what is read or printed.
func (f *Fault) spoils() bool { return f != nil && (f.Do == Truncate || f.Do == Replace) }

// A faultTable holds the faults that may still fire.
type faultTable struct {
	mu   sync.Mutex
	left []*Fault
}

func (t *faultTable) add(f Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.Nth, f.Times = max(f.Nth, 1), cmp.Or(f.Times, 1)
	t.left = append(t.left, &f)
}

// take counts a run of argv and returns the fault that is due, if any.
func (t *faultTable) take(of Subject, argv ...string) *Fault {
	t.mu.Lock()
	defer t.mu.Unlock()
	var due *Fault
	t.left = slices.DeleteFunc(t.left, func(f *Fault) bool {
		if !f.matches(of, argv) {
			return false
		}
		if f.Nth > 1 {
			f.Nth--
			return false
		}
		if due != nil {
			return false
		}
		f.fired = true
		if f.Times > 0 {
			f.Times--
		}
		one := *f
		due = &one
		return f.Times == 0
	})
	return due
}

// pending counts the faults that are to fire yet; one that fires for ever counts
// until it has.
func (t *faultTable) pending() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	count := 0
	for _, f := range t.left {
		if f.Times > 0 || !f.fired {
			count++
		}
	}
	return count
}

// list returns copies of the faults that may still fire.
func (t *faultTable) list() []Fault {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Fault, len(t.left))
	for i, f := range t.left {
		all[i] = *f
	}
	return all
}

func (t *faultTable) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left = nil
}

// strike does what f does to something that runs with ctx and is known by argv. If
// ended, it is over with that exit status.
func (n *node) strike(ctx context.Context, f *Fault, stderr io.Writer, argv ...string) (exit int, ended bool) {
	f.then(argv)
	if !wait(ctx, f.For) {
		return exitKilled, true
	}
	switch f.Do {
	case Fail:
		fmt.Fprint(stderr, f.Stderr)
		return max(f.Exit, 1), true
	case Cut:
		n.cut()
		return exitKilled, ctx.Err() != nil
	case Hang:
		<-ctx.Done()
		return exitKilled, true
	case Kill:
		return exitKilled, true
	case Meddle:
		n.meddle(ctx, f.Argv)
	case Pause, Truncate, Replace:
	}
	return 0, false
}

type meddlerKey struct{}

// meddle runs a program as somebody else does, to whom no fault happens.
func (n *node) meddle(ctx context.Context, argv []string) {
	var said strings.Builder
	ctx = context.WithValue(context.WithoutCancel(ctx), meddlerKey{}, true)
	ctx = context.WithValue(ctx, groupKey{}, (*group)(nil))
	if exit := n.exec(ctx, argv, rootEnv(), rootHome, eofReader{}, io.Discard, &said); exit != 0 {
		n.log.Error("somebody else on the node", "argv", argv, "exit", exit, "stderr", said.String())
	}
}

// due counts something that runs with ctx and returns the fault that is due.
func (n *node) due(ctx context.Context, of Subject, argv ...string) *Fault {
	if ctx.Value(meddlerKey{}) != nil || isControl(of, argv) {
		return nil
	}
	return n.faults.take(of, argv...)
}

// isControl reports whether something is the control of the lab itself, which goes on
// whatever is wrong with the node.
func isControl(of Subject, argv []string) bool {
	switch of {
	case Programs:
		return argv[0] == FaultProgram || argv[0] == HealthProgram
	case Requests:
		return controlRequest.MatchString(argv[0])
	case Reads, Writes:
	}
	return false
}

var controlRequest = regexp.MustCompile(`\b(?:` + FaultProgram + `|` + HealthProgram + `)\b`)

// fire does what f says to the program.
func (p *proc) fire(f *Fault) (exit int, ended bool) {
	p.fault = nil
	return p.node.strike(p.ctx, f, p.stderr, p.argv...)
}

// spoiled runs something whose output goes to the writer that it is given, with
// the output spoiled as f says.
func spoiled(f *Fault, stdout io.Writer, run func(stdout io.Writer) int) int {
	if !f.spoils() {
		return run(stdout)
	}
	if f.Do == Truncate {
		return run(&firstBytes{w: stdout, left: f.Bytes})
	}
	exit := run(io.Discard)
	_, _ = io.WriteString(stdout, f.Text) // its reader may be gone
	return exit
}

// firstBytes lets some bytes through and takes the others.
type firstBytes struct {
	w    io.Writer
	left int
	mu   sync.Mutex
}

func (t *firstBytes) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	through := b[:min(len(b), t.left)]
	t.left -= len(through)
	if len(through) > 0 {
		if _, err := t.w.Write(through); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// opens counts the opening of a file, path and all links of which are the node's,
// and does what fault is due. The fault it returns spoils what is read.
func (n *node) opens(ctx context.Context, of Subject, name string) (*Fault, error) {
	f := n.due(ctx, of, name)
	if f == nil {
		return nil, nil
	}
	if _, ended := n.strike(ctx, f, io.Discard, name); ended {
		if ctx.Err() != nil {
			return nil, &endedError{exitKilled}
		}
		return nil, syscall.EIO
	}
	return f, nil
}

// A spoiledFile is a file that is read with what a fault makes of it.
type spoiledFile struct {
	io.Reader
	io.Closer
}

// spoil returns what a fault makes of a file that is read; f may be nil.
func (f *Fault) spoil(file io.ReadCloser) io.ReadCloser {
	switch {
	case !f.spoils():
		return file
	case f.Do == Truncate:
		return spoiledFile{io.LimitReader(file, int64(f.Bytes)), file}
	}
	return spoiledFile{strings.NewReader(f.Text), file}
}

// An endedError says that a fault ended the program at a checkpoint.
type endedError struct{ exit int }

func (e *endedError) Error() string { return fmt.Sprintf("ended with status %d", e.exit) }

// checkpoint is called by programs where their work is half done. An error means
// that the program has ended there: *endedError if it must return that status at
// once and clean up nothing (it was killed), a *faultError if its work failed.
func (p *proc) checkpoint() error {
	if f := p.fault; f != nil && f.When == During && !f.spoils() {
		if f.Do == Fail {
			p.fault = nil
			f.then(p.argv)
			if !p.sleep(f.For) {
				return &endedError{exitKilled}
			}
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
