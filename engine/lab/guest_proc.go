package lab

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// errGuestKilled ends a script whose shell is killed.
var errGuestKilled = errors.New("killed")

// guestKill is kill, of which a script that kills its own shell sees the effect.
// Other programs of a container are not modelled as processes.
func guestKill(*guestProc) int { return 0 }

// killsShell reports whether a command kills the shell that runs it: its number is
// the one that the interpreter expands $$ to.
func killsShell(argv []string) bool {
	self := strconv.Itoa(os.Getpid())
	return len(argv) == 3 && path.Base(argv[0]) == "kill" && (argv[1] == "-9" || argv[1] == "-KILL") && argv[2] == self
}

// guestGrep is grep with -E, -q, -v and -c, of one pattern.
func guestGrep(g *guestProc) int {
	names := g.operands()
	if len(names) == 0 {
		return g.failf(2, "BusyBox v1.37.0\n\nUsage: grep PATTERN [FILE]...")
	}
	re, err := regexp.Compile(names[0])
	if err != nil {
		return g.failf(2, "grep: bad regex '%s'", names[0])
	}
	files := names[1:]
	if len(files) == 0 {
		files = []string{"-"}
	}
	found, exit := 0, 1
	for _, name := range files {
		data, err := g.input(name)
		if err != nil {
			g.failf(2, "grep: %s: %s", name, reason(err))
			exit = 2
			continue
		}
		prefix := ""
		if len(files) > 1 {
			prefix = name + ":"
		}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSuffix(line, "\n")
			if re.MatchString(line) == g.flag('v') {
				continue
			}
			found++
			if !g.flag('q') && !g.flag('c') {
				fmt.Fprintln(g.stdout, prefix+line)
			}
		}
	}
	if g.flag('c') {
		fmt.Fprintln(g.stdout, found)
	}
	if found > 0 {
		return 0
	}
	return exit
}

// procStatus is /proc/1/status, as far as programs read it: who PID 1 is.
func (g *guestProc) procStatus() string {
	conf, err := g.node.guestConfig(g.id)
	if err != nil {
		conf = pve.NewConfig()
	}
	id := func(key string) string {
		v := conf.RawValue(key)
		if v == "" {
			v = "0"
		}
		return strings.Join([]string{v, v, v, v}, "\t")
	}
	name := ""
	if s := g.node.guest(g.id); len(s.Init) > 0 {
		name = path.Base(s.Init[0])
	}
	return "Name:\t" + name + "\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t1\nNgid:\t0\nPid:\t1\nPPid:\t0\nTracerPid:\t0\n" +
		"Uid:\t" + id("lxc.init.uid") + "\nGid:\t" + id("lxc.init.gid") + "\nFDSize:\t64\n" +
		"Groups:\t \n" + // LXC does not set those of lxc.init.groups
		"NStgid:\t1\nNSpid:\t1\nNSpgid:\t1\nNSsid:\t1\nThreads:\t1\n"
}

// guestIP is busybox's ip with addr and route, of one interface or of all.
func guestIP(g *guestProc) int {
	args := slices.DeleteFunc(slices.Clone(g.argv[1:]), func(a string) bool { return a == "show" || a == "list" || a == "dev" })
	only4 := len(args) > 0 && args[0] == "-4"
	if only4 {
		args = args[1:]
	}
	what := ""
	if len(args) > 0 {
		what = args[0]
	}
	switch {
	case what != "" && strings.HasPrefix("addr", what[:1]):
		return g.ipAddr(args[1:], only4)
	case what != "" && strings.HasPrefix("route", what[:1]):
		g.ipRoute()
		return 0
	}
	return g.failf(1, "ip: the lab models ip addr and ip route")
}

// configured reports whether the node set up the network of the container: LXC
// or the node's DHCP client do so for the interfaces that are the host's to
// manage, a distribution does in its own start scripts.
func (g *guestProc) configured(links []guestLink) bool {
	return slices.ContainsFunc(links, func(l guestLink) bool { return l.IP != "" || l.IP6 != "" })
}

func (g *guestProc) ipAddr(only []string, only4 bool) int {
	links := g.node.guest(g.id).Links
	up := g.configured(links)
	state, qdisc, lo := ",UP,LOWER_UP", "noqueue", "LOOPBACK,UP,LOWER_UP"
	if !up {
		state, qdisc, lo = "", "noop", "LOOPBACK"
	}
	if len(only) == 0 {
		fmt.Fprintf(g.stdout, "1: lo: <%s> mtu 65536 qdisc %s qlen 1000\n", lo, qdisc)
		if !only4 {
			fmt.Fprintln(g.stdout, "    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00")
		}
		if up {
			fmt.Fprint(g.stdout, "    inet 127.0.0.1/8 scope host lo\n       valid_lft forever preferred_lft forever\n")
		}
		if up && !only4 {
			fmt.Fprint(g.stdout, "    inet6 ::1/128 scope host \n       valid_lft forever preferred_lft forever\n")
		}
	}
	found := len(only) == 0
	for i, l := range links {
		if len(only) > 0 && only[0] != l.Name {
			continue
		}
		found = true
		fmt.Fprintf(g.stdout, "%d: %s@if%d: <BROADCAST,MULTICAST%s,M-DOWN> mtu 1500 qdisc %s qlen 1000\n", i+2, l.Name, i+3, state, qdisc)
		if !only4 {
			fmt.Fprintf(g.stdout, "    link/ether %s brd ff:ff:ff:ff:ff:ff\n", l.HWAddr)
		}
		if p, err := netip.ParsePrefix(l.IP); err == nil {
			brd := ""
			if !l.Hot {
				brd = "brd " + broadcast(p) + " "
			}
			fmt.Fprintf(g.stdout, "    inet %s %sscope global %s\n       valid_lft forever preferred_lft forever\n", l.IP, brd, l.Name)
		}
		if only4 || !up {
			continue
		}
		if l.IP6 != "" {
			fmt.Fprintf(g.stdout, "    inet6 %s scope global \n       valid_lft forever preferred_lft forever\n", l.IP6)
		}
		fmt.Fprintf(g.stdout, "    inet6 %s/64 scope link \n       valid_lft forever preferred_lft forever\n", linkLocal(l.HWAddr))
	}
	if !found {
		return g.failf(1, "ip: can't find device '%s'", only[0])
	}
	return 0
}

// broadcast returns the last address of a network.
func broadcast(p netip.Prefix) string {
	a := p.Masked().Addr().AsSlice()
	for i := range a {
		host := max(0, min(8, (i+1)*8-p.Bits()))
		a[i] |= byte(1<<host - 1)
	}
	last, _ := netip.AddrFromSlice(a) // has the length of an address
	return last.String()
}

// ipRoute prints the routes: by the gateway of the config, and of each network.
func (g *guestProc) ipRoute() {
	conf, err := g.node.guestConfig(g.id)
	if err != nil {
		return
	}
	links := g.node.guest(g.id).Links
	for _, l := range links {
		nic, err := pve.ParseNet(conf.Get(l.Key))
		gateway := nic.GW
		if err == nil && nic.IP == "dhcp" {
			gateway = dhcpNet + "1"
		}
		if err == nil && gateway != "" {
			fmt.Fprintf(g.stdout, "default via %s dev %s \n", gateway, l.Name)
			break
		}
	}
	for _, l := range links {
		if p, err := netip.ParsePrefix(l.IP); err == nil {
			fmt.Fprintf(g.stdout, "%s dev %s scope link  src %s \n", p.Masked(), l.Name, p.Addr())
		}
	}
}

// input reads a file of the container, or standard input for "-".
func (g *guestProc) input(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(g.stdin)
	}
	return g.readFile(absolute(g.dir, name))
}
