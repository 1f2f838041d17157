package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/tengil/tengil/engine/lab/lxc"
	"github.com/tengil/tengil/engine/pve"
)

// An lxcDriver runs containers with LXC. The words of an error are those of the
// machine's LXC, as PVE hands on those of the node's.
type lxcDriver struct {
	node   *node
	runner *lxc.Runner
	dhcp   *exec.Cmd

	mu   sync.Mutex
	runs map[int]*lxc.Run
}

// useLXC has the containers of the node run for real.
func (n *node) useLXC(r *Real) error {
	runner := lxc.NewRunner(n.dir, r.Cgroups)
	if err := runner.Mount(); err != nil {
		return err
	}
	for _, dir := range []string{n.dir, n.dir + "/root"} { // ids of containers pass through
		if err := os.Chmod(dir, 0o711); err != nil {
			return err
		}
	}
	d := &lxcDriver{node: n, runner: runner, runs: map[int]*lxc.Run{}}
	n.driver, n.lxc = d, r
	return d.serveDHCP()
}

func (d *lxcDriver) run(id int) *lxc.Run {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.runs[id]
}

// start starts the container with LXC.
func (d *lxcDriver) start(c *guestCall, id int, conf *pve.Config, root guestRoot) (*boot, error) {
	spec, err := d.container(id, conf, root)
	if err != nil {
		return nil, err
	}
	ctx := context.WithoutCancel(c.ctx) // systemd starts it, whatever becomes of who asked
	run, err := d.runner.Start(ctx, spec)
	var failed *lxc.StartError
	switch {
	case errors.Is(err, lxc.ErrEnded):
		return nil, endedAtOnce(id)
	case errors.As(err, &failed):
		return nil, &lxcFailure{failed.Said, startFailed(id)}
	case err != nil:
		return nil, err
	}
	d.mu.Lock()
	d.runs[id] = run
	d.mu.Unlock()
	d.lease(c, id, run, conf)
	d.node.background.Go(func() {
		<-run.Done
		endClients(run)
	})
	return &boot{alive: true, argv: spec.Argv, ended: run.Done}, nil
}

// running returns the run of a container, to change it.
func (d *lxcDriver) running(id int) (*lxc.Run, error) {
	if run := d.run(id); run != nil {
		return run, nil
	}
	return nil, errEnded
}

func (d *lxcDriver) plugLink(id int, key string, nic pve.Net) error {
	run, err := d.running(id)
	if err != nil {
		return err
	}
	if err := d.runner.PlugLink(run, linkTo(id, key, nic, true)); err != nil {
		return err
	}
	return d.leaseHot(id, run, nic)
}

func (d *lxcDriver) unplugLink(id int, key string) error {
	return d.runner.UnplugLink(linkTo(id, key, pve.Net{}, false))
}

func (d *lxcDriver) address(id int, key string, nic pve.Net) error {
	run, err := d.running(id)
	if err != nil {
		return err
	}
	endClients(run, nic.Name)
	if err := d.runner.Address(run, linkTo(id, key, nic, true)); err != nil {
		return err
	}
	return d.leaseHot(id, run, nic)
}

// leaseHot gets the address of an interface that was plugged, if it is to have one
// by DHCP.
func (d *lxcDriver) leaseHot(id int, run *lxc.Run, nic pve.Net) error {
	if nic.IP != "dhcp" || nic.LinkDown.True() {
		return nil
	}
	if said, err := d.dhclient(id, run, nic.Name); err != nil {
		return fmt.Errorf("DHCP failed - %w: %s", err, said)
	}
	return nil
}

func (d *lxcDriver) plugMount(id int, m guestMount) error {
	run, err := d.running(id)
	if err != nil {
		return err
	}
	source, err := d.node.real(m.Source)
	if err != nil {
		return err
	}
	return d.runner.PlugMount(run, m.lxc(source))
}

func (d *lxcDriver) plugDevice(id int, value string) error {
	run, err := d.running(id)
	if err != nil {
		return err
	}
	dev, err := d.device(value)
	if err != nil {
		return err
	}
	return d.runner.PlugDevice(strconv.Itoa(id), run, dev, mappedRoot, mappedRoot)
}

func (d *lxcDriver) limit(id int, conf *pve.Config) error {
	run, err := d.running(id)
	if err != nil {
		return err
	}
	return d.runner.SetLimits(run, limits(conf))
}

// freeze leaves one that ends meanwhile alone.
func (d *lxcDriver) freeze(id int) (thaw func()) {
	name := strconv.Itoa(id)
	if err := d.runner.Freeze(name); err != nil {
		d.node.log.Error("freeze", "ct", id, "err", err)
		return func() {}
	}
	return func() {
		if err := d.runner.Thaw(name); err != nil {
			d.node.log.Error("thaw", "ct", id, "err", err)
		}
	}
}

func (d *lxcDriver) readFile(id int, name string) ([]byte, error) {
	run, err := d.running(id)
	if err != nil {
		return nil, err
	}
	return run.ReadInside(name)
}

func (d *lxcDriver) writeFile(id int, name string, data []byte, o owner) error {
	run, err := d.running(id)
	if err != nil {
		return err
	}
	return run.WriteInside(name, data, o.UID, o.GID, uint32(o.Mode))
}

func (d *lxcDriver) kill(id int) {
	run := d.run(id)
	if run == nil {
		return
	}
	if err := d.runner.Kill(strconv.Itoa(id), run); err != nil {
		d.node.log.Error("stop", "ct", id, "err", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.runs[id] == run {
		delete(d.runs, id)
	}
}

func (d *lxcDriver) halt(c *guestCall, timeout time.Duration) bool {
	run := d.run(c.id)
	return run == nil || d.runner.Halt(c.ctx, strconv.Itoa(c.id), run, timeout)
}

func (d *lxcDriver) attach(c *guestCall, argv, env []string) (exit int, found bool) {
	exit, err := d.runner.Attach(c.ctx, strconv.Itoa(c.id), argv, env, c.opts["keep-env"] == "0",
		lxc.Streams{In: c.stdin, Out: c.stdout, Err: c.stderr})
	if err != nil {
		return c.failf(255, "lxc-attach: %v", err), true
	}
	return exit, true // what is not found, lxc-attach itself says
}

func (d *lxcDriver) dial(ctx context.Context, addr string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp", addr)
}

// links looks into the container's network.
