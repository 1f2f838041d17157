package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func zfsSnapshot(p *proc) int {
	o, names, ok := p.zfsOptions("r o:")
	if !ok {
		return 2
	}
	const usage = "usage:\n\tsnapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ...\n"
	if len(names) == 0 {
		return p.failf(2, "missing snapshot argument\n%s", usage)
	}
	props, msg := assignments(o["o"])
	if msg != "" {
		return p.failf(1, "%s", msg)
	}
	defer p.node.save()
	for _, name := range names {
		fsys, snap, ok := strings.Cut(name, "@")
		if !ok || snap == "" {
			return p.failf(1, "cannot create snapshot '%s': empty component or misplaced '@' or '#' delimiter in name", name)
		}
		if _, ok := p.node.dataset(fsys); !ok {
			return p.failf(2, "cannot open '%s': dataset does not exist\n%s", fsys, usage)
		}
		for _, f := range p.node.filesystems(fsys, o.has("r")) {
			if err := p.node.snapshot(f+"@"+snap, props); err != nil {
				return p.zfsFail(err)
			}
		}
	}
	return 0
}

// filesystems returns a file system and, if recursive, those below it.
func (n *node) filesystems(name string, recursive bool) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for _, k := range n.state.ZFS.Datasets.keys() {
		if !strings.Contains(k, "@") && (k == name || recursive && within(k, name)) {
			out = append(out, k)
		}
	}
	return out
}

// snapshot copies the files of a file system aside; what is mounted below it is
// copied too, and comes back only with it.
func (n *node) snapshot(name string, props map[string]string) error {
	clean, err := checkProps(props)
	if err != nil {
		return zfsErrorf("cannot create snapshot '%s': %v", name, err)
	}
	defer n.freezeUsers(filesystemOf(name))()
	n.mu.Lock()
	defer n.mu.Unlock()
	z := &n.state.ZFS
	if z.Datasets.has(name) {
		return zfsErrorf("cannot create snapshot '%s': dataset already exists", name)
	}
	if err := n.copyTree(n.storeDir(name), n.filesDir(filesystemOf(name))); err != nil {
		return fmt.Errorf("snapshot %q: %w", name, err)
	}
	n.copyOwners(n.ownersKey(filesystemOf(name)), asideKey("zfs", name))
	z.Datasets.put(name, z.born(name, clean))
	return nil
}

// ownersKey returns below which key the owners of a file system's files are noted
// now.
func (n *node) ownersKey(name string) string {
	if d := n.state.ZFS.Datasets.get(name); d.Mounted {
		return d.Where
	}
	return asideKey("zfs", name)
}

// copyOwners notes for to and all below it what is noted for from. Of another file
// system that is mounted below from nothing is lost, as it comes back with it.
func (n *node) copyOwners(from, to string) {
	n.forgetLocked(to)
	for _, k := range n.state.Owners.within(from) {
		n.state.Owners.put(to+strings.TrimPrefix(k, from), n.state.Owners.get(k))
	}
}

// freezeUsers keeps the containers that use a file system from changing it, until
// thaw is called: unlike ZFS, the lab copies it file by file.
func (n *node) freezeUsers(name string) (thaw func()) {
	var thaws []func()
	for _, id := range n.users(name) {
		thaws = append(thaws, n.driver.freeze(id))
	}
	return func() {
		for _, thaw := range thaws {
			thaw()
		}
	}
}

// users returns the running containers that have a directory of a file system.
func (n *node) users(name string) []int {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.state.ZFS.Datasets.get(name)
	if d == nil || !d.Mounted {
		return nil
	}
	on := n.lieOn(d)
	var ids []int
	for id := range n.state.Guests.all() {
		if slices.ContainsFunc(n.state.Holds.get(guestHolder(id)), on) {
			ids = append(ids, id)
		}
	}
	return ids
}

// filesDir returns where the files of a file system lie now.
func (n *node) filesDir(name string) string {
	if d := n.state.ZFS.Datasets.get(name); d.Mounted {
		return n.host(d.Where)
	}
	return n.storeDir(name)
}

func (n *node) copyTree(to, from string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if _, err := os.Stat(from); err == nil && n.lxc != nil {
		return copyFiles(to, from)
	}
	err := os.CopyFS(to, os.DirFS(from))
	if errors.Is(err, fs.ErrNotExist) { // never mounted: no files yet
		return nil
	}
	return err
}

func zfsRollback(p *proc) int {
	o, names, ok := p.zfsOptions("r R f")
	if !ok {
		return 2
	}
	if len(names) != 1 {
		return p.failf(2, "missing dataset argument\nusage:\n\trollback [-rRf] <snapshot>")
	}
	if err := p.node.rollback(names[0], o.has("r") || o.has("R")); err != nil {
		return p.zfsFail(err)
	}
	p.node.save()
	return 0
}

func (n *node) rollback(name string, force bool) error {
	defer n.plain.forget()
	defer n.freezeUsers(filesystemOf(name))()
	n.mu.Lock()
	defer n.mu.Unlock()
	z := &n.state.ZFS
	d := z.Datasets.get(name)
	if d == nil || !d.snapshot() {
		return zfsErrorf("cannot open '%s': dataset does not exist", name)
	}
	fsys := filesystemOf(name)
	var newer []string
	for _, k := range z.below(fsys) {
		if o := z.Datasets.get(k); filesystemOf(k) == fsys && o.TXG > d.TXG {
			newer = append(newer, k)
		}
	}
	if len(newer) > 0 && !force {
		return zfsErrorf("cannot rollback to '%s': more recent snapshots or bookmarks exist\n"+
			"use '-r' to force deletion of the following snapshots and bookmarks:\n%s", name, strings.Join(newer, "\n"))
	}
	for _, k := range newer {
		z.Datasets.drop(k)
		if err := n.dropFiles(k); err != nil {
			return err
		}
	}
	dir := n.filesDir(fsys)
	if err := removeOthers(dir, n.storeDir(name)); err != nil {
		return err
	}
	n.copyOwners(asideKey("zfs", name), n.ownersKey(fsys))
	return n.copyTree(dir, n.storeDir(name))
}

// removeOthers removes from dir all but the directories that kept has too: who
// uses one of these goes on using it.
func removeOthers(dir, kept string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		at, was := filepath.Join(dir, e.Name()), filepath.Join(kept, e.Name())
		remove := os.RemoveAll
		if fi, err := os.Lstat(was); e.IsDir() && err == nil && fi.IsDir() {
			remove = func(at string) error { return removeOthers(at, was) }
		}
		if err := remove(at); err != nil {
			return err
		}
	}
	return nil
}

// snapshotDataset makes one snapshot ("tank/a@s1"). Errors are *zfsError with the
// text of zfs. The caller calls n.save.
func (n *node) snapshotDataset(name string) error { return n.snapshot(name, nil) }

// rollbackDataset takes a file system back to its newest snapshot, which name
// must be. Errors are *zfsError with the text of zfs. The caller calls n.save.
func (n *node) rollbackDataset(name string) error { return n.rollback(name, false) }
