package pve

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/tengil/tengil/engine"
)

// What the node's tools said, as errors to match with errors.Is. Exit numbers of
// pct are those of the moment, so the text decides.
var (
	ErrNoSuchCT    = fmt.Errorf("no such container: %w", fs.ErrNotExist)
	ErrExists      = errors.New("id is in use")
	ErrLockTimeout = errors.New("lock timeout") // comes with engine.ErrTransient
	ErrRunning     = errors.New("container is running")
	ErrNotRunning  = errors.New("container is not running")
	ErrNoQuorum    = errors.New("cluster has no quorum")
	ErrNotFound    = fmt.Errorf("not found: %w", fs.ErrNotExist) // dataset, volume, image
	ErrOSUnknown   = errors.New("operating system of the image is unknown to Proxmox")
	ErrRegistry    = errors.New("registry is unavailable")                // comes with engine.ErrTransient
	ErrTooMany     = fmt.Errorf("it is asked too often: %w", ErrRegistry) // comes in an engine.BusyError
	ErrManifest    = errors.New("registry sent no manifest of an image")
	ErrDenied      = errors.New("registry denies access")
	ErrBusy        = errors.New("dataset is busy")
	ErrNoSpace     = errors.New("no space left")
	ErrReadOnly    = errors.New("file system or pool is read-only")
	ErrChanged     = errors.New("configuration was changed by somebody else")
	ErrProtected   = errors.New("container is protected")
	ErrStart       = errors.New("container did not start or ended at once")
	ErrStop        = errors.New("container did not stop in time")
	ErrInterrupted = errors.New("task was interrupted")
	ErrArchive     = errors.New("archive of the image is damaged")
	ErrUnpack      = errors.New("layer of the image cannot be unpacked")
	ErrNoPasswd    = errors.New("image has a user but no /etc/passwd")
	ErrVolumeFile  = errors.New("a volume of the image is a file")
	ErrDigest      = errors.New("registry sent something else than the digest says")
	ErrNoBlob      = errors.New("registry has lost a part of the image")
	ErrDataset     = fmt.Errorf("dataset: %w", fs.ErrExist) // a dataset of that name exists
)

// A LockedError says that a guest's config is locked: "CT is locked (backup)".
type LockedError struct{ Lock string }

func (e *LockedError) Error() string { return "container is locked (" + e.Lock + ")" }

// ErrLocked is what a *LockedError matches with errors.Is.
var ErrLocked = errors.New("container is locked")

// Is reports whether target is ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// A message is a text of a tool and what it means.
type message struct {
	pattern   string
	means     error
	transient bool
}

// messages lists patterns in the order in which they are tried.
func messages() []message {
	return []message{
		{`can't lock file '[^']+' - got timeout|error with cfs lock|cfs-lock '[^']+' error: got lock request timeout`, ErrLockTimeout, true},
		{`cluster not ready - no quorum|/etc/pve/[^\n]*Permission denied`, ErrNoQuorum, false},
		{`Configuration file '[^']+' does not exist|could not find CT \d+`, ErrNoSuchCT, false},
		{`(CT|VM) \d+ already exists`, ErrExists, false},
		{`CT \d+ already running|container is running`, ErrRunning, false},
		{`(CT|VM) \d+ not running|container '\d+' not running!|(?m)^\d+ doesn't exist$`, ErrNotRunning, false},
		{`startup for container '\d+' failed|unable to get PID for CT \d+|command 'lxc-info -n \d+ -p' failed`, ErrStart, false},
		{`container did not stop`, ErrStop, false},
		{`unable to create CT \d+ - received interrupt`, ErrInterrupted, false},
		{`protection mode enabled`, ErrProtected, false},
		{`detected modified configuration - file changed by other user`, ErrChanged, false},
		{`unable to detect OS distribution|unable to read version info|can't open '[^']*/etc/lsb-release'|unsupported .* (version|release)`, ErrOSUnknown, false},
		{`dataset is busy|pool or dataset is busy`, ErrBusy, false},
		{`[Nn]o space left on device|out of space|[Dd]isk quota exceeded`, ErrNoSpace, false},
		{`Unknown layer digest|corrupt deflate stream|Error while parsing OCI image: (JSON error|Unsupported CPU)|command 'tar -tf [^']*' failed`, ErrArchive, false},
		{`Error while extracting OCI image: `, ErrUnpack, false},
		{`cannot resolve /etc/passwd path in container rootfs`, ErrNoPasswd, false},
		{`unable to create CT \d+ - mkdir .*: File exists`, ErrVolumeFile, false},
		{`level=fatal .*(blob unknown to registry|BLOB_UNKNOWN)`, ErrNoBlob, false},
		{`level=fatal .*(Digest did not match|manifest digest .*does not match|does not match (provided|requested) (manifest )?digest)`, ErrDigest, false},
		{`pool is read-only|[Rr]ead-only file system|dataset is read-only`, ErrReadOnly, false},
		{`dataset already exists`, ErrDataset, false},
		{`dataset does not exist|no such pool|parent does not exist|could not find any snapshots to destroy`, ErrNotFound, false},
		{`manifest unknown|repository name not known to registry|name unknown|MANIFEST_UNKNOWN|NAME_UNKNOWN`, ErrNotFound, false},
		{`volume '[^']+' (for container '\d+' )?does not exist|can't find file '[^']+'`, ErrNotFound, false},
		{`level=fatal .*(toomanyrequests|too many requests|StatusCode: 429|status code 429|HTTP 429|429 Too Many)`, ErrTooMany, true},
		{`level=fatal .*(HTTP status: 5\d\d|HTTP 5\d\d|status code 5\d\d|StatusCode: 5\d\d|\b50[0234] [A-Z])`, ErrRegistry, true},
		{`level=fatal .*stopped after \d+ redirects`, ErrRegistry, false},
		{`level=fatal .*blob unknown to registry`, ErrRegistry, true}, // it has the manifest, not the layer
		{`level=fatal .*(unauthorized|authentication required|access to the resource is denied|status code 40[13]|HTTP 40[13])`, ErrDenied, false},
		{`level=fatal .*manifest.*(unexpected end of JSON input|invalid character)`, ErrManifest, false},
		{`level=fatal .*(i/o timeout|TLS handshake timeout|connection reset by peer|connection refused|blob[: ].*unexpected EOF|docker://.*unexpected EOF|no such host|server misbehaving|deadline exceeded|network is unreachable)`, ErrRegistry, true},
	}
}

// Classify says what the text of a failed tool means, nil if it is not known.
// The text that tells is on standard error; tasks of pct print it on standard
// output as well.
func Classify(stderr, stdout string, exit int) error {
	if exit == 0 {
		return nil
	}
	for _, text := range []string{stderr, lastLines(stdout, 5)} {
		if err := classify(text); err != nil {
			return err
		}
	}
	return nil
}

// knownMessages are the messages with their patterns compiled, once: every failed
// command is compared with all of them.
var knownMessages = sync.OnceValue(func() (known struct {
	locked   *regexp.Regexp
	all      []message
	patterns []*regexp.Regexp
},
) {
	known.locked = regexp.MustCompile(`CT is locked \(([a-z-]+)\)`)
	known.all = messages()
	for _, m := range known.all {
		known.patterns = append(known.patterns, regexp.MustCompile(m.pattern))
	}
	return known
})

func classify(text string) error {
	known := knownMessages()
	if m := known.locked.FindStringSubmatch(text); m != nil {
		return &LockedError{m[1]}
	}
	for i, m := range known.all {
		if !known.patterns[i].MatchString(text) {
			continue
		}
		if errors.Is(m.means, ErrTooMany) {
			return &engine.BusyError{Err: m.means, After: retryAfter(text)}
		}
		if m.transient {
			return engine.Transient(m.means)
		}
		return m.means
	}
	return nil
}

var knownRetryAfter = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)retry-after: ([0-9.]+(?:ns|us|µs|μs|ms|s|m|h))`)
})

// retryAfter returns for how long a registry wants to be left alone, as some put it
// into the text of their refusal; 0 if it does not say.
func retryAfter(text string) time.Duration {
	m := knownRetryAfter().FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	d, err := time.ParseDuration(m[1])
	if err != nil || d < 0 {
		return 0
	}
	return d
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Explain adds to the error of a failed command what Classify makes of it, and
// what to do about it where that is always the same; the text stays. Other errors
// come back unchanged.
func Explain(err error) error {
	var exit *engine.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	means := Classify(string(exit.Stderr), string(exit.Stdout), exit.Exit)
	if means == nil {
		return err
	}
	return engine.WithHint(&explained{err, means}, hintFor(means, exit.Argv))
}

// hintFor tells what to do about a condition of the node, "" where it depends on
// what was being done.
func hintFor(means error, argv []string) string {
	var locked *LockedError
	switch {
	case errors.As(means, &locked):
		return locked.hint(guestOf(argv))
	case errors.Is(means, ErrNoSuchCT):
		return "somebody destroyed it or moved it to another node meanwhile; run it again to see what is there now"
	case errors.Is(means, ErrNoQuorum):
		return "too few nodes of the cluster see each other, so nothing can be changed; on the node:\n    pvecm status"
	case errors.Is(means, ErrNoSpace):
		return "see what is full, on the node:\n    df -h\n    zfs list -o space"
	case errors.Is(means, ErrReadOnly) && !(len(argv) > 1 && argv[0] == "pct" && argv[1] == "exec"): // there the recipe may say ro = True
		return "nothing can be changed there until it can be written again; see why, on the node:\n    zpool status -x\n    zfs get readonly"
	case errors.Is(means, ErrRegistry):
		return "the registry has too much to do, is out of order or is not reached from the node; run it again in some minutes"
	}
	return ""
}

// guestOf returns the id that a command of pct is about, "ID" of any other.
func guestOf(argv []string) string {
	if len(argv) > 2 && argv[0] == "pct" && strings.Trim(argv[2], "0123456789") == "" {
		return argv[2]
	}
	return "ID"
}

// hint tells what holds a lock of that name (the values of option lock of
// pct_config), and when it may be taken off.
func (e *LockedError) hint(id string) string {
	switch e.Lock {
	case "backup", "snapshot", "snapshot-delete", "rollback", "migrate", "disk", "fstrim":
		return "a task of Proxmox is at work on it; when it has ended, run it again. If none is (Datacenter, Tasks), on the node:\n    pct unlock " + id
	case "mounted":
		return "somebody works on its files; on the node, when they are done:\n    pct unmount " + id
	}
	return ""
}

type explained struct {
	error
	means error
}

func (e *explained) Unwrap() []error { return []error{e.error, e.means} }

// AskedHA reports whether pct start or shutdown only asked HA to do it, as it does
// for a container that HA manages, and returned before it happened (pct.pm).
func AskedHA(stdout []byte) bool { return strings.Contains(string(stdout), "Requesting HA ") }
