package lab

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/tengil/tengil/engine/pve"
)

// pctSet changes options (update_vm in API2/LXC/Config.pm).
func pctSet(c *guestCall) error {
	if err := c.checkOptions("set"); err != nil {
		return err
	}
	if err := c.checkUnset(); err != nil {
		return err
	}
	if len(c.configOptions()) == 0 && c.opts["delete"] == "" && c.opts["revert"] == "" {
		return dief(2, "no options specified")
	}
	if _, err := c.node.guestConfig(c.id); err != nil {
		return err
	}
	release, err := c.lockConfig(c.id, configLockWait)
	if err != nil {
		return err
	}
	defer release()
	conf, err := c.loadConfig(c.id)
	if err != nil {
		return err
	}
	if err := checkLock(conf); err != nil {
		return err
	}
	if d := c.opts["digest"]; d != "" && d != c.node.configDigest(c.id) {
		return dief(255, "detected modified configuration - file changed by other user? Try again.")
	}
	u := &update{guestCall: c, conf: conf, touched: map[string]bool{}, refused: paramError{}}
	if err := u.stage(); err != nil {
		return err
	}
	if c.node.guest(c.id).Running {
		err = u.hotplug()
	} else {
		err = u.apply()
	}
	if err != nil {
		return err
	}
	if len(u.refused) > 0 {
		return u.refused
	}
	return u.write()
}

// configDigest returns the digest of a container's config file.
func (n *node) configDigest(id int) string {
	data, err := n.readFile(n.guestFile(id))
	if err != nil {
		return ""
	}
	sum := sha1.Sum(data)
	return hex.EncodeToString(sum[:])
}

// checkUnset refuses keys of --delete and --revert that are no options.
func (c *guestCall) checkUnset() error {
	for _, opt := range []string{"delete", "revert"} {
		for _, k := range pve.ParseTags(c.opts[opt]) {
			if !pve.KnownOption(k) {
				return paramError{opt: fmt.Sprintf("unknown option '%s'", k)}
			}
			if _, both := c.opts[k]; both {
				return paramError{opt: fmt.Sprintf("you can't use '-%s' and '-%s %s' at the same time", k, opt, k)}
			}
		}
	}
	return nil
}

// An update is a pct set at work: changes go to the pending section first and
// from there to where they take effect (Config.pm update_pct_config).
type update struct {
	*guestCall
	conf    *pve.Config
	touched map[string]bool // keys that this call names
	refused paramError
}

// stage writes what is asked for to the pending section.
func (u *update) stage() error {
	for _, k := range pve.ParseTags(u.opts["revert"]) {
		unsetPending(u.conf, k)
		delete(u.conf.PendingDelete, k)
	}
	for _, k := range pve.ParseTags(u.opts["delete"]) {
		if err := u.stageDelete(k); err != nil {
			return err
		}
	}
	options := u.configOptions()
	for _, k := range slices.Sorted(maps.Keys(options)) {
		if err := u.stageSet(k, options[k]); err != nil {
			return err
		}
	}
	u.dropUnchanged()
	return nil
}

func (u *update) stageDelete(key string) error {
	_, set := option(&u.conf.Section, key)
	if _, pending := pendingOption(u.conf, key); !set && !pending {
		fmt.Fprintf(u.warn, "cannot delete '%s' - not set in current configuration!\n", key)
		return nil
	}
	switch {
	case key == "memory" || key == "rootfs" || key == "ostype":
		return dief(255, "unable to delete required option '%s'", key)
	case key == "unprivileged":
		return dief(255, "unable to delete read-only option: '%s'", key)
	case (isIndexed(key, "mp") || isIndexed(key, "unused")) && u.conf.Get("protection") == "1":
		return dief(255, "can't remove CT %d drive '%s' - protection mode enabled", u.id, key)
	}
	u.touched[key] = true
	u.conf.PendingDelete[key] = false
	return nil
}

func (u *update) stageSet(key, value string) error {
	if key == "unprivileged" {
		return dief(255, "unable to modify read-only option: '%s'", key)
	}
	if isDisk(key) {
		if err := u.checkDisk(key, value); err != nil {
			return err
		}
	}
	value, err := u.storedValue(key, value)
	if err != nil {
		return err
	}
	u.touched[key] = true
	setPending(u.conf, key, value)
	delete(u.conf.PendingDelete, key)
	return nil
}

// checkDisk checks a new value of the root or a mount point.
func (u *update) checkDisk(key, value string) error {
	if u.conf.Get("protection") == "1" {
		return dief(255, "can't update CT %d drive '%s' - protection mode enabled", u.id, key)
	}
	m, err := pve.ParseMount(value)
	if err != nil {
		return dief(255, "%v", err)
	}
	if err := checkIDMap(m.IDMap); err != nil {
		return err
	}
	if m.Kind() != pve.VolumeMount {
		return nil
	}
	id, err := pve.ParseVolID(m.Volume)
	if err != nil {
		return dief(255, "%v", err)
	}
	s, err := u.node.storage(id.Storage)
	if err == nil && !slices.Contains(s.Content, "rootdir") {
		err = dief(255, "storage '%s' does not allow content type 'rootdir' (Container)", id.Storage)
	}
	return err
}

// dropUnchanged drops pending values that are the effective ones already
// (cleanup_pending in AbstractConfig.pm).
func (u *update) dropUnchanged() {
	for _, k := range pendingKeys(u.conf) {
		now, set := option(&u.conf.Section, k)
		if next, _ := pendingOption(u.conf, k); set && now == next {
			unsetPending(u.conf, k)
		}
	}
	for k := range u.conf.PendingDelete {
		if _, set := option(&u.conf.Section, k); !set {
			delete(u.conf.PendingDelete, k)
		}
	}
}

// write writes the config and warns of what is still odd in it.
func (u *update) write() error {
	dropUsed(u.conf)
	if err := u.node.writeConfig(u.id, u.conf); err != nil {
		return err
	}
	u.node.save()
	if after, err := u.node.guestConfig(u.id); err == nil {
		u.warnConfig(u.id, after)
	}
	return u.missingBridge()
}

// missingBridge is said of an interface that was set and written all the same,
// while the container does not run.
func (u *update) missingBridge() error {
	for _, k := range slices.Sorted(maps.Keys(u.touched)) {
		if nic, err := pve.ParseNet(u.conf.Get(k)); isIndexed(k, "net") && err == nil && nic.Bridge != "" {
			if err := u.node.checkBridge(nic.Bridge); err != nil {
				return &cliError{2, err.Error() + "\n"}
			}
		}
	}
	return nil
}
