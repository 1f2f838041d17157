package lab

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// nodeName is what every lab's node is called.
const nodeName = "pve"

// A release is a Proxmox VE release that the lab models. Packages that no
// behaviour of the lab hangs on are there because people look for them.
type release struct {
	name      string // "9.2"
	container string // version of pve-container
	packages  map[string]string
}

// releases are all that the lab models, the default first. The versions are
// those of the packages whose behaviour was captured; see docs/proxmox.md.
func releases() []release {
	common := map[string]string{
		"libpve-rs-perl":           "0.11.4",
		"lxc-pve":                  "6.0.5-3",
		"lxcfs":                    "6.0.4-pve1",
		"proxmox-ve":               "9.1.0",
		"skopeo":                   "1.18.0+ds1-1+b5",
		"zfsutils-linux":           "2.3.9-pve1",
		"isc-dhcp-client":          "4.4.3-P1-8",
		"pve-ha-manager":           "5.1.3",
		"libpve-guest-common-perl": "6.0.2",
		"tar":                      "1.35+dfsg-3.1",
		"util-linux":               "2.41-5",
		"coreutils":                "9.7-3",
	}
	with := func(more map[string]string) map[string]string {
		all := maps.Clone(common)
		maps.Copy(all, more)
		return all
	}
	return []release{
		{"9.2", "6.1.10", with(map[string]string{
			"pve-manager": "9.2.11", "pve-container": "6.1.10", "libpve-storage-perl": "9.1.7",
			"libpve-common-perl": "9.2.1", "pve-cluster": "9.1.6", "pve-ha-manager": "5.2.0",
		})},
		{"9.1", "6.0.18", with(map[string]string{
			"pve-manager": "9.1.7", "pve-container": "6.0.18", "libpve-storage-perl": "9.1.1",
			"libpve-common-perl": "9.1.9", "pve-cluster": "9.1.1",
		})},
	}
}

// modelled returns the release of a name ("" is the default) or of a version of
// pve-container.
func modelled(name string) (release, error) {
	all := releases()
	if name == "" {
		return all[0], nil
	}
	i := slices.IndexFunc(all, func(r release) bool { return r.name == name || r.container == name })
	if i < 0 {
		return release{}, fmt.Errorf("no model of Proxmox VE %q: there are %q and %q", name, all[1].name, all[0].name)
	}
	return all[i], nil
}

// release returns the name of the node's release: "9.2".
func (n *node) release() string { return n.packages().name }

// packages returns what is installed on the node.
func (n *node) packages() release {
	r, err := modelled(n.pve)
	if err != nil {
		panic(err) // Open has checked it
	}
	return r
}

// seed makes the files and the state of a fresh node.
func (n *node) seed(o Options) error {
	r, err := modelled(o.PVE)
	if err != nil {
		return err
	}
	files, err := gpuFiles(o.GPU)
	if err != nil {
		return err
	}
	storages, err := storageCfg(o.Storage)
	if err != nil {
		return err
	}
	// What an earlier start that was cut off has left is begun anew.
	for _, name := range []string{"root", "zfs", "covered"} {
		if err := os.RemoveAll(filepath.Join(n.dir, name)); err != nil {
			return err
		}
	}
	n.state = state{}
	n.state.PVE, n.state.GPU, n.state.Disks = r.container, o.GPU, o.Storage
	n.pve = r.container
	maps.Copy(files, freshFiles())
	files["/etc/pve/storage.cfg"] = storages
	if o.Real != nil {
		files["/etc/containers/registries.conf"] = plainRegistries
	}
	for _, d := range freshDirs() {
		if err := os.MkdirAll(n.host(d), 0o755); err != nil {
			return err
		}
	}
	for link, to := range freshLinks() {
		if err := os.Symlink(to, n.host(link)); err != nil {
			return err
		}
	}
	for name, content := range files {
		if err := n.writeFile(name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	for name, mode := range map[string]os.FileMode{"/root": 0o700, "/tmp": 0o1777, "/run/lock": 0o1777} {
		n.setOwner(name, owner{Mode: mode})
	}
	if storageName(o.Storage) != "zfs" {
		return nil
	}
	return n.seedZFS()
}

// wake takes up the node where Close left it. Programs and units that ran then
// are gone, as if killed; containers run on.
func (n *node) wake(o Options) error {
	if o.PVE != "" {
		want, err := modelled(o.PVE)
		if err != nil {
			return err
		}
		if want.container != n.pve {
			return fmt.Errorf("it is Proxmox VE %s, not %s: reset it to change that", n.release(), want.name)
		}
	}
	if o.GPU != "" && o.GPU != gpuName(n.state.GPU) {
		return fmt.Errorf("it has GPU %q, not %q: reset it to change that", gpuName(n.state.GPU), o.GPU)
	}
	if have := storageName(n.state.Disks); o.Storage != "" && o.Storage != have {
		return fmt.Errorf("it has storage %q, not %q: reset it to change that", have, o.Storage)
	}
	if _, err := modelled(n.pve); err != nil {
		return err
	}
	n.endUnits()
	return nil
}

// seedZFS makes the pools rpool and tank, with what the installer sets.
func (n *node) seedZFS() error {
	const gib = 1 << 30
	z := &n.state.ZFS
	z.Pools = []pool{{Name: "rpool", Size: 464 * gib}, {Name: "tank", Size: 7440 * gib}}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range z.Pools {
		z.Datasets.put(p.Name, z.born(p.Name, map[string]string{
			"compression": "on", "atime": "off", "xattr": "on", "acltype": "posix",
		}))
		if err := n.mountFS(p.Name); err != nil {
			return err
		}
	}
	for _, name := range []string{"rpool/ROOT", "rpool/data"} {
		z.Datasets.put(name, z.born(name, nil))
		if err := n.mountFS(name); err != nil {
			return err
		}
	}
	return nil
}
