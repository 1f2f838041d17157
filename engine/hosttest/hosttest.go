// Package hosttest is the conformance suite of engine.Host: what a step kind may
// rely on, whatever the Host is. Each implementation calls Run from its own test.
package hosttest

import (
	"runtime"
	"testing"
	"time"

	"github.com/tengil/tengil/engine"
)

// Options say where on the host the suite may work. Its programs must be on the
// host: cat, flock, head, ls, mkdir, mktemp, mv, rm, setsid, sh, sha256sum, sleep,
// stat, true.
type Options struct {
	// Dir is an absolute path on the host, in which the suite makes directories and
	// files; it is made if missing. Each test uses names of its own.
	Dir string
	// AuditLog is where the Host appends audit lines; engine.AuditLog if empty.
	AuditLog string
}

func (o Options) auditLog() string {
	if o.AuditLog == "" {
		return engine.AuditLog
	}
	return o.AuditLog
}

// Run checks the Hosts that open returns. The suite closes each.
func Run(t *testing.T, open func(t *testing.T) engine.Host, o Options) {
	for _, c := range []struct {
		name string
		test func(*testing.T, suite)
	}{
		{"argv arrives byte for byte", argvArrives},
		{"argv that cannot arrive is refused before anything runs", argvRefused},
		{"a program ends with its status and its own words", exitStatus},
		{"standard input arrives whole, and ends", stdinArrives},
		{"a program may end before its input", stdinLeft},
		{"an error of the reader ends the program", stdinBroken},
		{"large output arrives whole and as it comes", largeOutput},
		{"output that is too large keeps its ends", hugeOutput},
		{"both output streams come as they are written", liveOutput},
		{"cancel ends the program and frees what it held", cancelEnds},
		{"cancel ends a program that reads its input", cancelEndsReader},
		{"cancel before the start runs nothing", cancelBefore},
		{"a file is written with parents and mode", writeFile},
		{"a file is written only if it is as it was", writeFileWas},
		{"a file is written under its lock", writeFileLock},
		{"a failed write leaves nothing behind", writeFileFails},
		{"a cancelled write leaves the old file", writeFileCancelled},
		{"a batch answers mixed questions", batchMixed},
		{"a batch tells missing from unreadable", batchErrors},
		{"a batch reads files whatever their bytes", batchBytes},
		{"a batch reads files whatever their names", batchNames},
		{"a batch asks a thousand questions", batchMany},
		{"an empty batch asks nothing", batchEmpty},
		{"the audit log gets a line with the status", audit},
		{"a lock is exclusive, says by whom, and is released", holdExclusive},
		{"a lock ends with its host", holdEnds},
		{"many commands run side by side", parallel},
		{"dial connects, or says why not", dial},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t)
			defer func() {
				if err := h.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			c.test(t, suite{h, o.Dir, o, open})
		})
	}
	t.Run("nothing is left running", func(t *testing.T) { nothingLeft(t, open) })
}

// A suite is what one test works with.
type suite struct {
	engine.Host
	dir  string
	opts Options
	open func(*testing.T) engine.Host
}

// run runs a command that must succeed, and returns its standard output.
func (s suite) run(t *testing.T, argv ...string) string {
	t.Helper()
	r, err := s.Run(t.Context(), engine.Cmd{Argv: argv})
	if err != nil {
		t.Fatalf("%q: %v", argv, err)
	}
	return string(r.Stdout)
}

// fresh returns a directory on the host that did not exist before.
func (s suite) fresh(t *testing.T, name string) string {
	t.Helper()
	dir := s.dir + "/" + name
	s.run(t, "rm", "-rf", dir)
	s.run(t, "mkdir", "-p", dir)
	return dir
}

// write writes a file that must succeed.
func (s suite) write(t *testing.T, name, data string) {
	t.Helper()
	if err := s.WriteFile(t.Context(), engine.File{Name: name, Data: []byte(data)}); err != nil {
		t.Fatal(err)
	}
}

// list returns the names in dir, also hidden ones, one a line.
func (s suite) list(t *testing.T, dir string) string {
	t.Helper()
	return s.run(t, "ls", "-A", dir)
}

func nothingLeft(t *testing.T, open func(*testing.T) engine.Host) {
	before := runtime.NumGoroutine()
	h := open(t)
	for range 3 {
		if _, err := h.Run(t.Context(), engine.Cmd{Argv: []string{"true"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	// The other end of a connection, if it is in this process, ends a little later.
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, wanted at most %d:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
		runtime.Gosched()
	}
}
