package lab

import (
	"encoding/json"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// An Entry is one program that ran on the node.
type Entry struct {
	Time time.Time `json:"time"`
	Argv []string  `json:"argv"`
	Exit int       `json:"exit"`
	// Mutating is set for programs that may change the node, and for files that
	// the shell opens to write (argv is then ">" and the file).
	Mutating bool `json:"mutating,omitempty"`
}

// A recorder keeps what ran on the node and appends it to a file as JSON lines.
type recorder struct {
	mu      sync.Mutex
	entries []Entry
	file    io.Writer // nil: kept in memory only
	lines   []byte    // not yet in file
	mutated int       // entries that may have changed the node
}

func (r *recorder) add(argv []string, exit int, mutating bool) {
	e := Entry{Time: time.Now().UTC(), Argv: slices.Clone(argv), Exit: exit, Mutating: mutating}
	line, err := json.Marshal(e)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, e)
	if mutating {
		r.mutated++
	}
	if r.file != nil && err == nil {
		r.lines = append(append(r.lines, line...), '\n')
	}
}

// flush appends to the file what waits. The record is a convenience of the lab;
// that it cannot be written must not change what the node does.
func (r *recorder) flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil && len(r.lines) > 0 {
		_, _ = r.file.Write(r.lines)
		r.lines = r.lines[:0]
	}
}

// changes counts the programs that may have changed the node.
func (r *recorder) changes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mutated
}

func (r *recorder) all() []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.entries)
}

// readOnly reports whether a program changes nothing on the node, scratch files
// aside. Programs that run another are read-only: the other is recorded too. What
// it does not know is taken to change something.
func readOnly(argv []string) bool {
	name, sub := path.Base(argv[0]), ""
	if len(argv) > 1 {
		sub = argv[1]
	}
	switch name {
	case "cat", "ls", "stat", "readlink", "realpath", "head", "tail", "wc", "sha256sum", "uname", "hostname", "id",
		"nproc", "date", "timedatectl", "sleep", "true", "false", "mountpoint", "sync", "dpkg-query", "dpkg", "pveversion",
		"base64", "lxc-info", "grep", HealthProgram, FaultProgram, "find", "journalctl", "echo", "printf", "test", "[", "pwd", "umask", "zpool",
		"sh", "dash", "bash", "env", "setsid", "nohup", "timeout", "flock":
		return true
	case "mktemp", "rm", "mkdir", "touch", "chmod":
		return !slices.ContainsFunc(argv[1:], func(a string) bool { return strings.Contains(a, "/") && !scratch(a) })
	case "systemd-run":
		return false
	}
	reads := map[string][]string{
		"zfs":       {"list", "get", "version"},
		"pct":       {"list", "config", "pending", "status", "cpusets", "df"},
		"pvesh":     {"get", "ls", "usage"},
		"pvesm":     {"list", "path", "status"},
		"systemctl": {"show", "list-units", "is-active", "is-failed", "status"},
		"skopeo":    {"inspect", "list-tags"},
		"tar":       {"-tf", "-xOf", "tf", "xOf"},
		"exportfs":  {"-s", "-v"},
		"testparm":  {"-s"},
	}
	return slices.Contains(reads[name], sub)
}
