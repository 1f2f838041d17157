package lab

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// pctResize grows the root or a volume (resize_vm in API2/LXC.pm).
func pctResize(c *guestCall) error {
	disk, size := c.args["disk"], c.args["size"]
	if !isDisk(disk) {
		return paramError{"disk": fmt.Sprintf("value '%s' does not have a value in the enumeration 'rootfs, mp0, mp1, …'", disk)}
	}
	if !regexp.MustCompile(`^\+?\d+(\.\d+)?[KMGT]?$`).MatchString(size) {
		return paramError{"size": "value does not match the regex pattern"}
	}
	if _, err := c.node.guestConfig(c.id); err != nil {
		return err
	}
	return c.changeLock(func(conf *pve.Config) error {
		if err := checkLock(conf); err != nil {
			return err
		}
		m, err := pve.ParseMount(conf.Get(disk))
		if err != nil {
			return dief(255, "format error\nmp: property is missing and it is not optional\nvolume: property is missing and it is not optional")
		}
		return c.resize(conf, disk, m, size)
	})
}

func (c *guestCall) resize(conf *pve.Config, disk string, m pve.Mount, text string) error {
	if m.Kind() != pve.VolumeMount {
		return dief(255, "cannot resize mount point of type '%s'", m.Kind())
	}
	v, err := c.node.volume(m.Volume)
	if err != nil {
		return err
	}
	have, err := c.node.volumeSize(v)
	if err != nil {
		return err
	}
	want := parseSize(strings.TrimPrefix(text, "+"))
	if strings.HasPrefix(text, "+") {
		want += have
	}
	switch {
	case want < have:
		return dief(255, "unable to shrink disk size")
	case want == have:
		fmt.Fprintf(c.stdout, "disk is already at specified size\n")
		return nil
	}
	if v.dataset != "" {
		c.node.mu.Lock()
		c.node.state.ZFS.Datasets.edit(v.dataset).Props["refquota"] = strconv.FormatInt(want, 10)
		c.node.mu.Unlock()
	}
	m.Size = formatSize(want)
	conf.Options[disk] = printMount(m)
	c.node.save()
	return nil
}

func moveOptionKinds() map[string]optionKind {
	return map[string]optionKind{
		"delete": boolOption, "digest": textOption, "target-digest": textOption, "bwlimit": textOption,
		"target-vmid": textOption, "target-volume": textOption, "storage": textOption,
	}
}

// pctMoveVolume gives a volume to another container or another key
// (move_volume in API2/LXC.pm).
func pctMoveVolume(c *guestCall) error {
	key := c.args["volume"]
	target := c.opts["target-vmid"]
	if c.opts["storage"] != "" || c.args["storage"] != "" || target == "" {
		return dief(255, "the lab moves volumes between containers only, not between storages")
	}
	to, refused := parseVMID(target)
	if refused != "" {
		return paramError{"target-vmid": refused}
	}
	newKey := c.opts["target-volume"]
	if newKey == "" {
		newKey = key
	}
	if key == "rootfs" || newKey == "rootfs" {
		return dief(255, "Cannot move to/from 'rootfs'")
	}
	if strings.HasPrefix(key, "unused") && !strings.HasPrefix(newKey, "unused") {
		return dief(255, "Moving an unused volume to a used one is not possible")
	}
	if _, err := c.node.guestConfig(to); err != nil {
		return dief(255, "could not find CT %d", to)
	}
	conf, err := c.node.guestConfig(c.id)
	if err != nil {
		return err
	}
	if _, ok := conf.Options[key]; !ok {
		return dief(255, "volume '%s' for container '%d' does not exist", key, c.id)
	}
	if c.node.guest(c.id).Running && !strings.HasPrefix(key, "unused") {
		return dief(255, "cannot move volume '%s' of a running container", key)
	}
	return c.worker("move_volume", func() error { return c.reassign(key, to, newKey) })
}

// reassign takes both locks, in the order of the ids, and moves the volume.
func (c *guestCall) reassign(key string, to int, newKey string) error {
	ids := []int{c.id, to}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		release, err := c.lockConfig(id, configLockWait)
		if err != nil {
			return err
		}
		defer release()
	}
	from, err := c.node.guestConfig(c.id)
	if err != nil {
		return err
	}
	target := from
	if to != c.id {
		if target, err = c.node.guestConfig(to); err != nil {
			return err
		}
	}
	if _, used := target.Options[newKey]; used {
		return dief(255, "Target volume key '%s' is already in use for container '%d'", newKey, to)
	}
	m, err := pve.ParseMount(from.Options[key])
	if err != nil {
		return dief(255, "%v", err)
	}
	fmt.Fprintf(c.stdout, "moving volume '%s' from container '%d' to '%d'\n", key, c.id, to)
	v, err := c.renameVolume(m.Volume, to)
	if err != nil {
		return err
	}
	defer c.node.save()
	m.Volume = v.id.String()
	fmt.Fprintf(c.stdout, "removing volume '%s' from container '%d' config\n", key, c.id)
	delete(from.Options, key)
	text := printMount(m)
	if strings.HasPrefix(newKey, "unused") {
		text = m.Volume
	}
	target.Options[newKey] = text
	if err := c.node.writeConfig(c.id, from); err != nil {
		return err
	}
	if err := c.node.writeConfig(to, target); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "target container '%d' updated with '%s'\n", to, newKey)
	return nil
}

// renameVolume gives a volume the next free name of another container.
func (n *node) renameVolume(id string, to int) (volume, error) {
	v, err := n.volume(id)
	if err != nil {
		return volume{}, err
	}
	if v.dataset == "" {
		return volume{}, dief(255, "the lab moves volumes of zfspool storages only")
	}
	for disk := 0; ; disk++ {
		w, err := n.volume(fmt.Sprintf("%s:subvol-%d-disk-%d", v.id.Storage, to, disk))
		if err != nil {
			return volume{}, err
		}
		if n.volumeExists(w) {
			continue
		}
		if err := n.renameDataset(v.dataset, w.dataset); err != nil {
			return volume{}, dief(255, "zfs error: %v", err)
		}
		return n.volume(w.id.String())
	}
}

// pctRescan notes volumes that no config names as unused.
func pctRescan(c *guestCall) error {
	fmt.Fprintln(c.stdout, "rescan volumes...")
	for _, id := range c.node.guestIDs() {
		if only := c.opts["vmid"]; only != "" && only != strconv.Itoa(id) {
			continue
		}
		if err := c.rescan(id); err != nil {
			return err
		}
	}
	return nil
}

func (c *guestCall) rescan(id int) error {
	release, err := c.lockConfig(id, configLockWait)
	if err != nil {
		return err
	}
	defer release()
	conf, err := c.loadConfig(id)
	if err != nil {
		return err
	}
	known := ownVolumes(conf)
	changed := false
	for _, v := range c.node.volumesOf(id) {
		if slices.Contains(known, v) {
			continue
		}
		addUnused(conf, v)
		changed = true
		for _, i := range conf.Indexed("unused") {
			if key := fmt.Sprintf("unused%d", i); conf.Options[key] == v {
				fmt.Fprintf(c.stdout, "CT %d: add unreferenced volume '%s' as '%s' to config.\n", id, v, key)
			}
		}
	}
	if !changed || c.opts["dryrun"] == "1" {
		return nil
	}
	return c.node.writeConfig(id, conf)
}
