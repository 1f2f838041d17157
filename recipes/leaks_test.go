package recipes_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain looks what the tests have left when they have ended: a goroutine of
// tengil's, or a file where temporary files go.
func TestMain(m *testing.M) {
	os.Exit(main(m))
}

func main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "recipes-test-")
	if err == nil {
		err = os.Setenv("TMPDIR", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	code := m.Run()
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		fmt.Fprintf(os.Stderr, "files are left: %q %v\n", left, err)
		code = 1
	}
	var running []string
	for range 200 {
		if running = goroutines(); len(running) == 0 {
			break
		}
		<-time.After(20 * time.Millisecond)
	}
	if len(running) > 0 {
		fmt.Fprintf(os.Stderr, "%d goroutines are left:\n\n%s\n", len(running), strings.Join(running, "\n\n"))
		code = 1
	}
	return code
}

// goroutines returns those that run code of tengil's, but for the one that asks.
func goroutines() []string {
	buf := make([]byte, 4<<20)
	var ours []string
	for i, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if i > 0 && strings.Contains(g, "github.com/tengil/tengil/") {
			ours = append(ours, g)
		}
	}
	return ours
}
