package lab

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// mountsPath is a file that the kernel makes up when it is read (proc(5)).
const mountsPath = "/proc/mounts"

// A mounted file system is one line of it.
type mounted struct{ device, at, kind, options string }

// mountTable returns what is mounted on the node, by where.
func (n *node) mountTable() []mounted {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := []mounted{
		{"/dev/mapper/pve-root", "/", "ext4", "rw,relatime"}, {"proc", "/proc", "proc", "rw,relatime"},
		{"sysfs", "/sys", "sysfs", "rw,relatime"}, {"tmpfs", "/run", "tmpfs", "rw,relatime"},
		{"/dev/fuse", "/etc/pve", "fuse", "rw,relatime"},
	}
	for _, d := range n.state.ZFS.Datasets.all() {
		if d.Mounted {
			all = append(all, n.state.ZFS.mountLine(d, d.Where))
		}
	}
	for at, from := range n.state.Mounts.all() {
		if d := n.state.ZFS.holding(from); d != nil {
			all = append(all, n.state.ZFS.mountLine(d, at))
			continue
		}
		all = append(all, mounted{"/dev/mapper/pve-root", at, "ext4", "rw,relatime"})
	}
	slices.SortFunc(all, func(a, b mounted) int { return strings.Compare(a.at, b.at) })
	return all
}

// mountLine is the line of a file system at one of the places where it shows. The
// caller holds the node's mu.
func (z *zfsState) mountLine(d *dataset, at string) mounted {
	options := "rw,relatime,xattr,noacl,casesensitive"
	if z.inherits(d.Name, "atime") == "off" {
		options = strings.Replace(options, "relatime", "noatime", 1)
	}
	if strings.HasPrefix(z.inherits(d.Name, "acltype"), "posix") {
		options = strings.Replace(options, "noacl", "posixacl", 1)
	}
	return mounted{d.Name, at, "zfs", options}
}

func (n *node) procMounts() []byte {
	var b bytes.Buffer
	blanks := strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`)
	for _, m := range n.mountTable() {
		fmt.Fprintf(&b, "%s %s %s %s 0 0\n", blanks.Replace(m.device), blanks.Replace(m.at), m.kind, m.options)
	}
	return b.Bytes()
}

// mountOf returns where the file system of a path, whose links are resolved, is
// mounted.
func (n *node) mountOf(at string) string {
	best := "/"
	for _, m := range n.mountTable() {
		if within(at, m.at) && len(m.at) > len(best) {
			best = m.at
		}
	}
	return best
}

// madeUp brings a file that is made up when it is read up to date.
func (n *node) madeUp(to string) error {
	switch to {
	case vmlistPath:
		return n.writeVMList()
	case mountsPath:
		return replaceFile(n.host(mountsPath), n.procMounts(), 0o444)
	}
	return nil
}
