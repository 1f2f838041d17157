package lab

import (
	"fmt"
	"path"
	"slices"

	"github.com/tengil/tengil/engine/pve"
)

// pctUnlock removes the lock property.
func pctUnlock(c *guestCall) error {
	if _, err := c.node.guestConfig(c.id); err != nil {
		return err
	}
	return c.changeLock(func(conf *pve.Config) error {
		delete(conf.Options, "lock")
		return nil
	})
}

// changeLock changes the config under its file lock.
func (c *guestCall) changeLock(change func(conf *pve.Config) error) error {
	release, err := c.lockConfig(c.id, configLockWait)
	if err != nil {
		return err
	}
	defer release()
	conf, err := c.loadConfig(c.id)
	if err != nil {
		return err
	}
	if err := change(conf); err != nil {
		return err
	}
	return c.node.writeConfig(c.id, conf)
}

// pctMount mounts the root of a container on the node and locks the config. The
// lock comes first and stays if the mount fails (pct.pm, mount).
func pctMount(c *guestCall) error {
	err := c.changeLock(func(conf *pve.Config) error {
		if err := checkLock(conf); err != nil {
			return err
		}
		conf.Options["lock"] = "mounted"
		if err := c.node.writeConfig(c.id, conf); err != nil {
			return err
		}
		mounts, err := c.node.findMounts(conf)
		if err != nil {
			fmt.Fprintln(c.warn, "mounting container failed")
			return err
		}
		if err := c.checkpoint(); err != nil {
			return err
		}
		if err := c.node.bind(mounts[0].Source, lxcRoot(c.id)); err != nil {
			return err
		}
		for _, m := range mounts[1:] {
			makeTargetIn(guestRoot{c.node, mounts}, m.Path)
			// A target that is not empty in the image stays as it is.
			_ = c.node.bind(m.Source, path.Join(lxcRoot(c.id), m.Path))
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.node.save()
	fmt.Fprintf(c.stdout, "mounted CT %d in '%s'\n", c.id, lxcRoot(c.id))
	return nil
}

// pctUnmount undoes pctMount.
func pctUnmount(c *guestCall) error {
	defer c.node.save()
	return c.changeLock(func(conf *pve.Config) error {
		switch conf.Lock() {
		case "mounted":
		case "":
			return dief(255, "no lock found trying to remove 'mounted'  lock")
		default:
			return dief(255, "found lock '%s' trying to remove 'mounted' lock", conf.Lock())
		}
		delete(conf.Options, "lock")
		keys := diskKeys(conf.Options)
		slices.Reverse(keys)
		for _, k := range keys {
			m, err := pve.ParseMount(conf.Get(k))
			if err != nil {
				continue
			}
			if _, err := c.node.unbind(path.Join(lxcRoot(c.id), m.Path)); err != nil {
				return err
			}
		}
		return nil
	})
}
