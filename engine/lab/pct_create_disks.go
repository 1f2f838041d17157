package lab

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// diskKeys returns the keys of root and mount points in the order in which they
// are mounted.
func diskKeys(options map[string]string) []string {
	var keys []string
	if _, ok := options["rootfs"]; ok {
		keys = append(keys, "rootfs")
	}
	conf := pve.NewConfig()
	conf.Options = options
	for _, i := range conf.Indexed("mp") {
		keys = append(keys, fmt.Sprintf("mp%d", i))
	}
	return keys
}

// printMount prints a mount as PVE does. That includes a path with "=", which
// PVE cannot read again (print_property_string in JSONSchema.pm).
func printMount(m pve.Mount) string { return strings.TrimPrefix(m.String(), "volume=") }

// allocateDisks makes the volumes that are asked for (create_disks in LXC.pm).
func (cr *creation) allocateDisks() error {
	for _, k := range diskKeys(cr.disks) {
		m, err := pve.ParseMount(cr.disks[k])
		if err != nil {
			return dief(255, "%v", err)
		}
		if m.Kind() == pve.VolumeMount {
			if err := cr.allocateDisk(&m); err != nil {
				return err
			}
		}
		cr.conf.Options[k] = printMount(m)
	}
	return nil
}

func (cr *creation) allocateDisk(m *pve.Mount) error {
	storage, gib, fresh := newVolume(m.Volume)
	if !fresh {
		v, err := cr.node.volume(m.Volume)
		if err != nil {
			return err
		}
		size, err := cr.node.volumeSize(v)
		m.Size = formatSize(size)
		return err
	}
	v, size, err := cr.allocate(storage, gib)
	if err != nil {
		return err
	}
	cr.volumes = append(cr.volumes, v)
	m.Volume, m.Size = v.id.String(), formatSize(size)
	return nil
}

// lxcRoot is where PVE mounts the root of a container that does not run.
func lxcRoot(id int) string { return fmt.Sprintf("/var/lib/lxc/%d/rootfs", id) }

// mountDisks mounts the root (mount_all in LXC.pm) and finds the other mounts.
func (cr *creation) mountDisks() error {
	mounts, err := cr.node.findMounts(cr.conf)
	if err != nil {
		fmt.Fprintln(cr.warn, "mounting container failed")
		return err
	}
	cr.mounts = mounts
	return cr.node.bind(mounts[0].Source, lxcRoot(cr.id))
}

func (cr *creation) unmountDisks() error {
	_, err := cr.node.unbind(lxcRoot(cr.id))
	return err
}

// findMounts finds the directories that a container's mounts show, the root
// first. It fails where one cannot be mounted.
func (n *node) findMounts(conf *pve.Config) ([]guestMount, error) {
	var mounts []guestMount
	for _, k := range diskKeys(conf.Options) {
		m, err := pve.ParseMount(conf.Options[k])
		if err != nil {
			return nil, dief(255, "%v", err)
		}
		source, err := n.mountSource(m)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, guestMount{Key: k, Path: path.Join("/", m.Path), Source: source, RO: m.RO.True(), IDMap: m.IDMap})
	}
	return mounts, nil
}

// mountSource returns the directory of the node that a mount shows.
func (n *node) mountSource(m pve.Mount) (string, error) {
	if m.Kind() != pve.VolumeMount {
		return m.Volume, n.checkBindSource(m.Volume)
	}
	v, err := n.volume(m.Volume)
	if err != nil {
		return "", err
	}
	if _, err := n.volumeSize(v); err != nil {
		return "", err
	}
	return v.dir(), nil
}

// checkBindSource refuses what cannot be bound: it must be a directory, and no
// link may lead to it (walk_tree_nofollow in LXC.pm).
func (n *node) checkBindSource(dir string) error {
	at := "/"
	for elem := range strings.SplitSeq(strings.Trim(path.Clean(dir), "/"), "/") {
		at = path.Join(at, elem)
		fi, err := n.lstat(at)
		if err == nil && fi.Mode()&fs.ModeSymlink != 0 {
			return dief(255, "symlink encountered at: /%s", at)
		}
		if err != nil || !fi.IsDir() {
			return dief(255, "directory '%s' does not exist", dir)
		}
	}
	return nil
}
