// Package labtest holds what tests that open labs share.
package labtest

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"testing"
)

// memoryDir is a file system in the machine's memory, on Linux.
const memoryDir = "/dev/shm"

// enough is how much memoryDir must have free: the labs of a whole test run.
const enough = 1 << 30

// TempDir returns an empty directory that is removed when the test ends, for a
// lab: in the machine's memory if there is room, as a lab writes many small
// files, otherwise where t.TempDir has it.
func TempDir(t testing.TB) string {
	t.Helper()
	tune()
	if !roomInMemory() {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memoryDir, "tg-lab-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the lab of the test: %v", err)
		}
	})
	return filepath.Clean(dir)
}

// tune lets the process collect garbage less often: labs hold little and make
// much of it, so that a fifth of the time of their tests would go there. GOGC
// decides where it is set.
var tune = sync.OnceFunc(func() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
})
