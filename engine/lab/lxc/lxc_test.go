package lxc

import (
	"net/netip"
	"strings"
	"testing"
)

func TestConfigTellsLXCWhatAContainerIs(t *testing.T) {
	c := Container{
		Name: "101", Hostname: "db", RootFS: "/r", FirstUID: 100000, FirstGID: 100000, Env: []string{`A= "b"  c`},
		Mounts:  []Mount{{Source: "/a b", Target: "/x y", Type: "none", Options: "bind,ro"}},
		Devices: []Device{{Target: "/dev/null", Char: true, Major: 1, Minor: 3, ReadOnly: true}},
		Links: []Link{
			{Name: "eth0", Bridge: "vmbr0", Host: "veth101i0", HWAddr: "bc:24:11:00:00:01", Addrs: []netip.Prefix{netip.MustParsePrefix("10.10.10.21/20"), netip.MustParsePrefix("fd00::1/64")}, Gateways: []netip.Addr{netip.MustParseAddr("10.10.10.1")}},
			{Name: "eth1", Bridge: "vmbr0", Host: "veth101i1", Down: true, Addrs: []netip.Prefix{netip.MustParsePrefix("10.10.10.22/24")}},
		},
		Limits: Limits{Memory: 128 << 20, CPUs: 1.5},
	}
	for _, v := range []struct {
		v2         bool
		has, lacks string
	}{
		{false, "lxc.cgroup.dir.container = lab/ct/101|lxc.cgroup.memory.limit_in_bytes = 134217728|lxc.cgroup.cpu.cfs_quota_us = 150000", "lxc.cgroup2.memory.max"},
		{true, "lxc.cgroup.dir.container = ct/101|lxc.cgroup2.memory.max = 134217728|lxc.cgroup2.cpu.max = 150000 100000", "lxc.cgroup.memory.limit_in_bytes"},
	} {
		text, err := c.config("lab", v.v2, "/devices")
		if err != nil {
			t.Fatal(err)
		}
		for want := range strings.SplitSeq(v.has+"|lxc.environment = A= \"b\"  c|lxc.mount.entry = /a\\040b x\\040y none bind,ro 0 0|"+
			"lxc.mount.entry = /devices/dev/null dev/null none bind,create=file,ro 0 0|lxc.cgroup2.devices.allow = c 1:3 r|"+
			"lxc.net.0.ipv4.address = 10.10.10.21/20 10.10.15.255|lxc.net.0.ipv6.address = fd00::1/64|lxc.net.0.ipv4.gateway = 10.10.10.1|lxc.net.1.name = eth1", "|") {
			if !strings.Contains(text, want+"\n") {
				t.Errorf("version 2 is %t: no line %q in\n%s", v.v2, want, text)
			}
		}
		for _, lacks := range []string{v.lacks, "lxc.net.1.flags", "lxc.net.1.ipv4"} {
			if strings.Contains(text, lacks) {
				t.Errorf("version 2 is %t: %q is in\n%s", v.v2, lacks, text)
			}
		}
	}
}

func TestConfigRefusesWhatEndsALine(t *testing.T) {
	for _, text := range []string{"a\nlxc.hook.start = /x", "a\rb", "a\x00b"} {
		for name, c := range map[string]Container{
			"a variable": {Env: []string{"A=" + text}}, "a host name": {Hostname: text}, "a line": {Extra: []KV{{"lxc.x", text}}},
			"a path": {Mounts: []Mount{{Source: text, Target: "/x"}}},
		} {
			if _, err := c.config("lab", false, "/devices"); err == nil {
				t.Errorf("%s with %q is taken", name, text)
			}
		}
	}
}
