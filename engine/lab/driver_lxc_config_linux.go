package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine/lab/lxc"
	"github.com/tengil/tengil/engine/pve"
)

// container is what LXC is told of a container (update_lxc_config in LXC.pm).
func (d *lxcDriver) container(id int, conf *pve.Config, root guestRoot) (lxc.Container, error) {
	c := lxc.Container{
		Name: strconv.Itoa(id), Hostname: orElse(conf.Get("hostname"), fmt.Sprintf("CT%d", id)),
		Env: conf.Env, Argv: pve.SplitEntrypoint(conf.Get("entrypoint")),
		FirstUID: mappedRoot, FirstGID: mappedRoot, Limits: limits(conf),
	}
	if len(c.Argv) == 0 {
		c.Argv = []string{"/sbin/init"}
	}
	for _, m := range root.mounts {
		source, err := d.node.real(m.Source)
		switch {
		case err != nil:
			return c, err
		case m.Key == "rootfs":
			c.RootFS = source
			continue
		case m.Key == mountEntry:
			continue // stands among the raw lines
		}
		c.Mounts = append(c.Mounts, m.lxc(source))
	}
	if conf.Get("entrypoint") != "" && pve.CompareVersions(d.node.pve, "6.1.10") >= 0 && !mountsSHM(conf) {
		c.Mounts = append(c.Mounts, lxc.Mount{Source: "shm", Target: "/dev/shm", Type: "tmpfs", Options: "rw,nosuid,nodev,create=dir"})
	}
	lines, err := d.node.included(conf.Raw)
	if err != nil {
		return c, err
	}
	for _, kv := range lines {
		if err := d.raw(&c, kv); err != nil {
			return c, badLXCLine(id, kv.Key, kv.Value)
		}
	}
	for _, i := range conf.Indexed("dev") {
		dev, err := d.device(conf.Get(fmt.Sprintf("dev%d", i)))
		if err != nil {
			return c, err
		}
		c.Devices = append(c.Devices, dev)
	}
	for _, i := range conf.Indexed("net") {
		link, err := link(id, i, conf)
		if err != nil {
			return c, err
		}
		c.Links = append(c.Links, link)
	}
	return c, nil
}

// lxc is the mount as LXC makes it, of a directory of the machine.
func (m guestMount) lxc(source string) lxc.Mount {
	options := "rbind,create=dir"
	if m.RO {
		options += ",ro"
	}
	out := lxc.Mount{Source: source, Target: m.Path, Type: "none", Options: options}
	if len(m.idMap()) > 0 {
		out.UIDs, out.GIDs = m.idRanges("u"), m.idRanges("g")
	}
	return out
}

// idRanges says as which ids of the machine those of the mount show: the entries of
// its map, and otherwise those of the container.
func (m guestMount) idRanges(kind string) []lxc.IDRange {
	var out []lxc.IDRange
	cuts := []int{0, lxc.IDs}
	for _, e := range m.idMap() {
		if e.kind != kind {
			continue
		}
		out = append(out, lxc.IDRange{Disk: e.on, Shown: mappedRoot + e.inside, Size: min(e.size, lxc.IDs-e.inside)})
		cuts = append(cuts, e.inside, e.inside+e.size, e.on-mappedRoot, e.on-mappedRoot+e.size)
	}
	mapped := len(out)
	slices.Sort(cuts)
	for i, from := range cuts[:len(cuts)-1] {
		to := cuts[i+1]
		taken := slices.ContainsFunc(out[:mapped], func(r lxc.IDRange) bool {
			inside, on := r.Shown-mappedRoot, r.Disk-mappedRoot
			return from >= inside && from < inside+r.Size || from >= on && from < on+r.Size
		})
		if from >= 0 && to <= lxc.IDs && from < to && !taken {
			out = append(out, lxc.IDRange{Disk: mappedRoot + from, Shown: mappedRoot + from, Size: to - from})
		}
	}
	return out
}

func mountsSHM(conf *pve.Config) bool {
	return slices.ContainsFunc(conf.Raw, func(kv pve.KV) bool {
		f := strings.Fields(kv.Value)
		return kv.Key == mountEntry && len(f) > 1 && strings.Trim(f[1], "/") == "dev/shm"
	})
}

// raw adds a line that a config has for LXC, with the node's paths turned into the
// machine's. What would reach the machine, such as a hook, is refused.
func (d *lxcDriver) raw(c *lxc.Container, kv pve.KV) error {
	switch {
	case kv.Key == mountEntry:
		return d.rawMount(c, kv.Value)
	case kv.Key == "lxc.console.logfile":
		at, err := d.node.real(kv.Value)
		c.Console = at
		return err
	case kv.Key == "lxc.init.groups" && kv.Value == "":
	case staysInside(kv.Key):
		c.Init = append(c.Init, lxc.KV{Key: kv.Key, Value: kv.Value})
	default:
		return fs.ErrPermission
	}
	return nil
}

// staysInside reports whether LXC may read a line as it stands: it names no file
// of the machine, runs nothing on it and gives the container nothing of it.
func staysInside(key string) bool {
	switch key {
	case "lxc.init.uid", "lxc.init.gid", "lxc.init.groups", "lxc.init.cwd", "lxc.signal.halt", "lxc.signal.reboot", "lxc.signal.stop",
		"lxc.environment", "lxc.cap.drop", "lxc.console.size", "lxc.console.rotate", "lxc.console.buffer.size":
		return true
	}
	return strings.HasPrefix(key, "lxc.prlimit.")
}

// rawMount adds a line of lxc.mount.entry.
func (d *lxcDriver) rawMount(c *lxc.Container, line string) error {
	f := strings.Fields(line)
	if len(f) < 4 {
		return fs.ErrInvalid
	}
	m := lxc.Mount{Source: unescaped(f[0]), Target: path.Join("/", unescaped(f[1])), Type: f[2], Options: f[3]}
	// Where a node makes the devices of a container before it mounts anything.
	if dev, ok := strings.CutPrefix(m.Source, fmt.Sprintf("/var/lib/lxc/%s/passthrough", c.Name)); ok {
		m.Source = filepath.Join(d.runner.DeviceDir(c.Name), path.Join("/", dev))
	} else if m.Type != "tmpfs" && m.Type != "none" || m.Type == "none" && !path.IsAbs(m.Source) {
		return fs.ErrPermission // a file system of the machine, or a place below where the lab runs
	} else if path.IsAbs(m.Source) {
		at, err := d.node.real(m.Source)
		if err != nil {
			return err
		}
		m.Source = at
	}
	c.Mounts = append(c.Mounts, m)
	return nil
}

// device makes a device of option devN one for LXC.
func (d *lxcDriver) device(value string) (lxc.Device, error) {
	dev, err := pve.ParseDevice(value)
	if err != nil {
		return lxc.Device{}, dief(255, "%v", err)
	}
	to, err := d.node.resolve(dev.Path, true)
	if err != nil {
		return lxc.Device{}, err
	}
	mode, err := strconv.ParseUint(orElse(dev.Mode, "0660"), 8, 32)
	if err != nil {
		return lxc.Device{}, dief(255, "%v", err)
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(d.node.deviceNumbers(to), "%d, %d", &major, &minor); err != nil {
		return lxc.Device{}, err
	}
	return lxc.Device{
		Target: dev.Path, Char: true, Major: major, Minor: minor,
		UID: dev.UID, GID: dev.GID, Mode: uint32(mode), ReadOnly: dev.DenyWrite,
	}, nil
}

// link is an interface. Fixed addresses of one that the node manages are set
// before PID 1 runs.
func link(id, i int, conf *pve.Config) (lxc.Link, error) {
	key := fmt.Sprintf("net%d", i)
	nic, err := pve.ParseNet(conf.Get(key))
	if err != nil {
		return lxc.Link{}, dief(255, "%v", err)
	}
	return linkTo(id, key, nic, managedNetwork(conf)), nil
}

// linkTo is the interface of a key of a config; set says that something in the
// container gives it the addresses, if the node does not.
func linkTo(id int, key string, nic pve.Net, set bool) lxc.Link {
	l := lxc.Link{
		Name: nic.Name, HWAddr: nic.HWAddr, Bridge: nic.Bridge, Host: fmt.Sprintf("veth%di%s", id, strings.TrimPrefix(key, "net")),
		MTU: nic.MTU, Down: nic.LinkDown.True(),
	}
	if !nic.HostManaged.True() && !set {
		return l
	}
	for _, text := range []string{nic.IP, nic.IP6} {
		if p, err := netip.ParsePrefix(text); err == nil { // else dhcp, manual or none
			l.Addrs = append(l.Addrs, p)
		}
	}
	for _, text := range []string{nic.GW, nic.GW6} {
		if a, err := netip.ParseAddr(text); err == nil {
			l.Gateways = append(l.Gateways, a)
		}
	}
	return l
}

// managedNetwork reports whether the container's own system sets up its network
// from the files that PVE writes.
func managedNetwork(conf *pve.Config) bool {
	return conf.Get("ostype") != "unmanaged" && conf.Get("entrypoint") == ""
}

func limits(conf *pve.Config) lxc.Limits {
	var l lxc.Limits
	if mib, err := strconv.ParseInt(conf.Get("memory"), 10, 64); err == nil {
		l.Memory = mib << 20
	}
	l.CPUs, _ = strconv.ParseFloat(conf.Get("cpulimit"), 64) // unset is none
	if cores, err := strconv.ParseFloat(conf.Get("cores"), 64); err == nil && l.CPUs == 0 {
		l.CPUs = cores
	}
	return l
}

// errEnded says that a container has ended meanwhile.
var errEnded = errors.New("the container has ended")

// running returns the run of a container, to change it.
