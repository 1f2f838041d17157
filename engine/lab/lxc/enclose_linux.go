package lxc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Bridge is the bridge that all containers are on.
const Bridge = "vmbr0"

// RunEnclosed runs a command as PID 1 of new namespaces for processes, mounts,
// network, names and IPC, and returns when it has ended. When this process ends,
// in whatever way, so does the command; with PID 1 all other processes of the
// namespaces end and all their mounts and interfaces go. A signal that asks this
// process to end is handed on.
func RunEnclosed(cmd *exec.Cmd) error {
	runtime.LockOSThread() // the death of the thread that started it ends the command
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("make namespaces: %w", err)
	}
	asked := make(chan os.Signal, 4)
	signal.Notify(asked, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1)
	over := make(chan struct{})
	go func() {
		for {
			select {
			case sig := <-asked:
				_ = cmd.Process.Signal(sig) // it may have ended
			case <-over:
				return
			}
		}
	}()
	err := cmd.Wait()
	signal.Stop(asked)
	close(over)
	return err
}

// Init is PID 1 of the namespaces that RunEnclosed made: it sets them up, runs a
// program with the files and streams of this process, reaps what is left behind,
// and returns the program's exit status. handed is how many files beside the
// streams are handed on; cgroups names those of the lab; addrs are the lab's own on
// the bridge, with their prefix.
func Init(argv, env []string, handed int, cgroups string, addrs ...string) (int, error) {
	if err := joinCgroup(cgroups); err != nil {
		return 0, err
	}
	if err := furnish(addrs); err != nil {
		return 0, err
	}
	asked := make(chan os.Signal, 4)
	signal.Notify(asked, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1)
	files := make([]uintptr, 3+handed)
	for fd := range files {
		files[fd] = uintptr(fd)
	}
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Env: env, Files: files, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		return 0, err
	}
	go func() {
		for sig := range asked {
			_ = syscall.Kill(pid, sig.(syscall.Signal)) // it may have ended
		}
	}()
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, err
		case got == pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		case got == pid:
			return status.ExitStatus(), nil
		}
	}
}

// furnish sets up the namespaces of this process: its own /proc, a /sys that shows
// its own interfaces and the cgroups of the machine, and the bridge.
func furnish(addrs []string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts apart: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// A /sys that was mounted before shows the interfaces of another namespace, and
	// a new one has no cgroups.
	cgroups, err := unix.OpenTree(unix.AT_FDCWD, cgroupRoot, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("take the cgroups along: %w", err)
	}
	defer unix.Close(cgroups)
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	if err := unix.MoveMount(cgroups, "", unix.AT_FDCWD, cgroupRoot, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount the cgroups: %w", err)
	}
	if err := os.MkdirAll("/run/lxc", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/run/lxc", "tmpfs", 0, "mode=755"); err != nil { // for LXC's lock files
		return fmt.Errorf("mount /run/lxc: %w", err)
	}
	return network(addrs)
}

// network makes the bridge and brings it up.
func network(addrs []string) error {
	lines := [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", Bridge, "type", "bridge", "forward_delay", "0"},
	}
	for _, a := range addrs {
		lines = append(lines, []string{"addr", "add", a, "dev", Bridge})
	}
	lines = append(lines, []string{"link", "set", Bridge, "up"})
	for _, argv := range lines {
		if out, err := exec.Command("ip", argv...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(argv, " "), err, out)
		}
	}
	return nil
}

const cgroupRoot = "/sys/fs/cgroup"

// Cgroups returns the directories of that name in all hierarchies of the machine.
// LXC makes them below the cgroup that a lab was started in.
func Cgroups(name string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(cgroupRoot, func(at string, d os.DirEntry, err error) error {
		switch {
		case err != nil && !errors.Is(err, os.ErrNotExist): // what is gone by now has nothing below it
			return err
		case err == nil && d.IsDir() && d.Name() == name:
			found = append(found, at)
			return filepath.SkipDir
		}
		return nil
	})
	return found, err
}

// RemoveCgroups removes all cgroups in directories of that name. Processes that have
// just been killed may be in them yet.
func RemoveCgroups(name string) error {
	roots, all := Cgroups(name)
	for _, root := range roots {
		all = errors.Join(all, removeCgroupTree(root))
	}
	return all
}

func removeCgroupTree(root string) error {
	var dirs []string
	all := filepath.WalkDir(root, func(at string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, at)
		}
		return nil // what is gone by now needs no removal
	})
	for _, d := range slices.Backward(dirs) {
		all = errors.Join(all, removeCgroup(d))
	}
	return all
}

// cgroupWait bounds how long a killed process may take to leave its cgroup.
const cgroupWait = 5 * time.Second

func removeCgroup(dir string) error {
	for end := time.Now().Add(cgroupWait); ; {
		err := unix.Rmdir(dir)
		switch {
		case err == nil || errors.Is(err, unix.ENOENT):
			return nil
		case !errors.Is(err, unix.EBUSY) || time.Now().After(end):
			return &os.PathError{Op: "rmdir", Path: dir, Err: err}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// joinCgroup puts this process, where there is one hierarchy for all, into a cgroup
// of its own beside the one that it was started in. In that one there are other
// processes, so that cgroups below it could have no limits. LXC takes the parent of
// init.scope for the place where it may make others.
func joinCgroup(name string) error {
	if !unified() {
		return nil
	}
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	beside := filepath.Join(cgroupRoot, cgroupBeside(string(data)))
	var above []string
	for at := beside; within(at, cgroupRoot); at = filepath.Dir(at) {
		above = append(above, at)
	}
	for _, at := range slices.Backward(above) { // each has what the one above it gives
		for _, controller := range []string{"+cpu", "+memory", "+pids"} {
			// One that cannot be had is told by the start of a container that needs it.
			_ = os.WriteFile(filepath.Join(at, "cgroup.subtree_control"), []byte(controller), 0)
		}
	}
	dir := filepath.Join(beside, name, "init.scope")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a cgroup: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
		return fmt.Errorf("join a cgroup: %w", err)
	}
	return nil
}

func within(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// cgroupBeside returns the parent of the cgroup that /proc/self/cgroup tells of.
func cgroupBeside(text string) string {
	for line := range strings.Lines(text) {
		if at, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path.Dir(at)
		}
	}
	return "/"
}
