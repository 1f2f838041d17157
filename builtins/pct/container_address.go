package pct

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// vmGlob matches the configs of all virtual machines of the cluster.
const vmGlob = "/etc/pve/nodes/*/qemu-server/*.conf"

// addressAsks ask who has which fixed address, besides GuestAsks.
func addressAsks() []engine.Ask {
	return []engine.Ask{engine.AskGlob(vmGlob), engine.AskFile(pve.InterfacesFile), engine.AskGlob(record.AllIntentsGlob())}
}

// A given is the fixed IPv4 address of one container of the recipe.
type given struct {
	ip netip.Addr // the zero Addr where it cannot have one
	// refused says why it cannot, or why it must not have the one that it asks for.
	refused, hint string
}

// users tell who has an address: "CT 105 (db of immich)", "node pve1".
type users map[netip.Addr]string

// claim notes that who has the address. Of several it keeps the same one always.
func (u users) claim(who string, ip netip.Addr) {
	if was, taken := u[ip]; !taken || who < was {
		u[ip] = who
	}
}

// addresses returns which address each container of the recipe has, by name. It
// follows from the recipe and the answers alone: a container keeps the one that
// it has, the others get the lowest free ones in recipe order.
func (c *container) addresses(a *engine.Answers, g *Guests) (map[string]given, error) {
	return engine.Parsed(a, "addresses "+c.app, func(a *engine.Answers) (map[string]given, error) {
		members := c.fleet.all()
		used, err := usedAddresses(a, g, c.facts.Node, c.app, members)
		if err != nil {
			return nil, err
		}
		return allocate(members, used, g), nil
	})
}

// usedAddresses returns who has which address, without the containers of the recipe.
func usedAddresses(a *engine.Answers, g *Guests, node, app string, members []*container) (users, error) {
	used := users{}
	if data, err := a.File(pve.InterfacesFile); err == nil {
		for _, ip := range pve.ParseInterfaceAddresses(data) {
			used.claim("node "+node, ip)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	vms, err := a.Glob(vmGlob)
	if err != nil {
		return nil, err
	}
	for name, data := range vms {
		for _, ip := range pve.StaticAddresses(data) {
			used.claim("VM "+strings.TrimSuffix(path.Base(name), ".conf"), ip)
		}
	}
	intents, err := record.AllIntents(a)
	if err != nil {
		return nil, err
	}
	for other, all := range intents {
		for _, i := range all {
			if ip, err := netip.ParseAddr(i.Address); err == nil && other != app {
				used.claim(fmt.Sprintf("CT %d, which %s is making", i.VMID, other), ip)
			}
		}
	}
	mine := map[*Guest]bool{}
	for _, m := range members {
		for _, guest := range g.Named(app, m.name) {
			mine[guest] = true
		}
	}
	for _, guest := range g.ByID {
		if mine[guest] {
			continue
		}
		for _, ip := range guest.addresses() {
			used.claim(guest.String(), ip)
		}
	}
	return used, nil
}

// addresses are the fixed IPv4 addresses of all interfaces.
func (g *Guest) addresses() []netip.Addr {
	var out []netip.Addr
	for _, i := range g.Config.Indexed("net") {
		n, err := pve.ParseNet(g.Config.Get(fmt.Sprintf("net%d", i)))
		if err != nil {
			continue // the API tells what is wrong with it; it gives no address
		}
		if p, err := netip.ParsePrefix(n.IP); err == nil && p.Addr().Is4() {
			out = append(out, p.Addr())
		}
	}
	return out
}

// String names a container for people: "CT 105 (db of immich)".
func (g *Guest) String() string {
	switch host := g.Config.Get("hostname"); {
	case g.Mine:
		return fmt.Sprintf("CT %d (%s of %s)", g.VMID, g.ID.Name, g.ID.App)
	case host != "":
		return fmt.Sprintf("CT %d (%s)", g.VMID, host)
	}
	return fmt.Sprintf("CT %d", g.VMID)
}

// allocate gives the containers their addresses: first those that the recipe
// names, then those that they have, then the lowest free ones.
func allocate(members []*container, used users, g *Guests) map[string]given {
	out := map[string]given{}
	for _, m := range members {
		ip, fixed := m.recipeIP()
		if !fixed {
			continue
		}
		out[m.name] = given{ip: ip}
		if who, taken := used[ip]; taken {
			out[m.name] = given{ip: ip, refused: fmt.Sprintf("%s has the address %s", who, ip), hint: "choose another ip, or leave it out"}
			continue
		}
		used.claim("container "+m.name+" of this recipe", ip)
	}
	for _, m := range members {
		if !m.auto {
			continue
		}
		if ip, ok := m.keeps(used, g); ok {
			out[m.name] = given{ip: ip}
			used.claim("container "+m.name+" of this recipe", ip)
		}
	}
	for _, m := range members {
		if _, done := out[m.name]; done || !m.auto {
			continue
		}
		out[m.name] = m.lowest(used)
	}
	return out
}

// recipeIP returns the IPv4 address that the recipe names.
func (c *container) recipeIP() (netip.Addr, bool) {
	p, err := netip.ParsePrefix(c.net.IP)
	return p.Addr(), err == nil
}

// keeps returns the address of the range that the container has, or the one that
// it is to replace: the new one takes over when the old one has stopped.
func (c *container) keeps(used users, g *Guests) (netip.Addr, bool) {
	same := g.Named(c.app, c.name)
	for _, guest := range slices.Backward(same) {
		p, err := netip.ParsePrefix(guest.net0().IP)
		if err != nil || !c.pool.Has(p.Addr()) {
			continue
		}
		if _, taken := used[p.Addr()]; !taken || g.first(p.Addr(), guest) {
			return p.Addr(), true
		}
	}
	return netip.Addr{}, false
}

// first reports whether all that have the address are containers of tengil with
// higher ids: of two runs that chose the same one at the same moment, exactly one
// gives way.
func (g *Guests) first(ip netip.Addr, guest *Guest) bool {
	for _, other := range g.ByID {
		same := other.ID.App == guest.ID.App && other.ID.Name == guest.ID.Name
		if slices.Contains(other.addresses(), ip) && !(other.Mine && (same || other.VMID >= guest.VMID)) {
			return false
		}
	}
	return true
}

func (c *container) lowest(used users) given {
	n := 0
	for ip := range c.pool.All() {
		if _, taken := used[ip]; !taken {
			used.claim("container "+c.name+" of this recipe", ip)
			return given{ip: ip}
		}
		n++
	}
	return given{refused: fmt.Sprintf("all %d addresses of the host's range %s are taken", n, c.pool),
		hint: "make the range of the host wider (docs/hosts.md), or give an address with ip and gateway, or ip = \"dhcp\""}
}

// at returns the container with what the observation gave it: its address, and the
// key that seals what is not shown.
func (c *container) at(f *found) *container {
	d := *c
	d.sealKey, d.logConf = f.sealKey, f.logConf
	if c.auto && f.given.ip.IsValid() {
		d.net.IP, d.net.GW = c.pool.CIDR(f.given.ip), c.pool.Gateway.String()
	}
	return &d
}

// refusedAddress refuses an address that cannot be had.
func (f *found) refusedAddress() (engine.Change, bool) {
	if f.given.refused == "" {
		return engine.Change{}, false
	}
	to := ""
	if f.given.ip.IsValid() {
		to = f.given.ip.String()
	}
	return engine.Change{Action: engine.AdoptRefused, Field: "ip", To: to, Why: f.given.refused, Hint: f.given.hint}, true
}

// checkAddress looks once more, before a start, whether nobody has taken the
// address since the plan was made: runs of two apps know nothing of each other.
func (c *container) checkAddress(ctx context.Context, h engine.Host, vmid int) error {
	ip, fixed := c.recipeIP()
	if !c.auto || !fixed {
		return nil
	}
	a, err := h.Batch(ctx, guestAsks())
	if err != nil {
		return err
	}
	g, err := parseConfigs(a)
	if err != nil {
		return err
	}
	for _, other := range g.ByID {
		same := other.Mine && other.ID.App == c.app && other.ID.Name == c.name
		if !same && slices.Contains(other.addresses(), ip) && !(other.Mine && other.VMID > vmid) {
			return engine.WithHint(fmt.Errorf("%s has taken the address %s since the plan was made", other, ip), "run it again: the new plan chooses another one")
		}
	}
	return nil
}
