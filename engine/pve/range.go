package pve

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine"
)

// A Range is the IPv4 addresses that a host's owner sets aside for containers.
// The zero Range is none.
type Range struct {
	Net         netip.Prefix // of the network, host bits clear: 192.168.1.0/24
	First, Last netip.Addr
	Gateway     netip.Addr
}

// longestPrefix leaves a network with two hosts: a gateway and a container.
const longestPrefix = 30

// ParseRange reads Choices.Range, "192.168.1.200-192.168.1.249/24", and
// Choices.Gateway. Both lie in one network; a gateway among the addresses is
// allowed and never given away. Both "" is the zero Range.
func ParseRange(text, gateway string) (Range, error) {
	if text == "" && gateway == "" {
		return Range{}, nil
	}
	const form = `"192.168.1.200-192.168.1.249/24"`
	if text == "" {
		return Range{}, engine.WithHint(fmt.Errorf("gateway is %q, but there is no range that it is for", gateway),
			`give the addresses of containers too: --range, in the config file "range", such as `+form)
	}
	first, rest, ok := strings.Cut(text, "-")
	last, bits, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return Range{}, fmt.Errorf("range is %q, wanted first and last address and the network's prefix length, such as %s", text, form)
	}
	var r Range
	var err1, err2 error
	r.First, err1 = parseIPv4(first)
	r.Last, err2 = parseIPv4(last)
	if err := errors.Join(err1, err2); err != nil {
		return Range{}, fmt.Errorf("range is %q: %w", text, err)
	}
	p, err := netip.ParsePrefix(first + "/" + bits)
	if err != nil || p.Bits() < 1 || p.Bits() > longestPrefix {
		return Range{}, fmt.Errorf("range is %q: prefix length is %q, wanted 1 to %d", text, bits, longestPrefix)
	}
	r.Net = p.Masked()
	switch {
	case !r.Net.Contains(r.Last):
		return Range{}, fmt.Errorf("range is %q: %s is not in the network %s of %s", text, r.Last, r.Net, r.First)
	case r.Last.Less(r.First):
		return Range{}, fmt.Errorf("range is %q: the last address, %s, comes before the first", text, r.Last)
	case gateway == "":
		return Range{}, engine.WithHint(fmt.Errorf("range is %q, but there is no gateway", text),
			fmt.Sprintf(`name the router of %s: --gateway ADDRESS, in the config file "gateway"`, r.Net))
	}
	if r.Gateway, err = parseIPv4(gateway); err != nil {
		return Range{}, fmt.Errorf("gateway is %q: %w", gateway, err)
	}
	if !r.Net.Contains(r.Gateway) || r.Gateway == r.Net.Addr() || r.Gateway == broadcast(r.Net) {
		return Range{}, fmt.Errorf("gateway is %s, wanted an address of a host in the network %s of the range", r.Gateway, r.Net)
	}
	return r, nil
}

func parseIPv4(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return netip.Addr{}, fmt.Errorf("%q is no IPv4 address", s)
	}
	return a, nil
}

// broadcast returns the last address of an IPv4 network.
func broadcast(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(b)
}

// IsZero reports whether there is no range.
func (r Range) IsZero() bool { return !r.First.IsValid() }

// Has reports whether a container may have the address.
func (r Range) Has(a netip.Addr) bool {
	return !r.IsZero() && a.Is4() && !a.Less(r.First) && !r.Last.Less(a) && !r.reserved(a)
}

// reserved are the network itself, its broadcast address and the gateway.
func (r Range) reserved(a netip.Addr) bool {
	return a == r.Net.Addr() || a == broadcast(r.Net) || a == r.Gateway
}

// All returns the addresses that containers may have, ascending.
func (r Range) All() iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for a := r.First; a.IsValid() && !r.Last.Less(a); a = a.Next() { // beyond 255.255.255.255 there is no valid one
			if !r.reserved(a) && !yield(a) {
				return
			}
		}
	}
}

// CIDR returns an address of the range as netN writes it: with the prefix length.
func (r Range) CIDR(a netip.Addr) string { return netip.PrefixFrom(a, r.Net.Bits()).String() }

// String returns the range as the configuration writes it.
func (r Range) String() string { return fmt.Sprintf("%s-%s/%d", r.First, r.Last, r.Net.Bits()) }

// InterfacesFile is where a node says which addresses it has itself (interfaces(5)).
const InterfacesFile = "/etc/network/interfaces"

// ParseInterfaceAddresses returns the IPv4 addresses that InterfacesFile gives the
// node. What it cannot read it passes over: the file is for ifupdown to judge.
func ParseInterfaceAddresses(data []byte) []netip.Addr {
	var out []netip.Addr
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) != 2 || f[0] != "address" {
			continue
		}
		text, _, _ := strings.Cut(f[1], "/")
		if a, err := parseIPv4(text); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// StaticAddresses returns the fixed IPv4 addresses that a guest's config gives its
// interfaces: of containers in netN, of virtual machines in ipconfigN, which
// cloud-init hands to the system inside.
func StaticAddresses(data []byte) []netip.Addr {
	var out []netip.Addr
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "[") {
			break // pending changes and snapshots follow
		}
		key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		family := strings.TrimRight(key, "0123456789")
		if !ok || family == key || family != "net" && family != "ipconfig" {
			continue
		}
		for prop := range strings.SplitSeq(strings.TrimSpace(value), ",") {
			ip, ok := strings.CutPrefix(prop, "ip=")
			if !ok {
				continue
			}
			text, _, _ := strings.Cut(ip, "/")
			if a, err := parseIPv4(text); err == nil {
				out = append(out, a)
			}
		}
	}
	return out
}

// VMMemory returns the memory that the config of a virtual machine gives it (512M
// where it says nothing), and whether it starts with its node.
func VMMemory(data []byte) (size engine.Size, onboot bool) {
	size = 512 * engine.MiB
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "[") {
			break // pending changes and snapshots follow
		}
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "memory":
			value, _, _ = strings.Cut(strings.TrimPrefix(value, "current="), ",")
			if n, err := strconv.ParseInt(value, 10, 32); err == nil {
				size = engine.Size(n) * engine.MiB
			}
		case "onboot":
			b, err := ParseBool(value)
			onboot = err == nil && b
		}
	}
	return size, onboot
}
