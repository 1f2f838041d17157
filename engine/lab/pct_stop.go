package lab

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tengil/tengil/engine/pve"
)

// endGuest ends a container's processes and applies what waited for that, as the
// post-stop hook does.
func (n *node) endGuest(id int) {
	g := n.guest(id)
	if !g.Running {
		return
	}
	n.driver.kill(id)
	n.endRun(id, g.PID)
}

// endRun notes that the run of a container with a number of PID 1 has ended, once.
func (n *node) endRun(id, pid int) {
	ended := false
	n.changeGuest(id, func(g *guestState) {
		if ended = g.Running && g.PID == pid; ended {
			g.stop()
		}
	})
	if !ended {
		return
	}
	n.pids.remove(pid)
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
		if !c.node.driver.halt(c, c.haltTime()) && c.opts["forceStop"] != "1" {
			return c.didNotStop()
		}
		c.node.endGuest(c.id)
		return nil
	})
}

// haltTime is how long PID 1 has to end.
func (c *guestCall) haltTime() time.Duration {
	seconds, err := strconv.Atoi(c.opts["timeout"])
	if err != nil {
		seconds = 60
	}
	return time.Duration(seconds) * time.Second
}

// didNotStop is how a shutdown ends when PID 1 does not.
func (c *guestCall) didNotStop() error {
	fmt.Fprintf(c.stdout, "command 'lxc-stop -n %d --nokill --timeout %d' failed: exit code 1\n", c.id, int(c.haltTime().Seconds()))
	return dief(255, "container did not stop")
}

// pctReboot stops the container, by force if it must, and starts it.
func pctReboot(c *guestCall) error {
	if err := c.needRunning("VM"); err != nil {
		return err
	}
	return c.locked("vzreboot", func(*pve.Config) error {
		c.node.driver.halt(c, c.haltTime())
		c.node.endGuest(c.id)
		return c.startGuest(c.id)
	})
}
