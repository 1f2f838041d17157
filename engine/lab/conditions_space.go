package lab

import (
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// dirSize is the room that a directory takes.
const dirSize = 512

// mayChange refuses to change a file of the node, whose links are resolved: with
// EROFS where it is read-only, with EACCES in the cluster file system of a node
// without quorum (pmxcfs takes the permission to write away).
func (n *node) mayChange(at string) error {
	for _, c := range n.troubles.all() {
		switch {
		case c.Kind == NoQuorum && inPmxcfs(at):
			return syscall.EACCES
		case c.Kind == ReadOnly && n.covers(c.Area, at):
			return syscall.EROFS
		}
	}
	return nil
}

// fill takes room for bytes of a file and returns for how many there is; if that
// is less, the error says why.
func (n *node) fill(at string, bytes int) (int, error) {
	if !n.troubles.any() {
		return bytes, nil
	}
	if err := n.mayChange(at); err != nil {
		return 0, err
	}
	got := int64(bytes)
	full := slices.DeleteFunc(n.troubles.all(), func(c Condition) bool { return c.Kind != DiskFull || !n.covers(c.Area, at) })
	if len(full) == 0 {
		return bytes, nil
	}
	covered := func(c Condition) bool { return slices.ContainsFunc(full, c.same) }
	err := n.troubles.change(func(list []Condition) []Condition {
		for _, c := range list {
			if covered(c) {
				got = min(got, c.Free)
			}
		}
		for i, c := range list {
			if covered(c) {
				list[i].Free -= got
			}
		}
		return list
	})
	if err == nil && got < int64(bytes) {
		err = syscall.ENOSPC
	}
	return int(got), err
}

// room returns how many bytes a directory of the node has left; false if that
// does not matter.
func (n *node) room(at string) (int64, bool) {
	left, limited := int64(0), false
	for _, c := range n.troubles.all() {
		if c.Kind == DiskFull && n.covers(c.Area, at) && (!limited || c.Free < left) {
			left, limited = c.Free, true
		}
	}
	return left, limited
}

// covers reports whether a file lies in an area.
func (n *node) covers(a area, at string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	on := n.state.ZFS.nameHolding(at)
	if a.Dataset != "" {
		return within(on, a.Dataset) && on != ""
	}
	return within(at, a.Dir) && on == n.state.ZFS.nameHolding(a.Dir)
}

// nameHolding returns the name of the file system that a path lies on, "" if none
// of ZFS. The caller holds the node's mu.
func (z *zfsState) nameHolding(at string) string {
	if d := z.holding(at); d != nil {
		return d.Name
	}
	return ""
}

// mayMake refuses to make or change a dataset as libzfs words it (zfs_standard_error
// in libzfs_util.c). doing is "create", "destroy" or such.
func (n *node) mayMake(doing, name string) error {
	for _, c := range n.troubles.all() {
		switch {
		case c.Area.Dataset == "" || !within(name, c.Area.Dataset):
		case c.Kind == ReadOnly:
			return zfsErrorf("cannot %s '%s': pool is read-only", doing, name)
		case c.Kind == DiskFull && doing == "create" && c.Free == 0:
			return zfsErrorf("cannot create '%s': out of space", name)
		}
	}
	return nil
}

// create opens a file of the node to write it, making it if there is none. The
// caller must close it.
func (n *node) create(name string, flag int, perm fs.FileMode) (*written, error) {
	f, err := n.open(name, os.O_WRONLY|os.O_CREATE|flag, perm)
	if err != nil {
		return nil, err
	}
	return n.written(f, name), nil
}

// A written is a file of the node that is being written, for which the node must
// have room.
type written struct {
	*os.File
	node     *node
	name, at string // as the program names it, and where it lies
}

func (n *node) written(f *os.File, name string) *written {
	at, err := n.resolve(name, true)
	if err != nil || n.deviceAt(at) {
		at = "" // it needs no room
	}
	return &written{f, n, name, at}
}

// Write writes what there is room for.
func (w *written) Write(b []byte) (int, error) {
	if w.at == "" {
		return w.File.Write(b)
	}
	got, full := w.node.fill(w.at, len(b))
	n, err := w.File.Write(b[:got])
	if err == nil && full != nil {
		err = &fs.PathError{Op: "write", Path: w.name, Err: full}
	}
	return n, err
}

// WriteString is Write, not that of the file.
func (w *written) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// ReadFrom copies by way of Write.
func (w *written) ReadFrom(r io.Reader) (int64, error) { return pour(struct{ io.Writer }{w}, r) }

// treeSize returns the bytes of all files below a directory of the lab's machine.
func treeSize(dir string) int {
	return int(count(dir, nil).bytes)
}
