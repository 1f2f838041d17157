package lab

import (
	"fmt"
	"slices"

	"github.com/tengil/tengil/engine/pve"
)

// endGuest ends a container's processes and applies what waited for that, as the
// post-stop hook does.
func (n *node) endGuest(id int) {
	g := n.guest(id)
	if !g.Running {
		return
	}
	n.pids.remove(g.PID)
	n.changeGuest(id, (*guestState).stop)
	n.holdMounts(id)
	conf, err := n.guestConfig(id)
	if err != nil || !conf.HasPending() {
		return
	}
	c := &guestCall{proc: &proc{ctx: n.life.context(), node: n, stdout: discard{}, stderr: discard{}}, warn: discard{}, id: id}
	if err := c.applyPending(id, conf); err != nil {
		n.log.Debug("apply pending", "ct", id, "err", err)
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// needRunning refuses what needs a running container; what is how PVE calls it.
func (c *guestCall) needRunning(what string) error {
	if !c.node.guest(c.id).Running {
		return dief(255, "%s %d not running", what, c.id)
	}
	return nil
}

// locked runs work in a worker of a kind under the lock of the container's config, which
// must have no lock property, except one of those allowed.
func (c *guestCall) locked(kind string, work func(conf *pve.Config) error, allowed ...string) error {
	return c.worker(kind, func() error {
		release, err := c.lockConfig(c.id, configLockWait)
		if err != nil {
			return err
		}
		defer release()
		conf, err := c.loadConfig(c.id)
		if err != nil {
			return err
		}
		if err := checkLock(conf); err != nil && c.opts["skiplock"] != "1" && !slices.Contains(allowed, conf.Lock()) {
			return err
		}
		return work(conf)
	})
}

func pctStop(c *guestCall) error {
	if err := c.needRunning("CT"); err != nil {
		return err
	}
	return c.locked("vzstop", func(*pve.Config) error {
		c.node.endGuest(c.id)
		return nil
	}, "mounted")
}

func pctShutdown(c *guestCall) error {
	if err := c.needRunning("CT"); err != nil {
		return err
	}
	return c.locked("vzshutdown", func(*pve.Config) error {
		if c.node.guest(c.id).Deaf && c.opts["forceStop"] != "1" {
			return c.didNotStop()
		}
		c.node.endGuest(c.id)
		return nil
	})
}

// didNotStop is how a shutdown ends when PID 1 does not. The lab does not wait
// for the timeout.
func (c *guestCall) didNotStop() error {
	timeout := c.opts["timeout"]
	if timeout == "" {
		timeout = "60"
	}
	fmt.Fprintf(c.stdout, "command 'lxc-stop -n %d --nokill --timeout %s' failed: exit code 1\n", c.id, timeout)
	return dief(255, "container did not stop")
}

// pctReboot stops the container, by force if it must, and starts it.
func pctReboot(c *guestCall) error {
	if err := c.needRunning("VM"); err != nil {
		return err
	}
	return c.locked("vzreboot", func(*pve.Config) error {
		c.node.endGuest(c.id)
		return c.startGuest(c.id)
	})
}
