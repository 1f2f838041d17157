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
type mounted struct{ device, at, kind string }

// mountTable returns what is mounted on the node, by where.
func (n *node) mountTable() []mounted {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := []mounted{
		{"/dev/mapper/pve-root", "/", "ext4"}, {"proc", "/proc", "proc"}, {"sysfs", "/sys", "sysfs"},
		{"tmpfs", "/run", "tmpfs"}, {"/dev/fuse", "/etc/pve", "fuse"},
	}
	for _, d := range n.state.ZFS.Datasets {
		if d.Mounted {
			all = append(all, mounted{d.Name, d.Where, "zfs"})
		}
	}
	for at := range n.state.Mounts {
		all = append(all, mounted{"/dev/mapper/pve-root", at, "ext4"})
	}
	slices.SortFunc(all, func(a, b mounted) int { return strings.Compare(a.at, b.at) })
	return all
}

func (n *node) procMounts() []byte {
	var b bytes.Buffer
	blanks := strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`)
	for _, m := range n.mountTable() {
		fmt.Fprintf(&b, "%s %s %s rw,relatime 0 0\n", blanks.Replace(m.device), blanks.Replace(m.at), m.kind)
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
