package lxc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// PlugLink puts an interface into a running container.
func (r *Runner) PlugLink(run *Run, l Link) error {
	pid := strconv.Itoa(run.PID)
	add := []string{"link", "add", l.Host, "type", "veth", "peer", "name", l.Name}
	if l.HWAddr != "" {
		add = append(add, "address", l.HWAddr)
	}
	if l.MTU > 0 {
		add = append(add, "mtu", strconv.Itoa(l.MTU))
	}
	if err := ip(append(add, "netns", pid)...); err != nil {
		return err
	}
	err := ip("link", "set", l.Host, "master", l.Bridge, "up")
	if err == nil {
		err = r.Address(run, l)
	}
	if err != nil {
		return errors.Join(err, r.UnplugLink(l))
	}
	return nil
}

// UnplugLink takes an interface out of a running container.
func (r *Runner) UnplugLink(l Link) error { return ip("link", "del", l.Host) }

// Address gives an interface of a running container the addresses of l, and no
// others.
func (r *Runner) Address(run *Run, l Link) error {
	inside := func(args ...string) error {
		return command(append([]string{"nsenter", "-t", strconv.Itoa(run.PID), "-n", "ip"}, args...)...)
	}
	state := "up"
	if l.Down {
		state = "down"
	}
	if err := errors.Join(inside("addr", "flush", "dev", l.Name, "scope", "global"), inside("link", "set", l.Name, state)); err != nil || l.Down {
		return err
	}
	for _, a := range l.Addrs {
		if err := inside("addr", "add", a.String(), "dev", l.Name); err != nil {
			return err
		}
	}
	for _, g := range l.Gateways {
		if err := inside("route", "replace", "default", "via", g.String(), "dev", l.Name); err != nil {
			return err
		}
	}
	return nil
}

func ip(args ...string) error { return command(append([]string{"ip"}, args...)...) }

// command runs a program of the machine; the error has what it said.
func command(argv ...string) error {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// SetLimits changes the limits of a running container.
func (r *Runner) SetLimits(run *Run, l Limits) error {
	var all error
	l.config(r.v2, func(key, value string) {
		_, item, _ := strings.Cut(strings.TrimPrefix(key, "lxc."), ".") // lxc.cgroup2.memory.max
		all = errors.Join(all, r.setCgroup(run, item, value))
	})
	return all
}

// setCgroup writes a file of the cgroup that limits a container, in which that of
// its processes lies.
func (r *Runner) setCgroup(run *Run, item, value string) error {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", run.PID))
	if err != nil {
		return err
	}
	controller, _, _ := strings.Cut(item, ".")
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3) // hierarchy, controllers, path
		if len(f) != 3 || r.v2 && f[0] != "0" || !r.v2 && !slices.Contains(strings.Split(f[1], ","), controller) {
			continue
		}
		root := cgroupRoot
		if !r.v2 {
			root = filepath.Join(root, f[1])
		}
		return os.WriteFile(filepath.Join(root, strings.TrimSuffix(f[2], "/"+innerCgroup), item), []byte(value), 0)
	}
	return fmt.Errorf("no cgroup for %s", item)
}

// Freeze stops the processes of a container until Thaw.
func (r *Runner) Freeze(name string) error { return command("lxc-freeze", "-P", r.dir, "-n", name) }

// Thaw lets the processes of a container go on.
func (r *Runner) Thaw(name string) error { return command("lxc-unfreeze", "-P", r.dir, "-n", name) }

// PlugMount mounts a directory of the machine in a running container, at a
// directory that is made if it is not there.
func (r *Runner) PlugMount(run *Run, m Mount) error {
	tree, err := m.tree()
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	return run.inside(func() error {
		if err := makeInside(m.Target, true); err != nil {
			return err
		}
		return unix.MoveMount(tree, "", unix.AT_FDCWD, m.Target, unix.MOVE_MOUNT_F_EMPTY_PATH)
	})
}

// PlugDevice lets a running container use a device.
func (r *Runner) PlugDevice(name string, run *Run, d Device, firstUID, firstGID int) error {
	at := filepath.Join(r.DeviceDir(name), d.Target)
	if err := os.MkdirAll(filepath.Dir(at), 0o711); err != nil {
		return err
	}
	if err := d.make(at, firstUID, firstGID); err != nil {
		return err
	}
	if !r.v2 { // what is not allowed above cannot be allowed below
		if err := r.setCgroup(run, "devices.allow", d.rule()); err != nil {
			return err
		}
	}
	if err := command("lxc-cgroup", "-P", r.dir, "-n", name, "devices.allow", d.rule()); err != nil {
		return err
	}
	m := Mount{Source: at, Options: "bind" + readOnly(d.ReadOnly)}
	tree, err := m.tree()
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	return run.inside(func() error {
		if err := makeInside(path.Dir(d.Target), true); err != nil {
			return err
		}
		if err := makeInside(d.Target, false); err != nil {
			return err
		}
		return unix.MoveMount(tree, "", unix.AT_FDCWD, d.Target, unix.MOVE_MOUNT_F_EMPTY_PATH)
	})
}

// inside calls f where the container's file systems are those of the process.
func (run *Run) inside(f func() error) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", run.PID))
	if err != nil {
		return err
	}
	defer ns.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with f
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// makeInside makes a directory or file of the container's root.
func makeInside(name string, isDir bool) error {
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	if parent := path.Dir(name); parent != name {
		if err := makeInside(parent, true); err != nil {
			return err
		}
	}
	make := func() error { return os.Mkdir(name, 0o755) }
	if !isDir {
		make = func() error {
			f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
			if err != nil {
				return err
			}
			return f.Close()
		}
	}
	var root unix.Stat_t
	if err := unix.Lstat("/", &root); err != nil {
		return err
	}
	err := make()
	if errors.Is(err, unix.EOVERFLOW) { // a file system of the container's, which does not know ids of the machine
		err = errors.Join(unix.Setfsgid(int(root.Gid)), unix.Setfsuid(int(root.Uid)), make(), unix.Setfsuid(0), unix.Setfsgid(0))
	}
	if err != nil {
		return err
	}
	return os.Lchown(name, int(root.Uid), int(root.Gid))
}

// tree returns a copy of what is mounted at the source, with the mount's ids and
// read-only if it is to be so, that is not mounted anywhere yet. The caller closes
// it.
func (m Mount) tree() (int, error) {
	tree, err := unix.OpenTree(unix.AT_FDCWD, m.Source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("mount %s: %w", m.Source, err)
	}
	attr := unix.MountAttr{}
	if m.readOnly() {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	var ns *os.File
	if m.mapped() {
		if ns, err = userNamespace(m.UIDs, m.GIDs); err != nil {
			return 0, errors.Join(err, unix.Close(tree))
		}
		defer ns.Close()
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(ns.Fd())
	}
	if attr.Attr_set == 0 {
		return tree, nil
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return 0, errors.Join(fmt.Errorf("mount %s with other ids or read-only: %w", m.Source, err), unix.Close(tree))
	}
	return tree, nil
}

// userNamespace returns a user namespace with a map of ids.
func userNamespace(uids, gids []IDRange) (*os.File, error) {
	ranges := func(all []IDRange) []syscall.SysProcIDMap {
		var out []syscall.SysProcIDMap
		for _, r := range all {
			out = append(out, syscall.SysProcIDMap{ContainerID: r.Disk, HostID: r.Shown, Size: r.Size})
		}
		return out
	}
	cmd := exec.Command("cat") // ends with its input
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ranges(uids), GidMappings: ranges(gids), GidMappingsEnableSetgroups: true,
	}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	return ns, errors.Join(err, in.Close(), ignoreExit(cmd.Wait()))
}

// ignoreExit drops an exit status.
func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// mapMounts mounts those of a container whose ids are mapped on the machine, with
// their ids, and has the container take them from there.
func (r *Runner) mapMounts(home string, c *Container) error {
	dir := filepath.Join(home, "mapped")
	for i := range c.Mounts {
		m := &c.Mounts[i]
		if !m.mapped() {
			continue
		}
		at := filepath.Join(dir, strconv.Itoa(i))
		if err := os.MkdirAll(at, 0o711); err != nil {
			return err
		}
		for unix.Unmount(at, unix.MNT_DETACH) == nil { // of the run before
		}
		tree, err := m.tree()
		if err != nil {
			return err
		}
		err = unix.MoveMount(tree, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH)
		if err = errors.Join(err, unix.Close(tree)); err != nil {
			return fmt.Errorf("mount %s: %w", m.Source, err)
		}
		m.Source = at
	}
	return nil
}

// unmapMounts ends what mapMounts began; the container has ended.
func (r *Runner) unmapMounts(name string) {
	all, _ := filepath.Glob(filepath.Join(r.dir, name, "mapped", "*")) // of a fixed form
	for _, at := range all {
		_ = unix.Unmount(at, unix.MNT_DETACH) // none is mounted there by now
	}
}

// OpenInside opens a file of a running container; links lead as they do in it.
func (run *Run) OpenInside(name string, flags int, perm uint32) (*os.File, error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", run.PID), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(root)
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC | unix.O_NONBLOCK), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	if flags&unix.O_CREAT != 0 {
		how.Mode = uint64(perm)
	}
	fd, err := unix.Openat2(root, strings.TrimPrefix(path.Clean("/"+name), "/"), &how)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// ReadInside reads a file of a running container.
func (run *Run) ReadInside(name string) ([]byte, error) {
	f, err := run.OpenInside(name, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}

// WriteInside writes a file of a running container, which then belongs to ids of
// the machine.
func (run *Run) WriteInside(name string, data []byte, uid, gid int, perm uint32) error {
	f, err := run.OpenInside(name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, unix.Fchown(int(f.Fd()), uid, gid), unix.Fchmod(int(f.Fd()), perm))
	return errors.Join(err, f.Close())
}
