//go:build unix

package launch

import (
	"os"
	"os/exec"
	"syscall"
)

// suffix ends the names of programs.
const suffix = ""

// alone puts a program into a process group of its own, so that Ctrl-C does not reach
// it and that what it starts can be ended with it.
func alone(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// kill ends a program with all that it has started.
func kill(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

// tempDir returns where sockets go, whose paths may have 104 bytes at most.
func tempDir() string {
	if dir := os.TempDir(); len(dir) <= 40 {
		return dir
	}
	return "/tmp"
}
