package lxc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Runner runs containers. See NewRunner, and Mount, which comes before the first Start.
type Runner struct {
	lab     string // the lab's directory
	dir     string // for the configurations, which LXC finds by name
	cgroups string
	v2      bool
}

// reached is where containers take a lab's files from. The ids of containers must
// be let through on the way to a file, and are not in the home directory of root.
const reached = "/run/lxc/lab"

// NewRunner returns a runner for the lab in a directory, where it keeps what LXC
// needs in lxc. It puts the cgroups of containers below cgroups.
func NewRunner(lab, cgroups string) *Runner {
	return &Runner{lab: lab, dir: filepath.Join(reached, "lxc"), cgroups: cgroups, v2: unified()}
}

// Mount makes the lab's files ones that containers reach, in the mount namespace
// of the caller.
func (r *Runner) Mount() error {
	if err := errors.Join(os.MkdirAll(filepath.Join(r.lab, "lxc"), 0o711), os.MkdirAll(reached, 0o711)); err != nil {
		return err
	}
	if err := unix.Mount(r.lab, reached, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", r.lab, reached, err)
	}
	return nil
}

// reach is where containers take a file of the machine from.
func (r *Runner) reach(file string) string {
	if rest, ok := strings.CutPrefix(file, r.lab+"/"); ok {
		return filepath.Join(reached, rest)
	}
	return file
}

// A StartError is a start that LXC gave up.
type StartError struct{ Said string }

func (e *StartError) Error() string { return "lxc-start: " + strings.TrimSpace(e.Said) }

// ErrEnded says that PID 1 ended as soon as it had begun.
var ErrEnded = errors.New("PID 1 has ended")

// A Run is a container that runs.
type Run struct {
	PID  int           // of its PID 1, in the lab's namespace
	Done chan struct{} // closed when it has ended and LXC has cleaned up
}

// Start starts a container and returns when its PID 1 runs. A start that LXC
// gives up is a *StartError; if PID 1 has ended by then, the error is ErrEnded.
func (r *Runner) Start(ctx context.Context, c Container) (*Run, error) {
	c.RootFS, c.Mounts = r.reach(c.RootFS), slices.Clone(c.Mounts)
	for i := range c.Mounts {
		c.Mounts[i].Source = r.reach(c.Mounts[i].Source)
	}
	home := filepath.Join(r.dir, c.Name)
	if err := os.MkdirAll(home, 0o711); err != nil {
		return nil, err
	}
	if err := r.makeDevices(c); err != nil {
		return nil, err
	}
	if err := r.mapMounts(home, &c); err != nil {
		return nil, &StartError{Said: err.Error() + "\n"}
	}
	text, err := c.config(r.cgroups, r.v2, r.DeviceDir(c.Name))
	if err != nil {
		return nil, &StartError{Said: err.Error()}
	}
	if err := os.WriteFile(filepath.Join(home, "config"), []byte(text), 0o600); err != nil {
		return nil, err
	}
	log := filepath.Join(home, "log")
	_ = os.Remove(log) // of the start before
	out, err := r.run(ctx, append([]string{"lxc-start", "-P", r.dir, "-n", c.Name, "-d", "-l", "ERROR", "-o", log, "--"}, c.Argv...)...)
	if err != nil {
		more, _ := os.ReadFile(log) // what it printed has to do
		r.clear(c.Name)
		said := reasons(string(more))
		if said == "" {
			said = string(out)
		}
		return nil, &StartError{Said: said}
	}
	return r.watch(ctx, c.Name)
}

// reasons returns the errors of a log of LXC, as lxc-start prints them where it
// stays in the foreground: without those that only say that it is in none.
func reasons(log string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		m := logLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil || m[1] == "tools/lxc_start.c" || m[1] == "lxccontainer.c" {
			continue
		}
		fmt.Fprintf(&b, "%s: %s %s\n", m[2], m[3], m[4])
	}
	return b.String()
}

// logLine is an error in a log of LXC: the source file, function and line, and the
// text.
var logLine = regexp.MustCompile(`^lxc-start .* (?:ERROR|FATAL) +\S+ - \.\./src/lxc/([^:]+):(\w+):(\d+) - (.*)$`)

// watch finds PID 1 of a container that has just been started and waits for its
// end.
func (r *Runner) watch(ctx context.Context, name string) (*Run, error) {
	out, _ := r.run(ctx, "lxc-info", "-P", r.dir, "-n", name, "-p", "-H") // fails for one that has ended
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	fd := -1
	if err == nil && pid > 0 {
		fd, err = unix.PidfdOpen(pid, 0)
	}
	if err != nil || fd < 0 {
		r.awaitStopped(name)
		r.clear(name)
		return nil, ErrEnded
	}
	run := &Run{PID: pid, Done: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(run.Done)
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		close(ended)
		_ = unix.Close(fd)
		r.awaitStopped(name)
		r.clear(name)
	}()
	select {
	case <-ended:
		<-run.Done
		return nil, ErrEnded
	case <-time.After(settle):
	}
	return run, nil
}

// settle is how long PID 1 is looked at before it counts as running.
const settle = 100 * time.Millisecond

// stopWait bounds how long LXC may take to clean up after PID 1.
const stopWait = "10"

// awaitStopped waits until LXC's monitor has cleaned up and is gone.
func (r *Runner) awaitStopped(name string) {
	_, _ = r.run(context.Background(), "lxc-wait", "-P", r.dir, "-n", name, "-s", "STOPPED", "-t", stopWait) // no better way if it fails
}

// clear removes what is left of a container that has ended: its mounts, and the
// cgroups that LXC's monitor does not remove if it is killed.
func (r *Runner) clear(name string) {
	r.unmapMounts(name)
	roots, _ := Cgroups(r.cgroups) // what cannot be looked at stays until the lab ends
	for _, root := range roots {
		for _, kind := range []string{cgroupMonitor, cgroupPivot, cgroupContainer} {
			_ = removeCgroupTree(filepath.Join(root, kind, name))
		}
	}
}

// Kill ends a container at once. One that does not run is no error.
func (r *Runner) Kill(name string, run *Run) error {
	out, err := r.run(context.Background(), "lxc-stop", "-P", r.dir, "-n", name, "-k")
	select {
	case <-run.Done:
		return nil
	case <-time.After(10 * time.Second):
		return fmt.Errorf("lxc-stop: %w: %s", err, out)
	}
}

// Halt sends PID 1 the signal that asks it to end and waits so long; ended is
// false if it has not.
func (r *Runner) Halt(ctx context.Context, name string, run *Run, timeout time.Duration) (ended bool) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, _ = r.run(ctx, "lxc-stop", "-P", r.dir, "-n", name, "--nokill", "--timeout", strconv.Itoa(max(1, int(timeout.Seconds())))) // Done tells
	select {
	case <-run.Done:
		return true
	default:
	}
	select {
	case <-run.Done:
		return true
	case <-ctx.Done():
		return false
	}
}

// Streams are those of a command.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Attach runs a command in a container as its root, with env and nothing else of
// this process if clear is not set, and returns its exit status.
func (r *Runner) Attach(ctx context.Context, name string, argv, env []string, clearEnv bool, s Streams) (int, error) {
	keep := "--keep-env"
	if clearEnv {
		keep = "--clear-env"
	}
	cmd := exec.CommandContext(ctx, "lxc-attach", append([]string{"-P", r.dir, "-n", name, keep, "--"}, argv...)...)
	cmd.Env = append([]string{"PATH=" + searchPath}, env...)
	cmd.Stdout, cmd.Stderr = s.Out, s.Err
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	go func() { // ends with the pipe, or when the caller's stdin does
		_, _ = io.Copy(in, s.In)
		_ = in.Close()
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		if st, ok := exit.Sys().(syscall.WaitStatus); ok && st.Signaled() {
			return 128 + int(st.Signal()), nil
		}
		return exit.ExitCode(), nil
	case errors.Is(err, exec.ErrWaitDelay):
		return cmd.ProcessState.ExitCode(), nil
	}
	return 0, err
}

// searchPath is where LXC's own programs are.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// run runs one of LXC's programs and returns all that it printed.
func (r *Runner) run(ctx context.Context, argv ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = []string{"PATH=" + searchPath}
	cmd.WaitDelay = time.Second // a monitor inherits what it prints to
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return out.Bytes(), err
}

// DeviceDir is where Start makes the device nodes of a container, each below it
// at its Target.
func (r *Runner) DeviceDir(name string) string { return filepath.Join(r.dir, name, "dev") }

// makeDevices makes the device nodes that a container is to see.
func (r *Runner) makeDevices(c Container) error {
	dir := r.DeviceDir(c.Name)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for _, d := range c.Devices {
		name := filepath.Join(dir, d.Target)
		if err := os.MkdirAll(filepath.Dir(name), 0o711); err != nil {
			return err
		}
		if err := d.make(name, c.FirstUID, c.FirstGID); err != nil {
			return err
		}
	}
	return nil
}

// make makes the device node, for a container whose ids begin with the given ones.
func (d Device) make(name string, firstUID, firstGID int) error {
	kind := uint32(unix.S_IFBLK)
	if d.Char {
		kind = unix.S_IFCHR
	}
	if err := unix.Mknod(name, kind|d.Mode, int(unix.Mkdev(d.Major, d.Minor))); err != nil {
		return fmt.Errorf("device %s: %w", d.Target, err)
	}
	if err := os.Lchown(name, firstUID+d.UID, firstGID+d.GID); err != nil {
		return err
	}
	return unix.Chmod(name, d.Mode)
}

// unified reports whether the machine has one cgroup hierarchy for all.
var unified = sync.OnceValue(func() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
})
