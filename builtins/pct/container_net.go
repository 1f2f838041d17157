package pct

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

func (c *container) fillNet(a engine.Args) error {
	n := pve.Net{Name: "eth0", Bridge: a.String("bridge"), GW: a.String("gateway"), IP6: a.String("ip6"), GW6: a.String("gateway6"),
		HostManaged: pve.On, Tag: int(a.Int("vlan")), MTU: int(a.Int("mtu")), HWAddr: strings.ToUpper(a.String("mac"))}
	if n.Bridge == "" {
		n.Bridge = c.facts.Default.Bridge
	}
	if !slices.Contains(c.facts.Bridges, n.Bridge) && !c.facts.Imagined {
		return engine.ArgErrorf("bridge", "no bridge %q on this host; there are: %s", n.Bridge, strings.Join(c.facts.Bridges, ", "))
	}
	if a.Bool("firewall") {
		n.Firewall = pve.On
	}
	switch ip := a.String("ip"); ip {
	case "none":
	case "auto":
		var err error
		if c.pool, err = c.rangeFor(n); err != nil {
			return engine.ArgErrorf("ip", "%w", err)
		}
		if c.auto = !c.pool.IsZero(); !c.auto {
			n.IP = "dhcp"
		}
	default:
		n.IP = ip
	}
	for _, check := range []struct {
		param, value string
		ok           bool
		want         string
	}{
		{"ip", n.IP, n.IP == "" || n.IP == "dhcp" || isPrefix(n.IP, false), `an address with prefix length such as "192.168.1.20/24", "auto", "dhcp" or "none"`},
		{"ip6", n.IP6, n.IP6 == "" || n.IP6 == "dhcp" || isPrefix(n.IP6, true), `an address with prefix length such as "fd00::20/64", or "dhcp" (SLAAC does not work with interfaces that the node manages)`},
		{"gateway", n.GW, n.GW == "" || isAddr(n.GW, false) && isPrefix(n.IP, false), "an IPv4 address, together with a fixed ip"},
		{"gateway6", n.GW6, n.GW6 == "" || isAddr(n.GW6, true) && isPrefix(n.IP6, true), "an IPv6 address, together with a fixed ip6"},
		{"mac", n.HWAddr, n.HWAddr == "" || macAddress.MatchString(n.HWAddr), "a unicast MAC address such as BC:24:11:00:00:01"},
		{"vlan", strconv.Itoa(n.Tag), !a.Has("vlan") || n.Tag >= 1 && n.Tag <= 4094, "1 to 4094"},
		{"mtu", strconv.Itoa(n.MTU), !a.Has("mtu") || n.MTU >= 64 && n.MTU <= 65535, "64 to 65535"},
	} {
		if !check.ok {
			return engine.ArgErrorf(check.param, "got %q, wanted %s", check.value, check.want)
		}
	}
	c.net = n
	return c.fillDNS(a)
}

// rangeFor returns the host's range where it is for this interface: on the host's
// bridge, outside of any VLAN.
func (c *container) rangeFor(n pve.Net) (pve.Range, error) {
	if n.Bridge != c.facts.Default.Bridge || n.Tag != 0 {
		return pve.Range{}, nil
	}
	return pve.ParseRange(c.facts.Default.Range, c.facts.Default.Gateway)
}

func (c *container) fillDNS(a engine.Args) error {
	servers := a.Strings("nameserver")
	if !a.Has("nameserver") {
		servers = strings.Fields(c.facts.Default.Nameserver)
	}
	for _, s := range servers {
		if _, err := netip.ParseAddr(s); err != nil {
			return engine.ArgErrorf("nameserver", "got %q, wanted an IP address", s)
		}
	}
	c.nameserver = strings.Join(servers, " ")
	c.searchdomain = a.String("searchdomain")
	for _, label := range strings.Split(c.searchdomain, ".") {
		if c.searchdomain != "" && !dnsLabel.MatchString(label) {
			return engine.ArgErrorf("searchdomain", "%q is no DNS name", c.searchdomain)
		}
	}
	return nil
}

// macAddress has the lowest bit of the first byte clear (pve-common's mac-addr format).
var macAddress = regexp.MustCompile(`^[0-9A-F][02468ACE](:[0-9A-F]{2}){5}$`)

func isPrefix(s string, six bool) bool {
	p, err := netip.ParsePrefix(s)
	return err == nil && p.Addr().Is6() == six && p.Addr().Zone() == ""
}

func isAddr(s string, six bool) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6() == six && a.Zone() == ""
}
