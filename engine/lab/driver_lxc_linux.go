package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tengil/tengil/engine/lab/lxc"
	"github.com/tengil/tengil/engine/pve"
)

// An lxcDriver runs containers with LXC. Where a node's own LXC has an error of
// its own, the lab's has that of the machine's LXC.
type lxcDriver struct {
	node   *node
	runner *lxc.Runner
	dhcp   *exec.Cmd

	mu   sync.Mutex
	runs map[int]*lxc.Run
}

// useLXC has the containers of the node run for real.
func (n *node) useLXC(r *Real) error {
	runner, err := lxc.NewRunner(filepath.Join(n.dir, "lxc"), r.Cgroups)
	if err != nil {
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
		return nil, &lxcFailure{"", fmt.Sprintf("unable to get PID for CT %d (not running?)", id)}
	case errors.As(err, &failed):
		return nil, &lxcFailure{failed.Said, startFailed(id)}
	case err != nil:
		return nil, err
	}
	d.mu.Lock()
	d.runs[id] = run
	d.mu.Unlock()
	d.lease(c, id, run, conf)
	return &boot{alive: true, argv: spec.Argv, ended: run.Done}, nil
}

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
		options := "rbind,create=dir"
		if m.RO {
			options += ",ro"
		}
		c.Mounts = append(c.Mounts, lxc.Mount{Source: source, Target: m.Path, Type: "none", Options: options})
	}
	if conf.Get("entrypoint") != "" && pve.CompareVersions(d.node.pve, "6.1.10") >= 0 && !mountsSHM(conf) {
		c.Mounts = append(c.Mounts, lxc.Mount{Source: "shm", Target: "/dev/shm", Type: "tmpfs", Options: "rw,nosuid,nodev,create=dir"})
	}
	for _, kv := range conf.Raw {
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

func mountsSHM(conf *pve.Config) bool {
	return slices.ContainsFunc(conf.Raw, func(kv pve.KV) bool {
		f := strings.Fields(kv.Value)
		return kv.Key == mountEntry && len(f) > 1 && strings.Trim(f[1], "/") == "dev/shm"
	})
}

// raw adds a line that a config has for LXC, with the node's paths turned into the
// machine's. Hooks do not run: they would run on the machine.
func (d *lxcDriver) raw(c *lxc.Container, kv pve.KV) error {
	switch {
	case strings.HasPrefix(kv.Key, "lxc.hook."):
		return fs.ErrPermission
	case kv.Key == mountEntry:
		return d.rawMount(c, kv.Value)
	case kv.Key == "lxc.console.logfile":
		at, err := d.node.real(kv.Value)
		c.Console = at
		return err
	case kv.Key == "lxc.init.groups" && kv.Value == "":
	default:
		c.Init = append(c.Init, lxc.KV{Key: kv.Key, Value: kv.Value})
	}
	return nil
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
		m.Source = filepath.Join(d.runner.DeviceDir(c.Name), dev)
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
	nic, err := pve.ParseNet(conf.Get(fmt.Sprintf("net%d", i)))
	if err != nil {
		return lxc.Link{}, dief(255, "%v", err)
	}
	l := lxc.Link{
		Name: nic.Name, HWAddr: nic.HWAddr, Bridge: nic.Bridge, Host: fmt.Sprintf("veth%di%d", id, i),
		MTU: nic.MTU, Down: nic.LinkDown.True(),
	}
	if !nic.HostManaged.True() && !managedNetwork(conf) {
		return l, nil
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
	return l, nil
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
func (d *lxcDriver) links(id int) []guestLink {
	run := d.run(id)
	if run == nil {
		return nil
	}
	out, err := exec.Command("nsenter", "-t", strconv.Itoa(run.PID), "-n", "ip", "-j", "addr").Output()
	if err != nil {
		d.node.log.Debug("interfaces", "ct", id, "err", err)
		return nil // it has just ended
	}
	var all []struct {
		Name  string `json:"ifname"`
		HW    string `json:"address"`
		Addrs []struct {
			Family string `json:"family"`
			Local  string `json:"local"`
			Prefix int    `json:"prefixlen"`
			Scope  string `json:"scope"`
		} `json:"addr_info"`
	}
	if err := json.Unmarshal(out, &all); err != nil {
		d.node.log.Error("interfaces", "ct", id, "err", err)
		return nil
	}
	var links []guestLink
	for _, i := range all {
		if i.Name == "lo" {
			continue
		}
		l := guestLink{Name: i.Name, HWAddr: i.HW, Down: len(i.Addrs) == 0}
		for _, a := range i.Addrs {
			cidr := fmt.Sprintf("%s/%d", a.Local, a.Prefix)
			switch {
			case a.Family == "inet" && l.IP == "":
				l.IP = cidr
			case a.Family == "inet6" && a.Scope == "global" && l.IP6 == "":
				l.IP6 = cidr
			}
		}
		links = append(links, l)
	}
	return links
}

// serveDHCP serves addresses on the bridge, as the network of a real node has it.
func (d *lxcDriver) serveDHCP() error {
	program, err := exec.LookPath("dnsmasq")
	if err != nil {
		d.node.log.Info("no dnsmasq: containers with ip=dhcp get no address")
		return nil
	}
	dir := filepath.Join(d.node.dir, "lxc")
	d.dhcp = exec.Command(program, "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface="+lxc.Bridge, "--bind-interfaces",
		"--except-interface=lo", "--no-resolv", "--no-hosts", "--no-ping", "--user=root", "--group=root", "--pid-file=", "--log-facility=-",
		"--dhcp-authoritative", "--dhcp-leasefile="+filepath.Join(dir, "leases"),
		fmt.Sprintf("--dhcp-range=%s%d,%s%d,12h", dhcpNet, dhcpFirst, dhcpNet, dhcpLast))
	d.dhcp.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return d.dhcp.Start()
}

// lease gets the addresses of the interfaces that the node manages with DHCP, one
// after the other, when PID 1 runs already (manage_dhclient in LXC.pm).
func (d *lxcDriver) lease(c *guestCall, id int, run *lxc.Run, conf *pve.Config) {
	for _, i := range conf.Indexed("net") {
		nic, err := pve.ParseNet(conf.Get(fmt.Sprintf("net%d", i)))
		if err != nil || nic.IP != "dhcp" || nic.LinkDown.True() || !nic.HostManaged.True() && !managedNetwork(conf) {
			continue
		}
		if said, err := d.dhclient(id, run, nic.Name); err != nil {
			fmt.Fprintf(c.warn, "DHCP failed - %v: %s\n", err, said)
		}
	}
}

// dhclient runs the node's DHCP client in the container's network.
func (d *lxcDriver) dhclient(id int, run *lxc.Run, name string) (said string, err error) {
	dir := filepath.Join(d.node.dir, "lxc", strconv.Itoa(id))
	ctx, cancel := context.WithTimeout(context.Background(), dhcpWait)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "nsenter", "-t", strconv.Itoa(run.PID), "-n", "-u", "dhclient", "-1",
		"-pf", filepath.Join(dir, "dhclient-"+name+".pid"), "-lf", filepath.Join(dir, "dhclient-"+name+".leases"),
		"-e", fmt.Sprintf("ROOTFS=/proc/%d/root", run.PID), "-sf", "/usr/share/lxc/hooks/dhclient-script", name)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // the client stays, with the same streams
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return out.String(), err
}

// dhcpWait bounds how long an address is waited for.
const dhcpWait = 60 * time.Second

// kernelOwner is who a file belongs to.
func (n *node) kernelOwner(fi fs.FileInfo) owner {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return owner{Mode: defaultMode(fi)}
	}
	return owner{UID: int(st.Uid), GID: int(st.Gid), Mode: fs.FileMode(st.Mode & 0o7777)}
}

// setKernelOwner gives a file of the node to somebody.
func (n *node) setKernelOwner(name string, o owner) {
	if err := os.Lchown(n.host(name), o.UID, o.GID); err != nil {
		n.log.Error("owner", "file", name, "err", err)
	}
	n.setKernelMode(name, o.Mode) // after the owner, which takes setuid away
}

func (n *node) setKernelMode(name string, mode fs.FileMode) {
	at := n.host(name)
	fi, err := os.Lstat(at)
	if err == nil && fi.Mode()&fs.ModeSymlink == 0 {
		err = unix.Chmod(at, uint32(mode&0o7777))
	}
	if err != nil {
		n.log.Error("mode", "file", name, "err", err)
	}
}

// setXattr sets an extended attribute of a file of a container's root. A
// capability counts in the container only, as one does that is set inside.
func (n *node) setXattr(name, attr, value string) error {
	data := []byte(value)
	const v2, v3 = 0x02, 0x03 // of the revision, the topmost byte of the first word
	if attr == "security.capability" && len(data) == 20 && data[3] == v2 {
		data[3] = v3
		data = binary.LittleEndian.AppendUint32(data, mappedRoot)
	}
	return unix.Lsetxattr(n.host(name), attr, data, 0)
}
