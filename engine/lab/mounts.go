package lab

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// bind mounts the directory source at target, both paths of the node, as mount
// --bind does. The model makes target a symbolic link, so what is below source
// shows at both. The caller calls n.save.
func (n *node) bind(source, target string) error {
	from, err := n.resolve(source, true)
	if err != nil {
		return err
	}
	to, err := n.resolve(target, false)
	if err != nil {
		return err
	}
	here := n.host(to)
	if err := os.MkdirAll(filepath.Dir(here), 0o755); err != nil {
		return renamed(err, "mount", target)
	}
	if n.lxc != nil {
		if err := kernelBind(n.host(from), here); err != nil {
			return renamed(err, "mount", target)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		n.state.Mounts.put(to, from)
		return nil
	}
	if err := os.Remove(here); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return renamed(err, "mount", target)
	}
	rel, err := filepath.Rel(path.Dir(to), from)
	if err != nil {
		return err
	}
	if err := n.symlink(rel, to); err != nil {
		return renamed(err, "mount", target)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state.Mounts.put(to, from)
	return nil
}

// unbind ends what bind began; false means that nothing is bound at target.
func (n *node) unbind(target string) (bool, error) {
	to, err := n.resolve(target, false)
	if err != nil {
		return false, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.state.Mounts.has(to) {
		return false, nil
	}
	n.state.Mounts.drop(to)
	here := n.host(to)
	if n.lxc != nil {
		return true, kernelUnbind(here)
	}
	return true, errors.Join(os.Remove(here), os.Mkdir(here, 0o755))
}

// bound reports whether something is bound at target.
func (n *node) bound(target string) bool {
	to, err := n.resolve(target, false)
	if err != nil {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state.Mounts.has(to)
}

// shownAt returns the path real, which the path asked leads to, as it is seen where
// asked goes through a bind mount: there a mount is no link.
func (n *node) shownAt(asked, real string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for at, from := range n.state.Mounts.all() {
		if within(asked, at) && within(real, from) {
			return path.Join(at, real[len(from):])
		}
	}
	return real
}

// setHolds notes that holder ("CT 101") keeps the directories paths of the node
// in use, in place of those that it kept before: a file system that one of them
// lies on is busy. None ends it. The caller calls n.save.
func (n *node) setHolds(holder string, paths ...string) {
	var real []string
	for _, p := range paths {
		if to, err := n.resolve(p, true); err == nil {
			real = append(real, to)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(real) == 0 {
		n.state.Holds.drop(holder)
		return
	}
	n.state.Holds.put(holder, real)
}

// held reports whether a mount, a holder or a program uses a directory of the
// file system d. The caller holds n.mu.
func (n *node) held(d *dataset) bool {
	return n.mountedTwice(d) || n.pids.inside(n.lieOn(d))
}

// mountedTwice reports whether the file system d shows at a second place: below
// /var/lib/lxc, or in a container. The caller holds n.mu.
func (n *node) mountedTwice(d *dataset) bool {
	on := n.lieOn(d)
	for _, from := range n.state.Mounts.all() {
		if on(from) {
			return true
		}
	}
	for _, paths := range n.state.Holds.all() {
		if slices.ContainsFunc(paths, on) {
			return true
		}
	}
	return false
}

// lieOn tells of paths whether they lie on the file system d. The caller holds
// n.mu.
func (n *node) lieOn(d *dataset) func(at string) bool {
	return func(at string) bool { return within(at, d.Where) && n.state.ZFS.holding(at) == d }
}
