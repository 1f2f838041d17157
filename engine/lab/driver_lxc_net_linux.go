package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tengil/tengil/engine/lab/lxc"
	"github.com/tengil/tengil/engine/pve"
)

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
