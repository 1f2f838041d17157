// Package lxc runs the containers of a lab with LXC, on a machine with Linux and
// root: it writes a container's configuration, starts it and watches its PID 1, and
// runs commands in it. All of that happens inside namespaces that the lab makes for
// itself (Enter), so that no mount, process or network interface is left when
// the lab ends, whichever way.
//
// It knows nothing of Proxmox VE: what a node's options mean to LXC is decided by
// its caller.
package lxc

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// A Container is what LXC is told of one container. Paths are of the machine.
type Container struct {
	Name     string // also of its cgroups: "101"
	Hostname string
	RootFS   string
	Argv     []string // of PID 1
	Env      []string // K=V
	Init     []KV     // lxc.init.* and lxc.signal.*, as they are to stand
	Mounts   []Mount
	Devices  []Device
	Links    []Link
	Limits   Limits
	// Console is the file that gets what PID 1 prints; "" is nowhere.
	Console string
	// Extra are further lines, as they are to stand.
	Extra []KV
	// First are the ids on the machine of the container's root; it has IDs of
	// each kind.
	FirstUID, FirstGID int
}

// IDs is how many user and group ids a container has.
const IDs = 65536

// A KV is one line of a configuration.
type KV struct{ Key, Value string }

// A Mount shows a directory or file of the machine, or a new tmpfs, in a container.
type Mount struct {
	Source  string
	Target  string // absolute, in the container
	Type    string // "none" for a bind
	Options string // "bind,ro,create=dir"
	// UIDs and GIDs, if any are set, are as which ids those of the source show;
	// others show as nobody's.
	UIDs, GIDs []IDRange
}

// An IDRange maps Size ids of a file system, from Disk on, to those of the machine
// as which they show, from Shown on.
type IDRange struct{ Disk, Shown, Size int }

func (m Mount) mapped() bool { return len(m.UIDs)+len(m.GIDs) > 0 }

func (m Mount) readOnly() bool { return slices.Contains(strings.Split(m.Options, ","), "ro") }

// A Device is a device of the machine that a container may use.
type Device struct {
	Target       string // absolute, in the container
	Char         bool
	Major, Minor uint32
	UID, GID     int // in the container
	Mode         uint32
	ReadOnly     bool
}

// A Link is a network interface of a container. Addresses are set before PID 1
// runs.
type Link struct {
	Name, HWAddr, Bridge string
	Host                 string // of its other end: "veth101i0"
	MTU                  int
	Down                 bool
	Addrs                []netip.Prefix
	Gateways             []netip.Addr
}

// Limits are what a container may use, as far as the machine's cgroups can hold
// it; zero values are none.
type Limits struct {
	Memory int64   // bytes
	Swap   int64   // bytes, beside Memory
	CPUs   float64 // of time: 1.5
	Cores  int     // that it sees
}

// innerCgroup is where the processes of a container are, below the cgroup that limits
// them.
const innerCgroup = "ns"

// What the cgroups of all containers are divided into.
const (
	cgroupMonitor   = "monitor"
	cgroupPivot     = "pivot" // of a monitor that cleans up
	cgroupContainer = "ct"
)

// shared are LXC's own files, with what every unprivileged container needs.
const shared = "/usr/share/lxc/config"

// config returns the text of the configuration. cgroups is the directory below
// each hierarchy that holds the container's, v2 says whether there is one for all.
func (c Container) config(cgroups string, v2 bool, devices string) (string, error) {
	if v2 {
		cgroups = "" // the lab itself is in it: see joinCgroup
	}
	var b strings.Builder
	var bad error
	set := func(key, value string) {
		if strings.ContainsAny(value, "\n\r\x00") && bad == nil {
			bad = fmt.Errorf("%s: %q has a character that ends a line", key, value)
		}
		fmt.Fprintf(&b, "%s = %s\n", key, value)
	}
	set("lxc.include", filepath.Join(shared, "common.conf"))
	set("lxc.include", filepath.Join(shared, "userns.conf"))
	set("lxc.apparmor.profile", "unconfined")
	set("lxc.tty.max", "2")
	set("lxc.autodev", "1")
	set("lxc.cgroup.relative", "0")
	set("lxc.cgroup.dir.monitor", filepath.Join(cgroups, cgroupMonitor, c.Name))
	set("lxc.cgroup.dir.monitor.pivot", filepath.Join(cgroups, cgroupPivot, c.Name))
	set("lxc.cgroup.dir.container", filepath.Join(cgroups, cgroupContainer, c.Name))
	set("lxc.cgroup.dir.container.inner", innerCgroup)
	set("lxc.idmap", fmt.Sprintf("u 0 %d %d", c.FirstUID, IDs))
	set("lxc.idmap", fmt.Sprintf("g 0 %d %d", c.FirstGID, IDs))
	set("lxc.rootfs.path", "dir:"+c.RootFS)
	set("lxc.uts.name", c.Hostname)
	set("lxc.environment", "TERM=linux")
	for _, kv := range c.Env {
		set("lxc.environment", kv)
	}
	if c.Console != "" {
		set("lxc.console.logfile", c.Console)
	}
	for _, kv := range c.Init {
		set(kv.Key, kv.Value)
	}
	for _, m := range c.Mounts {
		set("lxc.mount.entry", m.line())
	}
	for _, d := range c.Devices {
		set("lxc.mount.entry", Mount{
			Source: filepath.Join(devices, d.Target), Target: d.Target, Type: "none", Options: "bind,create=file" + readOnly(d.ReadOnly),
		}.line())
		rule := d.rule()
		set("lxc.cgroup.devices.allow", rule)
		set("lxc.cgroup2.devices.allow", rule)
	}
	for i, l := range c.Links {
		l.config(i, set)
	}
	c.Limits.config(v2, set)
	for _, kv := range c.Extra {
		set(kv.Key, kv.Value)
	}
	return b.String(), bad
}

func readOnly(is bool) string {
	if is {
		return ",ro"
	}
	return ""
}

// line is the mount as a line of fstab(5).
func (m Mount) line() string {
	escape := strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`).Replace
	return fmt.Sprintf("%s %s %s %s 0 0", escape(m.Source), escape(strings.TrimPrefix(m.Target, "/")), m.Type, m.Options)
}

func (d Device) rule() string {
	kind := "b"
	if d.Char {
		kind = "c"
	}
	access := "rwm"
	if d.ReadOnly {
		access = "r"
	}
	return fmt.Sprintf("%s %d:%d %s", kind, d.Major, d.Minor, access)
}

func (l Link) config(i int, set func(key, value string)) {
	at := func(key string) string { return fmt.Sprintf("lxc.net.%d.%s", i, key) }
	set(at("type"), "veth")
	set(at("link"), l.Bridge)
	set(at("veth.pair"), l.Host)
	set(at("name"), l.Name)
	set(at("hwaddr"), l.HWAddr)
	if l.MTU > 0 {
		set(at("mtu"), fmt.Sprint(l.MTU))
	}
	if l.Down {
		return
	}
	set(at("flags"), "up")
	for _, a := range l.Addrs {
		set(at(family(a.Addr())+".address"), address(a))
	}
	for _, g := range l.Gateways {
		set(at(family(g)+".gateway"), g.String())
	}
}

// address is one as LXC reads it. It is told the broadcast address too, since it
// computes a wrong one.
func address(p netip.Prefix) string {
	if !p.Addr().Is4() || p.Bits() > 30 {
		return p.String()
	}
	last := p.Masked().Addr().As4()
	for i := range last {
		last[i] |= byte(0xff >> min(8, max(0, p.Bits()-8*i)))
	}
	return p.String() + " " + netip.AddrFrom4(last).String()
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "ipv4"
	}
	return "ipv6"
}

// period is the time in microseconds that a share of a processor is counted in.
const period = 100000

func (l Limits) config(v2 bool, set func(key, value string)) {
	if v2 {
		if l.Memory > 0 {
			set("lxc.cgroup2.memory.max", fmt.Sprint(l.Memory))
		}
		if l.CPUs > 0 {
			set("lxc.cgroup2.cpu.max", fmt.Sprintf("%d %d", int(l.CPUs*period), period))
		}
		return
	}
	if l.Memory > 0 {
		set("lxc.cgroup.memory.limit_in_bytes", fmt.Sprint(l.Memory))
	}
	if l.CPUs > 0 {
		set("lxc.cgroup.cpu.cfs_period_us", fmt.Sprint(period))
		set("lxc.cgroup.cpu.cfs_quota_us", fmt.Sprint(int(l.CPUs*period)))
	}
}
