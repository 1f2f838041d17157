package pct

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// start is the node that starts a container, after it has stopped the one that
// it replaces, and tells the other containers of the app where it is.
type start struct{ *container }

// Patience implements engine.Patient: the container that is replaced stops first.
func (c start) Patience() time.Duration { return downTimeOf(c.startup) - downTime }

// Diff implements engine.Spec. The output "started" is "1" when the container is
// started by this run. Without a start there may still be a name to publish.
func (c start) Diff(now engine.State, in engine.Inputs) (engine.Diff, error) {
	f := now.(*found)
	c.container = c.at(f)
	current, previous := c.pick(f, in)
	restart := in.Value(engine.Ref{Node: c.id.Node(partConfigure), Output: "restart"})
	var d engine.Diff
	switch {
	case current == nil && len(previous) > 0:
		d.Changes = []engine.Change{{Action: engine.Replace, Field: "running", To: "yes", Why: fmt.Sprintf("the new container takes over from CT %d, which stops first", previous[len(previous)-1].VMID)}}
		d.Notes = []engine.Note{{Label: "downtime", Text: "from the stop of the old container until the new one is ready"}}
	case current == nil:
		d.Changes = []engine.Change{{Action: engine.Create, Field: "running", To: "yes", Why: "the container is new"}}
	case !current.Running:
		d.Changes = []engine.Change{{Action: engine.Update, Field: "running", From: "no", To: "yes", Why: fmt.Sprintf("CT %d is stopped", current.VMID)}}
	case restart.Reveal() != "":
		d.Changes = []engine.Change{{Action: engine.Restart, Field: "running", Why: "what takes effect at a start only has changed: " + restart.Reveal()}}
		d.Notes = []engine.Note{{Label: "downtime", Text: "one restart"}}
	}
	starts := len(d.Changes) > 0
	d.Outputs = c.outputs(current, f, starts, slices.Contains(strings.Split(restart.Reveal(), ", "), "net"))
	if !starts {
		d.Changes = c.nameChanges(f, d.Outputs["address"].Reveal())
	}
	return d, nil
}

func (c start) outputs(current *Guest, f *found, starts, moves bool) engine.Outputs {
	out := engine.Outputs{"address": engine.Unknown("after start"), "started": engine.Known("")}
	if starts {
		out["started"] = engine.Known("1")
	}
	if addr, ok := c.fixedAddress(); ok {
		out["address"] = engine.Known(addr)
	} else if current != nil && f.address[current.VMID] != "" && !moves {
		// A restart keeps the MAC address, and with it the lease.
		out["address"] = engine.Known(f.address[current.VMID])
	}
	return out
}

// fixedAddress returns the address that the recipe or the host's range gives,
// without its prefix: that of IPv4 where the container has both. Of the range it
// is known after at. Without one it is "".
func (c *container) fixedAddress() (string, bool) {
	ip := c.net.IP
	if ip == "" {
		ip = c.net.IP6
	}
	p, err := netip.ParsePrefix(ip)
	if err != nil {
		return "", false
	}
	return p.Addr().String(), true
}

// Apply implements engine.Spec.
func (c start) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	f := w.Now.(*found)
	c.container = c.at(f)
	if !slices.ContainsFunc(w.Todo, func(ch engine.Change) bool { return ch.Field == "running" }) {
		current, _ := c.pick(f, w.In)
		out := c.outputs(current, f, false, false)
		return out, c.publish(ctx, w.Host, f, out["address"].Reveal())
	}
	vmid, err := vmidOf(c.container, w.In)
	if err != nil {
		return nil, err
	}
	if err := c.checkAddress(ctx, w.Host, vmid); err != nil {
		return nil, err
	}
	if err := c.unmark(ctx, w.Host); err != nil {
		return nil, err
	}
	address, _ := c.fixedAddress()
	if err := c.publish(ctx, w.Host, f, address); err != nil {
		return nil, err
	}
	for _, g := range f.guests {
		if g.VMID != vmid && g.Running {
			w.Report(fmt.Sprintf("shutting CT %d down", g.VMID), 0, 0)
			if err := shutdown(ctx, w.Host, g.VMID, g.Config); err != nil {
				return nil, err
			}
		}
	}
	w.Report(fmt.Sprintf("starting CT %d", vmid), 0, 0)
	addr, err := c.run(ctx, w.Host, vmid)
	if err != nil {
		return nil, err
	}
	if err := c.publish(ctx, w.Host, f, cmp.Or(addr, ownAddress)); err != nil {
		return nil, err
	}
	return engine.Outputs{"address": engine.Known(addr), "started": engine.Known("1")}, nil
}

// run starts a container and returns its address. A failure carries what the
// application printed.
func (c *container) run(ctx context.Context, h engine.Host, vmid int) (address string, err error) {
	if err := c.markLog(ctx, h); err != nil {
		return "", err
	}
	if err := startUp(ctx, h, vmid); err != nil {
		return "", c.withLog(ctx, h, err)
	}
	address, err = start{c}.waitAddress(ctx, h, vmid)
	return address, c.withLog(ctx, h, err)
}

// startUp starts a container, and returns when it runs. One that runs is fine.
func startUp(ctx context.Context, h engine.Host, vmid int) error {
	res, err := h.Run(ctx, engine.Cmd{Argv: []string{"pct", "start", strconv.Itoa(vmid)}})
	if err = pve.Explain(err); err == nil && pve.AskedHA(res.Stdout) {
		err = await(ctx, h, vmid, true)
	}
	if err != nil && !errors.Is(err, pve.ErrRunning) {
		return engine.WithHint(err, fmt.Sprintf("what LXC says:\n    pct start %d --debug 1", vmid))
	}
	return nil
}

func vmidOf(c *container, in engine.Inputs) (int, error) {
	vmid, err := strconv.Atoi(in.Value(engine.Ref{Node: c.id.Node(partCreate), Output: "vmid"}).Reveal())
	if err != nil {
		return 0, fmt.Errorf("id of the container: %w", err)
	}
	return vmid, nil
}

// waitAddress returns the address of a started container. When pct start
// returns, a DHCP client of the node has its lease or has given up (LXC.pm,
// manage_dhclient), which is only a warning there; so a short wait suffices.
func (c start) waitAddress(ctx context.Context, h engine.Host, vmid int) (string, error) {
	if addr, ok := c.fixedAddress(); ok {
		return addr, nil
	}
	if c.net.IP == "" && c.net.IP6 == "" {
		return "", nil
	}
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 100 * time.Millisecond
	return backoff.Retry(ctx, func() (string, error) {
		ask := addressAsk(vmid)
		a, err := h.Batch(ctx, []engine.Ask{ask})
		if err != nil {
			return "", backoff.Permanent(err)
		}
		addr, err := addressOf(a, vmid)
		if addr != "" {
			return addr, err
		}
		if running, lookErr := isRunning(ctx, h, vmid); lookErr == nil && !running {
			return "", backoff.Permanent(c.stoppedByItself(vmid, "its address"))
		}
		if err == nil {
			err = engine.WithHint(fmt.Errorf("CT %d got no address on %s by DHCP", vmid, c.net.Bridge),
				"is there a DHCP server on that bridge? A fixed one: ip = \"ADDRESS/PREFIX\", gateway = \"…\"")
		}
		return addr, err
	}, backoff.WithBackOff(b), backoff.WithMaxElapsedTime(20*time.Second))
}
