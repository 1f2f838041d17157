package lab

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tengil/tengil/engine/pve"
)

// pctStart starts a container (vm_start in API2/LXC/Status.pm).
func pctStart(c *guestCall) error {
	if c.node.guest(c.id).Running {
		return dief(255, "CT %d already running", c.id)
	}
	return c.worker("vzstart", func() error {
		if _, err := c.node.guestConfig(c.id); err != nil {
			return err
		}
		release, err := c.lockConfig(c.id, configLockWait)
		if err != nil {
			return err
		}
		defer release()
		return c.startGuest(c.id)
	})
}

// A lxcFailure is a start that LXC gave up: what it printed, and PVE's last word.
type lxcFailure struct{ said, last string }

func (e *lxcFailure) Error() string { return e.last }

// startGuest starts a container whose lock the caller holds.
func (c *guestCall) startGuest(id int) error {
	conf, err := c.loadConfig(id)
	if err != nil {
		return err
	}
	if l := conf.Lock(); l != "" && l != "mounted" && c.opts["skiplock"] != "1" {
		return checkLock(conf)
	}
	if c.node.guest(id).Running {
		return dief(255, "CT %d already running", id)
	}
	if conf.HasPending() {
		if err := c.applyPending(id, conf); err != nil {
			return err
		}
	}
	if err := c.checkStart(id, conf); err != nil {
		return c.giveUp(err)
	}
	mounts, err := c.startMounts(id, conf)
	if err != nil {
		return c.giveUp(err)
	}
	root := guestRoot{c.node, mounts}
	if conf.Get("ostype") == "alpine" && !root.exists("/run") && !root.standIn() {
		return c.giveUp(mountFailed(id, "run", "/run")) // LXC's config for Alpine mounts something there
	}
	setUpSystem(conf, root, id)
	for _, m := range mounts[1:] {
		makeTargetIn(root, m.Path)
	}
	makeKernelDirs(root)
	if mounts, err = c.node.bindEntries(id, conf, mounts); err != nil {
		return c.giveUp(err)
	}
	root.mounts = mounts
	cut := c.checkpoint()
	var failed *faultError
	if errors.As(cut, &failed) {
		return cut
	}
	b, err := c.node.driver.start(c, id, conf, root)
	if err != nil {
		return c.giveUp(err)
	}
	c.node.began(id, conf, mounts, b)
	if c.node.health(id, conf.Get("hostname")).State == Dying {
		c.node.endGuest(id)
	}
	return cut // systemd has started the container all the same
}

func (c *guestCall) giveUp(err error) error {
	if f, ok := err.(*lxcFailure); ok {
		fmt.Fprint(c.stdout, f.said)
		return dief(255, "%s", f.last)
	}
	return err
}

// applyPending applies what waited for a stop, as a start does if something is
// left over.
func (c *guestCall) applyPending(id int, conf *pve.Config) error {
	call := *c
	call.id = id
	u := &update{guestCall: &call, conf: conf, touched: map[string]bool{}, refused: paramError{}}
	if err := u.apply(); err != nil {
		return err
	}
	return u.write()
}

// checkStart looks at what the node checks before it calls LXC, and at what LXC's
// config parser refuses.
func (c *guestCall) checkStart(id int, conf *pve.Config) error {
	for _, i := range conf.Indexed("dev") {
		if err := c.node.checkDevice(conf.Get(fmt.Sprintf("dev%d", i))); err != nil {
			return err
		}
	}
	var nics []pve.Net
	for _, i := range conf.Indexed("net") {
		key := fmt.Sprintf("net%d", i)
		if err := checkNet(key, conf.Get(key)); err != nil {
			return err
		}
		nic, err := pve.ParseNet(conf.Get(key))
		if err != nil {
			return dief(255, "%v", err)
		}
		nics = append(nics, nic)
		if nic.Bridge != "" {
			if err := c.node.checkBridge(nic.Bridge); err != nil {
				return err
			}
		}
	}
	for _, nic := range nics {
		if nic.Trunks != "" || nic.Tag != 0 && !c.node.bridgeHasPort(nic.Bridge) {
			return &lxcFailure{
				"run_buffer: 571 Script exited with status 25\n" +
					"lxc_create_network_priv: 3466 Success - Failed to create network device\n" +
					"lxc_spawn: 1860 Failed to create the network\n" + spawnFailed(id), startFailed(id),
			}
		}
	}
	for _, e := range conf.Env {
		if !strings.Contains(e, "=") {
			return badLXCLine(id, pve.EnvKey, e)
		}
	}
	if s := conf.RawValue("lxc.signal.halt"); s != "" && !isSignal(s) {
		return badLXCLine(id, "lxc.signal.halt", s)
	}
	for _, e := range conf.Env {
		if name, _, _ := strings.Cut(e, "="); name == "" || strings.ContainsAny(name, " \t") {
			return initFailed(id, 7)
		}
	}
	return nil
}

// initFailed is a start that ends while the container is set up.
func initFailed(id, sequence int) error {
	return &lxcFailure{
		fmt.Sprintf("sync_wait: 34 An error occurred in another process (expected sequence number %d)\n", sequence) + spawnFailed(id),
		startFailed(id),
	}
}

func (n *node) bridgeHasPort(bridge string) bool {
	ports, err := n.readDir(path.Join("/sys/class/net", bridge, "brif"))
	return err == nil && len(ports) > 0
}

// isSignal reports whether LXC takes the text as a signal (sig_parse in
// confile_utils.c).
func isSignal(s string) bool {
	return (pve.ImageConfig{StopSignal: s}).Check("") == nil
}

func startFailed(id int) string { return fmt.Sprintf("startup for container '%d' failed", id) }

func spawnFailed(id int) string {
	return fmt.Sprintf("__lxc_start: 2127 Failed to spawn container \"%d\"\n", id)
}

// badLXCLine is a start that ends at a line which LXC's parser does not take.
func badLXCLine(id int, key, value string) error {
	return &lxcFailure{
		fmt.Sprintf("problem with monitor socket, but continuing anyway: got timeout\n\n"+
			"lxc-info: %d: ../src/lxc/parse.c: lxc_file_for_each_line_mmap: 129 Failed to parse config file \"/var/lib/lxc/%d/config\" at line \"%s = %s\"\n"+
			"Failed to load config for %d\nFailure to retrieve information on /var/lib/lxc:%d\n", id, id, key, value, id, id),
		fmt.Sprintf("command 'lxc-info -n %d -p' failed: exit code 1", id),
	}
}

// startMounts finds the container's mounts. A bind that cannot be had is found
// by a hook of LXC, which says no more than that it failed.
func (c *guestCall) startMounts(id int, conf *pve.Config) ([]guestMount, error) {
	mounts, err := c.node.findMounts(conf)
	if err == nil && len(mounts) > 0 && mounts[0].Key == "rootfs" {
		return mounts, nil
	}
	if err == nil {
		return nil, dief(255, "no rootfs configured")
	}
	if die, ok := err.(*cliError); ok && !strings.HasPrefix(die.text, "directory") && !strings.HasPrefix(die.text, "symlink") {
		return nil, err
	}
	return nil, &lxcFailure{
		fmt.Sprintf("run_buffer: 571 Script exited with status 2\n"+
			"lxc_init: 845 Failed to run lxc.hook.pre-start for container \"%d\"\n"+
			"__lxc_start: 2047 Failed to initialize container \"%d\"\n", id, id),
		startFailed(id),
	}
}

// bootInit runs the entrypoint.
func (c *guestCall) bootInit(id int, root guestRoot, conf *pve.Config) (*boot, error) {
	argv := pve.SplitEntrypoint(conf.Get("entrypoint"))
	if conf.Get("entrypoint") == "" {
		argv = []string{"/sbin/init"}
	}
	b, found := c.node.bootGuest(id, root, conf, argv)
	if !found {
		return nil, initFailed(id, 7)
	}
	if !b.alive {
		return nil, endedAtOnce(id)
	}
	return b, nil
}

// endedAtOnce is a start whose PID 1 has ended before anybody looked.
func endedAtOnce(id int) error {
	return &lxcFailure{
		fmt.Sprintf("lxc-info: %d: ../src/lxc/af_unix.c: lxc_abstract_unix_recv_fds_iov: 218 Connection reset by peer - Failed to receive response\n"+
			"lxc-info: %d: ../src/lxc/commands.c: lxc_cmd_rsp_recv_fds: 128 Failed to receive file descriptors for command \"get_init_pid\"\n", id, id),
		fmt.Sprintf("unable to get PID for CT %d (not running?)", id),
	}
}

// began notes that a container runs.
func (n *node) began(id int, conf *pve.Config, mounts []guestMount, b *boot) {
	var links []guestLink
	managed := conf.Get("ostype") != "unmanaged" && conf.Get("entrypoint") == ""
	for _, i := range conf.Indexed("net") {
		key := fmt.Sprintf("net%d", i)
		if nic, err := pve.ParseNet(conf.Get(key)); err == nil {
			links = append(links, n.linkOf(id, key, nic, managed))
		}
	}
	pid := n.pids.add(func() { n.endGuest(id) })
	n.changeGuest(id, func(g *guestState) {
		g.Running, g.Since, g.PID, g.Probes = true, time.Now(), pid, 0
		g.Hostname, g.Init, g.Deaf = conf.Get("hostname"), b.argv, b.deaf
		g.Links, g.Mounts = links, mounts
	})
	n.holdMounts(id)
	n.writeLeaseDNS(id, conf)
	if b.ended != nil {
		n.background.Go(func() {
			<-b.ended
			n.endRun(id, pid)
		})
	}
}

// holdMounts keeps the file systems of a running container from being unmounted.
func (n *node) holdMounts(id int) {
	var sources []string
	g := n.guest(id)
	if g.Running {
		for _, m := range g.Mounts {
			sources = append(sources, m.Source)
		}
	}
	n.setHolds(guestHolder(id), sources...)
	n.save()
}

// guestHolder names a container among those who use file systems.
func guestHolder(id int) string { return fmt.Sprintf("CT %d", id) }

// makeTarget makes the directory that a mount of a running container needs.
func (n *node) makeTarget(id int, target string) {
	g := n.guest(id)
	mounts := slices.DeleteFunc(slices.Clone(g.Mounts), func(m guestMount) bool { return m.Path == target })
	makeTargetIn(guestRoot{n, mounts}, target)
}

// makeKernelDirs makes the directories at which LXC mounts what the kernel shows.
func makeKernelDirs(root guestRoot) {
	for _, name := range kernelDirs() {
		if root.exists(name) {
			continue
		}
		makeTargetIn(root, name)
		if at, err := root.real(name, true); err == nil && name == "/dev" {
			root.node.setOwner(at, owner{UID: mappedRoot, GID: mappedRoot, Mode: 0o644}) // as LXC does
		}
	}
}

// kernelDirs are the directories of a running container that the kernel fills.
func kernelDirs() []string { return []string{"/dev", "/proc", "/sys"} }

// makeTargetIn makes a directory for a mount; it belongs to the container's root.
func makeTargetIn(root guestRoot, target string) {
	var below []guestMount
	for _, m := range root.mounts {
		if m.Path != target {
			below = append(below, m)
		}
	}
	root.mounts = below
	at, err := root.real(target, true)
	if err != nil {
		return
	}
	if _, err := root.node.lstat(at); err == nil {
		return
	}
	if err := root.node.mkdirAll(at); err == nil {
		root.node.setOwner(at, owner{UID: mappedRoot, GID: mappedRoot, Mode: 0o755})
	}
}
