//go:build !unix

package launch

import (
	"os"
	"os/exec"
)

// suffix ends the names of programs.
const suffix = ".exe"

func alone(*exec.Cmd) {}

// kill ends a program.
func kill(p *os.Process) { _ = p.Kill() }

func tempDir() string { return os.TempDir() }
