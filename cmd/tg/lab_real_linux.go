package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/lab/lxc"
)

// enclosedBy is the variable that tells a lab whose containers run for real which
// process encloses it.
const enclosedBy = "TG_LAB_ENCLOSED_BY"

// Files that are handed to an enclosed lab, beside the streams.
const (
	listenerFile = 3 + iota
	networkFile
	handedFiles = iota
)

// labEnclose runs the lab in namespaces of its own, from outside, until it ends.
// Nothing of it is left then but what is in its directory.
func (s *session) labEnclose(ctx context.Context, dir string, f labFlags) (err error) {
	if at, running := lab.Find(dir); running {
		return &lab.InUseError{Dir: dir, Endpoint: at}
	}
	if err := labReady(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	listener, err := ln.(*net.TCPListener).File()
	if err = errors.Join(err, ln.Close()); err != nil {
		return err
	}
	network, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	cgroups := labCgroups(dir)
	if err := lxc.RemoveCgroups(cgroups); err != nil { // of one that was killed
		return errors.Join(err, listener.Close(), network.Close())
	}
	cmd := exec.Command(self, append([]string{"lab", "init", "--"}, f.args()...)...)
	cmd.ExtraFiles = []*os.File{listener, network}
	cmd.Env = append(os.Environ(), "TG_LAB_DIR="+dir, fmt.Sprintf("%s=%d", enclosedBy, os.Getpid()))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err = lxc.RunEnclosed(cmd)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = statusError(exit.ExitCode()) // it has said why
	}
	return errors.Join(err, listener.Close(), network.Close(), lxc.RemoveCgroups(cgroups))
}

// labSweep removes what a lab that was killed with kill -9 has left on the machine.
func labSweep(dir string) error {
	if os.Geteuid() != 0 { // it was none whose containers ran for real
		return nil
	}
	return lxc.RemoveCgroups(labCgroups(dir))
}

// labCgroups names the cgroups of the containers of the lab in dir.
func labCgroups(dir string) string {
	return fmt.Sprintf("tengil-lab-%x", sha256.Sum256([]byte(dir)))[:len("tengil-lab-")+12]
}

// labChecks tells what containers that run for real need of this machine.
func labChecks() []check {
	var out []check
	for _, f := range lxc.Check() {
		switch {
		case f.Problem == "":
			out = append(out, fine(f.What, "%s", cmp.Or(f.Have, "there")))
		case f.Needed:
			out = append(out, problem(f.What, f.Fix, "%s", f.Problem))
		default:
			out = append(out, note(f.What, f.Fix, "%s", f.Problem))
		}
	}
	return out
}

// labReady refuses where containers cannot run for real.
func labReady() error {
	for _, c := range lxc.Check() {
		if c.Needed && c.Problem != "" {
			return engine.WithHint(fmt.Errorf("containers cannot run for real here: %s", c.Problem), "to see all that is missing:\n    tg lab doctor")
		}
	}
	return nil
}

// labRealOptions returns what an enclosed lab was handed; nil if it is not enclosed.
func (s *session) labRealOptions(dir string, f labFlags) (*lab.Real, error) {
	outer := s.getenv(enclosedBy)
	if outer == "" {
		return nil, nil
	}
	pid, err := strconv.Atoi(outer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", enclosedBy, err)
	}
	file := os.NewFile(listenerFile, "listener")
	ln, err := net.FileListener(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return &lab.Real{
		Listener: ln, Network: os.NewFile(networkFile, "network"), PID: pid, Cgroups: labCgroups(dir), SSHD: f.sshd,
	}, nil
}

// labInitCmd is PID 1 of the namespaces of a lab whose containers run for real.
func (s *session) labInitCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "init [ARG]...",
		Short:  "Run the lab as PID 1 of its own namespaces",
		Hidden: true, // what encloses the lab
		Args:   cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if os.Getpid() != 1 || s.getenv(enclosedBy) == "" {
				return usagef("this is not for people; wanted tg lab start --real")
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			dir, err := s.labDir()
			if err != nil {
				return err
			}
			status, err := lxc.Init(append([]string{filepath.Clean(self)}, args...), os.Environ(), handedFiles, labCgroups(dir), lab.BridgeAddrs()...)
			if err == nil && status != 0 {
				err = statusError(status)
			}
			return err
		},
	}
}
