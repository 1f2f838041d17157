package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// interfaces returns the interfaces inside a container, nil if it does not run.
func (c *guestCall) interfaces(id int) any {
	g := c.node.guest(id)
	if !g.Running {
		fmt.Fprintf(c.stderr, "%d doesn't exist\n", id)
		return nil
	}
	links := c.node.driver.links(id)
	up := slices.ContainsFunc(links, func(l guestLink) bool { return !l.Down })
	lo := apiInterface{HWAddr: "00:00:00:00:00:00", HW: "00:00:00:00:00:00", Name: "lo", Addrs: []apiAddress{}}
	if up {
		lo.add("127.0.0.1/8")
		lo.add("::1/128")
	}
	out := []any{lo}
	for _, l := range links {
		i := apiInterface{HWAddr: l.HWAddr, HW: l.HWAddr, Name: l.Name, Addrs: []apiAddress{}}
		if !l.Down {
			i.add(l.IP)
			i.add(l.IP6)
			i.add(linkLocal(l.HWAddr).String() + "/64")
		}
		out = append(out, i)
	}
	return out
}

type apiInterface struct {
	HWAddr string       `json:"hardware-address"`
	HW     string       `json:"hwaddr"`
	Inet   string       `json:"inet,omitempty"`
	Inet6  string       `json:"inet6,omitempty"`
	Addrs  []apiAddress `json:"ip-addresses"`
	Name   string       `json:"name"`
}

type apiAddress struct {
	Addr   string `json:"ip-address"`
	Type   string `json:"ip-address-type"`
	Prefix string `json:"prefix"`
}

// add adds an address with its prefix length; what is none is left out.
func (i *apiInterface) add(cidr string) {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return
	}
	kind := "inet"
	if p.Addr().Is6() {
		kind = "inet6"
		i.Inet6 = cidr
	} else {
		i.Inet = cidr
	}
	i.Addrs = append(i.Addrs, apiAddress{p.Addr().String(), kind, strconv.Itoa(p.Bits())})
}
