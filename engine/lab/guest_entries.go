package lab

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// mountEntry is the key of a line by which LXC itself mounts something.
const mountEntry = "lxc.mount.entry"

// bindEntries adds to a container's mounts what its config has LXC bind, files
// as well as directories, and makes their targets. Other file systems, such as
// tmpfs, are left out: the model has nowhere to keep their files.
func (n *node) bindEntries(id int, conf *pve.Config, mounts []guestMount) ([]guestMount, error) {
	all := slices.Clone(mounts)
	for _, kv := range conf.Raw {
		f := strings.Fields(kv.Value)
		if kv.Key != mountEntry || len(f) < 4 {
			continue
		}
		options := strings.Split(f[3], ",")
		if !slices.Contains(options, "bind") && !slices.Contains(options, "rbind") {
			continue
		}
		m := guestMount{
			Key: mountEntry, Path: path.Join("/", unescaped(f[1])), Source: unescaped(f[0]), RO: slices.Contains(options, "ro"),
		}
		_, err := n.stat(m.Source)
		if err == nil {
			err = makeEntryTarget(guestRoot{n, all}, m.Path, options)
		}
		if err != nil && slices.Contains(options, "optional") {
			continue
		}
		if err != nil {
			return nil, mountFailed(id, m.Source, m.Path)
		}
		all = append(all, m)
	}
	return all, nil
}

// unescaped undoes the escapes of a field of fstab(5).
func unescaped(field string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(field)
}

// makeEntryTarget makes the directory or file that something is to be mounted at,
// if the options ask for it.
func makeEntryTarget(root guestRoot, target string, options []string) error {
	if slices.Contains(options, "create=dir") {
		makeTargetIn(root, target)
	}
	at, err := root.real(target, true)
	if err != nil {
		return err
	}
	if _, err := root.node.lstat(at); err == nil || !slices.Contains(options, "create=file") {
		return err
	}
	makeTargetIn(root, path.Dir(target))
	f, err := os.OpenFile(root.node.host(at), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	root.node.setOwner(at, owner{UID: mappedRoot, GID: mappedRoot, Mode: 0o644})
	return f.Close()
}

// mountFailed is how a start ends where LXC cannot mount something.
func mountFailed(id int, source, target string) error {
	return &lxcFailure{
		fmt.Sprintf("mount_entry: 2202 No such file or directory - Failed to mount %q on \"/usr/lib/x86_64-linux-gnu/lxc/rootfs%s\"\n"+
			"lxc_setup: 3910 Failed to setup mount entries\ndo_start: 1277 Failed to setup container \"%d\"\n"+
			"sync_wait: 34 An error occurred in another process (expected sequence number 3)\n", source, target, id) + spawnFailed(id),
		startFailed(id),
	}
}
