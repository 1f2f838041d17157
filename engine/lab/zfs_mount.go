package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A mounted file system is a directory of the node at its mountpoint. While it
// is not mounted its files lie in dir/zfs, and what it covers lies in
// dir/covered while it is.

// storeDir returns where the files of an unmounted dataset lie; a snapshot's
// are always there.
func (n *node) storeDir(name string) string { return n.aside("zfs", name) }

func (n *node) aside(kind, name string) string {
	return filepath.Join(n.dir, kind, strings.ReplaceAll(strings.ReplaceAll(name, "%", "%25"), "/", "%2F"))
}

// mountpoint returns the mountpoint property: "none", "legacy" or a path. The
// caller holds the node's mu.
func (z *zfsState) mountpoint(name string) string {
	for at := filesystemOf(name); at != ""; at = parentDataset(at) {
		d := z.Datasets.get(at)
		if d == nil {
			break
		}
		v, ok := d.Props["mountpoint"]
		if !ok {
			continue
		}
		if v == "none" || v == "legacy" {
			return v
		}
		return path.Join(v, strings.TrimPrefix(filesystemOf(name), at))
	}
	return "/" + filesystemOf(name)
}

// mountFS mounts a file system; one without a mountpoint is left alone. The
// caller holds n.mu.
func (n *node) mountFS(name string) error {
	z := &n.state.ZFS
	d := z.Datasets.get(name)
	at := z.mountpoint(name)
	if !path.IsAbs(at) || d.snapshot() {
		return nil
	}
	to, err := n.resolve(at, true)
	if err != nil {
		return zfsErrorf("cannot mount '%s': %v", name, err)
	}
	if err := n.cover(name, to); err != nil {
		return fmt.Errorf("mount %q: %w", name, err)
	}
	z.mounted(name, to)
	return nil
}

// cover puts the files of a dataset in place of the directory at.
func (n *node) cover(name, at string) error {
	defer n.plain.forget()
	here := n.host(at)
	if err := os.MkdirAll(here, 0o755); err != nil {
		return err
	}
	covered := n.aside("covered", name)
	if err := os.MkdirAll(filepath.Dir(covered), 0o700); err != nil {
		return err
	}
	if err := os.Rename(here, covered); err != nil {
		return err
	}
	err := os.Rename(n.storeDir(name), here)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.Mkdir(here, 0o755)
	}
	n.ownersAside(at, "covered", name)
	n.ownersBack("zfs", name, at)
	return err
}

// unmountFS unmounts a file system; one that is not mounted is left alone. The
// caller holds n.mu.
func (n *node) unmountFS(name string) error {
	d := n.state.ZFS.Datasets.get(name)
	if !d.Mounted {
		return nil
	}
	if n.busyMount(d) {
		return zfsErrorf("cannot unmount '%s': pool or dataset is busy", d.Where)
	}
	store := n.storeDir(name)
	if err := os.MkdirAll(filepath.Dir(store), 0o700); err != nil {
		return err
	}
	defer n.plain.forget()
	here := n.host(d.Where)
	if err := os.Rename(here, store); err != nil {
		return fmt.Errorf("unmount %q: %w", name, err)
	}
	err := os.Rename(n.aside("covered", name), here)
	n.ownersAside(d.Where, "zfs", name)
	n.ownersBack("covered", name, d.Where)
	n.state.ZFS.unmounted(name)
	return err
}

// unmountTree unmounts those of the file systems that are mounted, children
// first as names has them, and returns them; if one is busy all are as before.
func (n *node) unmountTree(names []string) ([]string, error) {
	var done []string
	for _, name := range childrenFirst(names) {
		if !n.state.ZFS.Datasets.get(name).Mounted {
			continue
		}
		if err := n.unmountFS(name); err != nil {
			for i := len(done) - 1; i >= 0; i-- {
				err = errors.Join(err, n.mountFS(done[i]))
			}
			return nil, err
		}
		done = append(done, name)
	}
	return done, nil
}

// busyMount reports whether a running container, a mount below or a worker that
// died keeps a file system from being unmounted.
func (n *node) busyMount(d *dataset) bool {
	for _, other := range n.state.ZFS.Datasets.all() {
		if other.Mounted && other != d && within(other.Where, d.Where) {
			return true
		}
	}
	return n.held(d)
}

// holding returns the file system that the path at lies on, nil if none.
func (z *zfsState) holding(at string) *dataset {
	for {
		if d := z.mountedAt(at); d != nil || at == path.Dir(at) {
			return d
		}
		at = path.Dir(at)
	}
}

// mountedAt returns the file system that is mounted at a directory, nil if none.
func (z *zfsState) mountedAt(dir string) *dataset {
	if all := z.mounts[dir]; len(all) > 0 {
		return all[len(all)-1]
	}
	return nil
}

// mounted notes that a file system is mounted at a directory.
func (z *zfsState) mounted(name, dir string) {
	d := z.Datasets.edit(name)
	d.Mounted, d.Where = true, dir
	z.index(d)
}

func (z *zfsState) index(d *dataset) {
	if z.mounts == nil {
		z.mounts = map[string][]*dataset{}
	}
	z.mounts[d.Where] = append(z.mounts[d.Where], d)
}

// indexMounts fills mounts from the datasets.
func (z *zfsState) indexMounts() {
	for _, d := range z.Datasets.all() {
		if d.Mounted {
			z.index(d)
		}
	}
}

// unmounted notes that a file system is mounted no longer.
func (z *zfsState) unmounted(name string) {
	d := z.Datasets.edit(name)
	left := slices.DeleteFunc(z.mounts[d.Where], func(o *dataset) bool { return o == d })
	if z.mounts[d.Where] = left; len(left) == 0 {
		delete(z.mounts, d.Where)
	}
	d.Mounted, d.Where = false, ""
}

// dropFiles removes the files of a dataset that is not mounted.
func (n *node) dropFiles(name string) error {
	n.forgetLocked(asideKey("zfs", name))
	return os.RemoveAll(n.storeDir(name))
}

// moveFiles moves the files of a dataset that is not mounted.
func (n *node) moveFiles(from, to string) error {
	n.moveLocked(asideKey("zfs", from), asideKey("zfs", to))
	err := os.Rename(n.storeDir(from), n.storeDir(to))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Owners of files that are out of sight are noted below a key that is no path.
func asideKey(kind, name string) string { return kind + ":" + name }

func (n *node) ownersAside(at, kind, name string) { n.moveLocked(at, asideKey(kind, name)) }
func (n *node) ownersBack(kind, name, at string)  { n.moveLocked(asideKey(kind, name), at) }
