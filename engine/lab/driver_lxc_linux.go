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

// An lxcDriver runs containers with LXC. The words of an error are those of the
// machine's LXC, as PVE hands on those of the node's.
type lxcDriver struct {
	node   *node
	runner *lxc.Runner
	dhcp   *exec.Cmd

	mu   sync.Mutex
	runs map[int]*lxc.Run
}

// useLXC has the containers of the node run for real.
func (n *node) useLXC(r *Real) error {
	runner, err := lxc.NewRunner(n.dir, r.Cgroups)
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
		return nil, endedAtOnce(id)
	case errors.As(err, &failed):
		return nil, &lxcFailure{failed.Said, startFailed(id)}
	case err != nil:
		return nil, err
	}
	d.mu.Lock()
	d.runs[id] = run
	d.mu.Unlock()
	d.lease(c, id, run, conf)
	d.node.background.Go(func() {
		<-run.Done
		endClients(run)
	})
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
func (d *lxcDriver) running(id int) (*lxc.Run, error) {
	if run := d.run(id); run != nil {
		return run, nil
	}
	return nil, errEnded
}

func (d *lxcDriver) plugLink(id int, key string, nic pve.Net) error {
	run, err := d.running(id)
	if err != nil {
		return err
	}
	if err := d.runner.PlugLink(run, linkTo(id, key, nic, true)); err != nil {
		return err
	}
	return d.leaseHot(id, run, nic)
}

func (d *lxcDriver) unplugLink(id int, key string) error {
	return d.runner.UnplugLink(linkTo(id, key, pve.Net{}, false))
}

func (d *lxcDriver) address(id int, key string, nic pve.Net) error {
	run, err := d.running(id)
	if err != nil {
		return err
	}
	endClients(run, nic.Name)
	if err := d.runner.Address(run, linkTo(id, key, nic, true)); err != nil {
		return err
	}
	return d.leaseHot(id, run, nic)
}

// leaseHot gets the address of an interface that was plugged, if it is to have one
// by DHCP.
func (d *lxcDriver) leaseHot(id int, run *lxc.Run, nic pve.Net) error {
	if nic.IP != "dhcp" || nic.LinkDown.True() {
		return nil
	}
	if said, err := d.dhclient(id, run, nic.Name); err != nil {
		return fmt.Errorf("DHCP failed - %w: %s", err, said)
	}
	return nil
}

func (d *lxcDriver) plugMount(id int, m guestMount) error {
	run, err := d.running(id)
	if err != nil {
		return err
	}
	source, err := d.node.real(m.Source)
	if err != nil {
		return err
	}
	return d.runner.PlugMount(run, m.lxc(source))
}

func (d *lxcDriver) plugDevice(id int, value string) error {
	run, err := d.running(id)
	if err != nil {
		return err
	}
	dev, err := d.device(value)
	if err != nil {
		return err
	}
	return d.runner.PlugDevice(strconv.Itoa(id), run, dev, mappedRoot, mappedRoot)
}

func (d *lxcDriver) limit(id int, conf *pve.Config) error {
	run, err := d.running(id)
	if err != nil {
		return err
	}
	return d.runner.SetLimits(run, limits(conf))
}

// freeze leaves one that ends meanwhile alone.
func (d *lxcDriver) freeze(id int) (thaw func()) {
	name := strconv.Itoa(id)
	if err := d.runner.Freeze(name); err != nil {
		d.node.log.Error("freeze", "ct", id, "err", err)
		return func() {}
	}
	return func() {
		if err := d.runner.Thaw(name); err != nil {
			d.node.log.Error("thaw", "ct", id, "err", err)
		}
	}
}

func (d *lxcDriver) readFile(id int, name string) ([]byte, error) {
	run, err := d.running(id)
	if err != nil {
		return nil, err
	}
	return run.ReadInside(name)
}

func (d *lxcDriver) writeFile(id int, name string, data []byte, o owner) error {
	run, err := d.running(id)
	if err != nil {
		return err
	}
	return run.WriteInside(name, data, o.UID, o.GID, uint32(o.Mode))
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
		"--dhcp-authoritative", "--dhcp-sequential-ip", "--dhcp-leasefile="+filepath.Join(dir, "leases"),
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
		"-e", clientMark(run), "-sf", "/usr/share/lxc/hooks/dhclient-script", name)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // the client stays, with the same streams
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	select {
	case <-run.Done: // meanwhile; the client may have come after its clients were ended
		endClients(run)
	default:
	}
	return out.String(), err
}

// clientMark is an argument of the DHCP clients of a run, and of no others.
func clientMark(run *lxc.Run) string { return fmt.Sprintf("ROOTFS=/proc/%d/root", run.PID) }

// endClients ends the DHCP clients of a run, of some interfaces or of all. It looks
// for them: when a client has its address and goes to the background, its file with
// its number is not written yet.
func endClients(run *lxc.Run, names ...string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline") // it is a pattern
	for _, file := range files {
		line, _ := os.ReadFile(file) // it may have ended
		argv := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
		if !slices.Contains(argv, clientMark(run)) || len(names) > 0 && !slices.Contains(names, argv[len(argv)-1]) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL) // as a node does, so that no lease is given back
		}
	}
}

// dhcpWait bounds how long an address is waited for.
const dhcpWait = 60 * time.Second

// kernelBind mounts a directory of the machine at another, which is made.
func kernelBind(source, target string) error {
	if err := os.Mkdir(target, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return &fs.PathError{Op: "mount", Path: target, Err: err}
	}
	return nil
}

// kernelUnbind undoes kernelBind. After a lab that was killed nothing is mounted.
func kernelUnbind(target string) error {
	err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "umount", Path: target, Err: err}
	}
	return nil
}

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
