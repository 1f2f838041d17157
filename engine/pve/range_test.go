package pve

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine"
)

func addrs(texts ...string) []netip.Addr {
	out := []netip.Addr{}
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestARangeGivesAwayWhatNobodyElseHas(t *testing.T) {
	for _, c := range []struct {
		text, gateway string
		want          []netip.Addr
	}{
		{"192.168.1.200-192.168.1.202/24", "192.168.1.1", addrs("192.168.1.200", "192.168.1.201", "192.168.1.202")},
		{"10.0.0.0-10.0.0.3/30", "10.0.0.1", addrs("10.0.0.2")},
		{"10.0.0.1-10.0.0.3/24", "10.0.0.2", addrs("10.0.0.1", "10.0.0.3")},
		{"255.255.255.254-255.255.255.255/24", "255.255.255.1", addrs("255.255.255.254")},
	} {
		r, err := ParseRange(c.text, c.gateway)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := slices.Collect(r.All()); !slices.Equal(got, c.want) {
			t.Errorf("%s gives %v, want %v", c.text, got, c.want)
		}
		for _, a := range c.want {
			if !r.Has(a) {
				t.Errorf("%s has no %s", c.text, a)
			}
		}
		if r.Has(r.Gateway) || r.String() != c.text {
			t.Errorf("%s: has its gateway %v, prints as %s", c.text, r.Has(r.Gateway), r)
		}
	}
}

func TestABrokenRangeIsToldWithWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ text, gateway, want string }{
		{"192.168.1.200", "192.168.1.1", `range is "192.168.1.200", wanted first and last address`},
		{"192.168.1.200-192.168.1.249", "192.168.1.1", "wanted first and last address"},
		{"192.168.1.200-x/24", "192.168.1.1", `"x" is no IPv4 address`},
		{"fd00::1-fd00::9/64", "fd00::ff", `"fd00::1" is no IPv4 address`},
		{"192.168.1.200-192.168.1.249/31", "192.168.1.1", `prefix length is "31", wanted 1 to 30`},
		{"192.168.1.200-192.168.1.249/x", "192.168.1.1", `prefix length is "x"`},
		{"192.168.1.200-192.168.2.249/24", "192.168.1.1", "192.168.2.249 is not in the network 192.168.1.0/24 of 192.168.1.200"},
		{"192.168.1.249-192.168.1.200/24", "192.168.1.1", "the last address, 192.168.1.200, comes before the first"},
		{"192.168.1.200-192.168.1.249/24", "", "but there is no gateway"},
		{"192.168.1.200-192.168.1.249/24", "192.168.2.1", "gateway is 192.168.2.1, wanted an address of a host in the network 192.168.1.0/24"},
		{"192.168.1.200-192.168.1.249/24", "192.168.1.255", "gateway is 192.168.1.255, wanted an address of a host"},
		{"192.168.1.200-192.168.1.249/24", "router", `"router" is no IPv4 address`},
		{"", "192.168.1.1", "there is no range that it is for"},
	} {
		if _, err := ParseRange(c.text, c.gateway); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %q: %v, want %q", c.text, c.gateway, err, c.want)
		}
	}
}

func TestABrokenRangeKeepsAHostFromBeingUsed(t *testing.T) {
	_, err := ParseFacts(engine.NewAnswers(node()), engine.Choices{Range: "192.168.1.9-192.168.1.2/24", Gateway: "192.168.1.1"})
	if err == nil || !strings.Contains(err.Error(), "comes before the first") {
		t.Errorf("error is %v", err)
	}
}

func TestStaticAddressesOfGuests(t *testing.T) {
	ct := "hostname: a\nnet0: name=eth0,bridge=vmbr0,gw=10.0.0.1,hwaddr=BC:24:11:00:00:01,ip=10.0.0.5/24,type=veth\nnet1: name=eth1,ip=dhcp\n" +
		"net2: name=eth2,ip=10.1.0.5/16,ip6=fd00::5/64\n\n[snap]\nnet0: name=eth0,ip=10.0.0.9/24\n"
	vm := "cores: 2\nipconfig0: gw=10.0.0.1,ip=10.0.0.7/24\nipconfig1: ip=dhcp\nnet0: virtio=BC:24:11:00:00:02,bridge=vmbr0\n"
	if got := StaticAddresses([]byte(ct)); !slices.Equal(got, addrs("10.0.0.5", "10.1.0.5")) {
		t.Errorf("container: %v", got)
	}
	if got := StaticAddresses([]byte(vm)); !slices.Equal(got, addrs("10.0.0.7")) {
		t.Errorf("virtual machine: %v", got)
	}
	ifaces := "auto vmbr0\niface vmbr0 inet static\n\taddress 10.0.0.2/24\n\tgateway 10.0.0.1\niface vmbr0 inet6 static\n\taddress fd00::2/64\n"
	if got := ParseInterfaceAddresses([]byte(ifaces)); !slices.Equal(got, addrs("10.0.0.2")) {
		t.Errorf("node: %v", got)
	}
}
