package lab

import (
	"io/fs"
	"slices"
	"strings"
)

// An owner is who a file belongs to and its permission bits. Those of files and
// directories are noted where they differ from root's, since the lab does not run
// as root; where containers run for real it does, and files have their owners.
type owner struct {
	UID  int         `json:"uid"`
	GID  int         `json:"gid"`
	Mode fs.FileMode `json:"mode"` // permission bits, setuid, setgid and sticky as the C library counts them
}

// An ownerTable is a table by path that finds what lies below a directory without
// looking at all.
type ownerTable struct {
	table[string, owner]
	paths []string // the keys, in order
}

func (t *ownerTable) put(name string, o owner) {
	if i, ok := slices.BinarySearch(t.paths, name); !ok {
		t.paths = slices.Insert(t.paths, i, name)
	}
	t.table.put(name, o)
}

func (t *ownerTable) drop(name string) {
	if i, ok := slices.BinarySearch(t.paths, name); ok {
		t.paths = slices.Delete(t.paths, i, i+1)
	}
	t.table.drop(name)
}

// within returns the paths that are dir or lie below it.
func (t *ownerTable) within(dir string) []string {
	var out []string
	if t.has(dir) {
		out = append(out, dir)
	}
	below := strings.TrimSuffix(dir, "/") + "/"
	from, _ := slices.BinarySearch(t.paths, below)
	for _, name := range t.paths[from:] {
		if !strings.HasPrefix(name, below) {
			break
		}
		if name != dir {
			out = append(out, name)
		}
	}
	return out
}

func (t *ownerTable) apply(p patch[string, owner]) {
	for name, o := range p {
		if o == nil {
			t.drop(name)
		} else {
			t.put(name, *o)
		}
	}
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *ownerTable) UnmarshalJSON(data []byte) error {
	err := t.table.UnmarshalJSON(data)
	t.paths = t.keys()
	return err
}

// owner returns who a file of the node belongs to and its mode bits. name is
// absolute, its links already resolved.
func (n *node) owner(name string, fi fs.FileInfo) owner {
	if inPmxcfs(name) {
		return pmxcfsOwner(name, fi)
	}
	if n.lxc != nil {
		return n.kernelOwner(fi)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state.Owners.has(name) {
		return n.state.Owners.get(name)
	}
	return owner{Mode: defaultMode(fi)}
}

// defaultMode is what a file has for which nothing else is noted.
func defaultMode(fi fs.FileInfo) fs.FileMode {
	switch {
	case fi.Mode()&fs.ModeSymlink != 0:
		return 0o777
	case fi.IsDir():
		return 0o755
	case fi.Mode()&0o111 != 0:
		return 0o755
	}
	return 0o644
}

// setOwner notes an owner and mode; name is as in owner.
func (n *node) setOwner(name string, o owner) {
	if n.lxc != nil {
		n.setKernelOwner(name, o)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state.Owners.put(name, o)
}

// noteMode notes the mode of a file of root's just made.
func (n *node) noteMode(name string, perm fs.FileMode) {
	if inPmxcfs(name) {
		return
	}
	if n.lxc != nil {
		n.setKernelMode(name, perm)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state.Owners.has(name) || perm&0o7777 != 0o644 {
		o := n.state.Owners.get(name)
		o.Mode = perm & 0o7777
		n.state.Owners.put(name, o)
	}
}

// forgetOwners drops what is noted of name and all below it.
func (n *node) forgetOwners(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forgetLocked(name)
}

func (n *node) forgetLocked(name string) {
	for _, k := range n.state.Owners.within(name) {
		n.state.Owners.drop(k)
	}
}

// moveOwners moves what is noted of from and all below it to to.
func (n *node) moveOwners(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.moveLocked(from, to)
}

// moveLocked is moveOwners for a caller that holds n.mu.
func (n *node) moveLocked(from, to string) {
	moved := map[string]owner{}
	for _, k := range n.state.Owners.within(from) {
		moved[to+strings.TrimPrefix(k, from)] = n.state.Owners.get(k)
		n.state.Owners.drop(k)
	}
	n.forgetLocked(to)
	for k, o := range moved {
		n.state.Owners.put(k, o)
	}
}

// within reports whether name is dir or lies below it.
func within(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}

// wwwData is the group that pmxcfs gives all its files.
const wwwData = 33

// inPmxcfs reports whether an absolute path lies in the cluster file system.
func inPmxcfs(name string) bool { return within(name, "/etc/pve") }

// pmxcfsOwner returns what pmxcfs shows: root:www-data, 0640 and 0755, and root
// alone below priv (pmxcfs.c).
func pmxcfsOwner(name string, fi fs.FileInfo) owner {
	private := within(name, "/etc/pve/priv") || name == "/etc/pve/authkey.pub.old"
	switch {
	case fi.Mode()&fs.ModeSymlink != 0:
		return owner{GID: wwwData, Mode: 0o755}
	case fi.IsDir() && private:
		return owner{GID: wwwData, Mode: 0o700}
	case fi.IsDir():
		return owner{GID: wwwData, Mode: 0o755}
	case private:
		return owner{GID: wwwData, Mode: 0o600}
	}
	return owner{GID: wwwData, Mode: 0o640}
}
