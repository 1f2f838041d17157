package lab

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

func destroyOptionKinds() map[string]optionKind {
	return map[string]optionKind{"force": boolOption, "purge": boolOption, "destroy-unreferenced-disks": boolOption}
}

// pctDestroy destroys a container and its volumes (destroy_vm in API2/LXC.pm).
func pctDestroy(c *guestCall) error {
	conf, err := c.node.guestConfig(c.id)
	if err != nil {
		return err
	}
	if err := c.mayDestroy(conf); err != nil {
		return err
	}
	return c.worker("vzdestroy", func() error {
		release, err := c.lockConfig(c.id, configLockWait)
		if err != nil {
			return err
		}
		defer release()
		conf, err := c.loadConfig(c.id)
		if err != nil {
			return err
		}
		if err := c.mayDestroy(conf); err != nil {
			return err
		}
		return c.destroyGuest(conf)
	})
}

func (c *guestCall) mayDestroy(conf *pve.Config) error {
	if conf.Get("protection") == "1" {
		return dief(255, "can't remove CT %d - protection mode enabled", c.id)
	}
	if err := checkLock(conf); err != nil {
		return err
	}
	if c.node.guest(c.id).Running && c.opts["force"] != "1" {
		return dief(255, "unable to destroy CT %d - container is running", c.id)
	}
	return nil
}

func (c *guestCall) destroyGuest(conf *pve.Config) error {
	if c.node.guest(c.id).Running {
		fmt.Fprintf(c.warn, "forced to stop CT %d before destroying!\n", c.id)
		c.node.endGuest(c.id)
		after, err := c.node.guestConfig(c.id)
		if err != nil {
			return err
		}
		conf = after
	}
	conf.Options["lock"] = "destroyed"
	if err := c.node.writeConfig(c.id, conf); err != nil {
		return err
	}
	if err := c.checkpoint(); err != nil {
		return err
	}
	for _, id := range ownVolumes(conf) {
		c.destroyVolume(id)
	}
	if c.opts["destroy-unreferenced-disks"] == "1" {
		for _, id := range c.node.volumesOf(c.id) {
			c.destroyVolume(id)
		}
	}
	if c.opts["purge"] == "1" {
		fmt.Fprintf(c.stdout, "purging CT %d from related configurations..\n", c.id)
	}
	c.node.changeGuest(c.id, func(g *guestState) { *g = guestState{Drawn: g.Drawn, Leases: g.Leases} }) // a DHCP server does not hear of it
	c.node.forgetHealth(c.id)
	return c.node.removeAll(c.node.guestFile(c.id))
}

// ownVolumes returns the volumes in a config, each once: of the root, the mount
// points, what is pending and what is unused.
func ownVolumes(conf *pve.Config) []string {
	found := map[string]bool{}
	for _, options := range append(allOptions(conf), conf.Pending) {
		for _, k := range diskKeys(options) {
			if m, err := pve.ParseMount(options[k]); err == nil && m.Kind() == pve.VolumeMount {
				found[m.Volume] = true
			}
		}
		for k, v := range options {
			if isIndexed(k, "unused") {
				found[v] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// destroyVolume destroys a volume that is the container's own. What goes wrong
// is said and does not stop the destruction.
func (c *guestCall) destroyVolume(id string) {
	v, err := c.node.volume(id)
	if err == nil && v.id.Owner() != c.id {
		fmt.Fprintf(c.warn, "ignore deletion of '%s', CT %d isn't the owner!\n", id, c.id)
		return
	}
	if err == nil {
		err = c.freeVolume(v)
	}
	if err != nil {
		fmt.Fprintln(c.warn, err)
	}
}

// volumesOf returns the volumes of all storages whose name has the container's id.
func (n *node) volumesOf(id int) []string {
	var out []string
	all, _ := n.storages() // an unreadable storage.cfg has none
	for _, s := range all {
		if s.Type == "zfspool" {
			n.mu.Lock()
			for name := range n.state.ZFS.Datasets.all() {
				if rest, ok := strings.CutPrefix(name, s.Pool+"/"); ok && strings.HasPrefix(rest, fmt.Sprintf("subvol-%d-", id)) && !strings.ContainsAny(rest, "/@") {
					out = append(out, s.Name+":"+rest)
				}
			}
			n.mu.Unlock()
			continue
		}
		if s.Type == "lvmthin" {
			for _, r := range n.logicalVolumes(s) {
				if r.owner == id {
					out = append(out, r.id)
				}
			}
			continue
		}
		list, _ := n.readDir(path.Join(s.Path, "images", fmt.Sprint(id))) // none is like an empty one
		for _, e := range list {
			if !e.IsDir() {
				out = append(out, fmt.Sprintf("%s:%d/%s", s.Name, id, e.Name()))
			}
		}
	}
	slices.Sort(out)
	return out
}
