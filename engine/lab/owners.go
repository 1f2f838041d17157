package lab

import (
	"io/fs"
	"strings"
)

// owner returns who a file of the node belongs to and its mode bits. name is
// absolute, its links already resolved.
func (n *node) owner(name string, fi fs.FileInfo) owner {
	if inPmxcfs(name) {
		return pmxcfsOwner(name, fi)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if o, ok := n.state.Owners[name]; ok {
		return o
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
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state.Owners[name] = o
}

// noteMode notes the mode of a file of root's just made.
func (n *node) noteMode(name string, perm fs.FileMode) {
	if inPmxcfs(name) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.state.Owners[name]; ok || perm&0o7777 != 0o644 {
		o := n.state.Owners[name]
		o.Mode = perm & 0o7777
		n.state.Owners[name] = o
	}
}

// forgetOwners drops what is noted of name and all below it.
func (n *node) forgetOwners(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forgetLocked(name)
}

func (n *node) forgetLocked(name string) {
	for k := range n.state.Owners {
		if within(k, name) {
			delete(n.state.Owners, k)
		}
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
	for k, o := range n.state.Owners {
		if within(k, to) {
			delete(n.state.Owners, k)
		}
		if within(k, from) {
			delete(n.state.Owners, k)
			moved[to+strings.TrimPrefix(k, from)] = o
		}
	}
	for k, o := range moved {
		n.state.Owners[k] = o
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
