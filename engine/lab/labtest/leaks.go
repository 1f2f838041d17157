package labtest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// module is what the functions of this project begin with in a stack.
const module = "github.com/tengil/tengil/"

// patience is how often, every 20 ms, what ends by itself is looked for.
var patience = 500

// Main runs the tests of a package for its TestMain and returns the exit status:
// not 0 also if they have left a goroutine of this project, or a file where
// temporary files go.
func Main(m interface{ Run() int }) int {
	was, set := os.LookupEnv("TMPDIR")
	dir, err := os.MkdirTemp("", "tg-test-")
	if err == nil {
		err = os.Chmod(dir, 0o777|os.ModeSticky) // for programs that tests run as somebody else, too
	}
	if err == nil {
		err = os.Setenv("TMPDIR", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if set {
		defer os.Setenv("TMPDIR", was)
	} else {
		defer os.Unsetenv("TMPDIR")
	}
	code := m.Run()
	if left := leftovers(dir); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "the tests have left:\n\n%s\n", strings.Join(left, "\n\n"))
		return max(code, 1)
	}
	return code
}

// leftovers returns the files in dir and the goroutines that do not go soon: a
// program that was cut off from who began it clears up by itself.
func leftovers(dir string) []string {
	var files, running []string
	var err error
	soon(func() bool {
		files, err = filepath.Glob(filepath.Join(dir, "*"))
		running = goroutines()
		return err == nil && len(files)+len(running) == 0
	})
	if err != nil {
		return []string{err.Error()}
	}
	return slices.Concat(files, running)
}

// goroutines returns those that run code of this project, but for the one that
// asks.
func goroutines() []string {
	buf := make([]byte, 4<<20)
	var ours []string
	for i, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if i > 0 && strings.Contains(g, module) {
			ours = append(ours, g)
		}
	}
	return ours
}

// Unused fails the test if sessions of a lab stay open, as those of a host that is
// closed must not.
func Unused(t testing.TB, lab interface{ Sessions() int }) {
	t.Helper()
	if !soon(func() bool { return lab.Sessions() == 0 }) {
		t.Errorf("%d sessions stay open on the lab", lab.Sessions())
	}
}

// soon waits for something that must come, and reports whether it did.
func soon(done func() bool) bool {
	for range patience {
		if done() {
			return true
		}
		<-time.After(20 * time.Millisecond)
	}
	return done()
}
