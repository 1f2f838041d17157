package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"strings"
	"time"
)

// A Host runs commands and moves files on one Proxmox node. It is safe for
// parallel use. An error that wraps ErrTransient says that the connection, not
// the command, failed: what the command did is then not known.
type Host interface {
	// Name is how people call the host: "pve1", "lab", "this node".
	Name() string
	// Run passes c.Argv unchanged to the program; quoting is the Host's job. A
	// non-zero exit is an *ExitError (and Result is filled all the same).
	// Cancelling ctx ends the remote program.
	Run(ctx context.Context, c Cmd) (Result, error)
	// Batch answers read-only questions in one round trip; each has its own error.
	Batch(ctx context.Context, asks []Ask) (*Answers, error)
	// WriteFile replaces f.Name in one step: readers see the old or the new.
	WriteFile(ctx context.Context, f File) error
	// Dial connects as seen from the node, so that probes need no tool there.
	Dial(ctx context.Context, network, addr string) (net.Conn, error)
	// Hold takes the lock l and keeps it until the returned Closer is closed or
	// the connection ends, whichever is first, so a crash cannot leave it behind.
	// If somebody else holds it, the error is a *LockedError.
	Hold(ctx context.Context, l Lock) (io.Closer, error)
	io.Closer
}

// A Cmd is one program to run. Argv is never shell text.
type Cmd struct {
	Argv  []string
	Stdin io.Reader // nil means empty
	// Stdout, if not nil, also gets standard output while the program runs.
	Stdout io.Writer
	// Stderr, if not nil, also gets standard error while the program runs. It is
	// written to by another goroutine than Stdout is, and may be the same only if
	// that is safe.
	Stderr io.Writer
	// ReadOnly says that the program changes nothing; it is then not audited.
	ReadOnly bool
	// Terminal, if not nil, gives the program a terminal of its own: Stdin is what is
	// typed there, Stdout gets all that it shows, Stderr is not used, and the Result
	// has no output. Ending ctx hangs up.
	Terminal *Terminal
	// Audit, if not nil, is appended to the node's audit log with the exit status
	// when the program has ended, in the same round trip.
	Audit *Audit
}

// A Terminal is the one of the person whom a program talks to.
type Terminal struct {
	Type    string // as in TERM: "xterm-256color"
	Size    WindowSize
	Resized <-chan WindowSize // may be nil
}

// A WindowSize is in characters.
type WindowSize struct{ Rows, Cols int }

// An Audit is one line of the node's audit log (JSON lines, root only). The Host
// adds the exit status, and whether the command read anything.
type Audit struct {
	Time time.Time `json:"time"`
	App  string    `json:"app"`
	Step StepID    `json:"step,omitempty"`
	Argv []string  `json:"argv"` // secrets masked
	// Stdin tells that the command had a standard input, which no log holds. A Host
	// sets it from Cmd.Stdin.
	Stdin bool `json:"stdin,omitempty"`
}

// AuditLog is where a node keeps the audit log.
const AuditLog = "/var/log/tengil/audit.log"

// A Result is what a program printed and how it ended.
type Result struct {
	Stdout, Stderr []byte
	Exit           int
}

// An ExitError is a program that ended with a status other than 0.
type ExitError struct {
	Argv   []string // secrets masked by who sets it
	Exit   int
	Stdout []byte
	Stderr []byte
}

// Error names the command, up to its first option, its status and what it said on
// standard error (on standard output when it said nothing there), trimmed, never
// paraphrased.
func (e *ExitError) Error() string {
	said := strings.TrimSpace(string(e.Stderr))
	if said == "" {
		said = strings.TrimSpace(string(e.Stdout))
	}
	if len(said) > 4000 {
		said = said[:2000] + "\n…\n" + said[len(said)-2000:]
	}
	msg := fmt.Sprintf("%s: exit status %d", e.Command(), e.Exit)
	if said != "" {
		msg += ": " + strings.ReplaceAll(said, "\n", "\n    ")
	}
	return msg
}

// Command is the command up to its first option, and at most three words of it.
func (e *ExitError) Command() string {
	head := e.Argv[:min(3, len(e.Argv))]
	if i := slices.IndexFunc(head, func(a string) bool { return strings.HasPrefix(a, "-") }); i > 0 {
		head = head[:i]
	}
	return strings.Join(head, " ")
}

// A File is content for WriteFile. Missing parent directories are made, root only.
type File struct {
	Name string // absolute
	Data []byte
	Perm fs.FileMode // ignored below /etc/pve, where pmxcfs sets it
	// Lock, if set, is flocked (waiting at most 10 s, as PVE does) around check
	// and replacement.
	Lock string
	// Was, if not nil, is what the file must still hold; otherwise nothing is
	// written and the error wraps ErrChanged. Empty and not nil: must not exist.
	Was   []byte
	Audit *Audit
}

// ErrChanged is wrapped by WriteFile when the file no longer holds File.Was.
var ErrChanged = errors.New("changed meanwhile")

// A Lock names a lock on the node and says who takes it.
type Lock struct {
	Path   string // absolute; made if missing
	Holder string // for the next one who asks: "ben@laptop, tg run immich.star"
	Since  time.Time
}

// A LockedError says who holds a lock.
type LockedError struct {
	Path   string
	Holder string // "" if the holder left no note
	Since  time.Time
}

func (e *LockedError) Error() string {
	who := e.Holder
	if who == "" {
		who = "someone"
	}
	msg := fmt.Sprintf("%s is held by %s", e.Path, who)
	if !e.Since.IsZero() {
		msg += " since " + e.Since.UTC().Format(time.RFC3339)
	}
	return msg
}
