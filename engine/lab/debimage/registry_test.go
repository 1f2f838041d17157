package debimage

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A registry is started once, answers, and holds what is pushed to it; where the
// address is taken by something else, the reason is told.
func TestARegistryIsStartedUnlessOneAnswers(t *testing.T) {
	for _, p := range RegistryPrograms {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not installed; to mend it: make setup", p)
			}
			t.Skipf("%s is not installed; to mend it: make setup", p)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	go func() { // whatever is asked, the connection ends
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	if _, err := Serve(t.Context(), addr, t.TempDir()); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("on a port that is taken: %v", err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pid, err := Serve(t.Context(), addr, dir)
	if err != nil {
		t.Fatal(err)
	}
	started, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = started.Kill() })
	if !answers(t.Context(), addr) {
		t.Error("it does not answer")
	}
	if again, err := Serve(t.Context(), addr, dir); err != nil || again != 0 {
		t.Errorf("started again: process %d, %v", again, err)
	}
}
