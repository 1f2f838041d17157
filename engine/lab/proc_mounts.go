package lab

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// mountTable returns what is mounted on the node, by where.
func (n *node) mountTable() []pve.Mounted {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := []pve.Mounted{
		onRoot("/"),
		{Device: "proc", At: "/proc", Kind: "proc", Options: "rw,relatime"},
		{Device: "sysfs", At: "/sys", Kind: "sysfs", Options: "rw,relatime"},
		{Device: "tmpfs", At: "/run", Kind: "tmpfs", Options: "rw,relatime"},
		{Device: "/dev/fuse", At: "/etc/pve", Kind: "fuse", Options: "rw,relatime"},
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
		all = append(all, onRoot(at))
	}
	slices.SortFunc(all, func(a, b pve.Mounted) int { return strings.Compare(a.At, b.At) })
	return all
}

// onRoot is the file system of the node's root, at one of the places where it shows.
func onRoot(at string) pve.Mounted {
	return pve.Mounted{Device: "/dev/mapper/pve-root", At: at, Kind: "ext4", Options: "rw,relatime"}
}

// mountLine is the line of a file system at one of the places where it shows. The
// caller holds the node's mu.
func (z *zfsState) mountLine(d *dataset, at string) pve.Mounted {
	options := "rw,relatime,xattr,noacl,casesensitive"
	if z.inherits(d.Name, "atime") == "off" {
		options = strings.Replace(options, "relatime", "noatime", 1)
	}
	if strings.HasPrefix(z.inherits(d.Name, "acltype"), "posix") {
		options = strings.Replace(options, "noacl", "posixacl", 1)
	}
	return pve.Mounted{Device: d.Name, At: at, Kind: "zfs", Options: options}
}

func (n *node) procMounts() []byte {
	var b bytes.Buffer
	for _, m := range n.mountTable() {
		fmt.Fprintln(&b, m)
	}
	return b.Bytes()
}

// mountOf returns where the file system of a path, whose links are resolved, is
// mounted.
func (n *node) mountOf(at string) string {
	best := "/"
	for _, m := range n.mountTable() {
		if within(at, m.At) && len(m.At) > len(best) {
			best = m.At
		}
	}
	return best
}

// madeUp brings a file that is made up when it is read up to date.
func (n *node) madeUp(to string) error {
	switch to {
	case vmlistPath:
		return n.writeVMList()
	case pve.MountsFile: // the kernel makes it up too
		return replaceFile(n.host(pve.MountsFile), n.procMounts(), 0o444)
	}
	return nil
}
