package lab

import (
	"bytes"
	"debug/elf"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// detectSystem finds out the distribution and the architecture of the root
// (Setup.pm new).
func (cr *creation) detectSystem() error {
	root := guestRoot{cr.node, cr.mounts}
	if cr.conf.Get("ostype") != "unmanaged" {
		kind, err := cr.detectOS(root)
		if err != nil {
			return err
		}
		if want := cr.conf.Get("ostype"); want != "" && want != kind {
			fmt.Fprintf(cr.warn, "got unexpected ostype (%s != %s)\n", kind, want)
		}
		cr.conf.Options["ostype"] = kind
	}
	if cr.conf.Get("arch") == "" {
		cr.conf.Options["arch"] = cr.detectArch(root)
	}
	return nil
}

// detectOS looks at os-release, then at the files by which old releases are known.
func (cr *creation) detectOS(root guestRoot) (string, error) {
	release, err := root.readFile("/etc/os-release")
	if err == nil {
		id := osReleaseID(string(release))
		if kind := osTypeOf(id); kind != "" {
			return kind, checkRelease(kind, root, cr.id)
		}
		fmt.Fprintf(cr.warn, "unknown ID '%s' in /etc/os-release file, trying fallback detection\n", id)
	}
	for _, m := range []struct{ file, kind string }{
		{"/etc/debian_version", "debian"}, {"/etc/devuan_version", "devuan"}, {"/etc/SuSE-brand", "opensuse"},
		{"/etc/SuSE-release", "opensuse"}, {"/etc/fedora-release", "fedora"}, {"/etc/centos-release", "centos"},
		{"/etc/redhat-release", "centos"}, {"/etc/arch-release", "archlinux"}, {"/etc/alpine-release", "alpine"},
		{"/etc/gentoo-release", "gentoo"},
	} {
		if root.exists(m.file) {
			return m.kind, checkRelease(m.kind, root, cr.id)
		}
	}
	if err == nil {
		return "", dief(255, "unable to detect OS distribution")
	}
	fmt.Fprintln(cr.warn, "/etc/os-release file not found and autodetection failed, falling back to 'unmanaged'")
	return "unmanaged", nil
}

func osReleaseID(text string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "ID="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return ""
}

// osTypeOf maps an ID of os-release to PVE's ostype, "" if it knows none.
func osTypeOf(id string) string {
	switch id {
	case "debian", "devuan", "ubuntu", "centos", "fedora", "opensuse", "alpine", "gentoo", "nixos":
		return id
	case "arch", "archlinux":
		return "archlinux"
	case "opensuse-leap", "opensuse-tumbleweed", "opensuse-slowroll", "sles":
		return "opensuse"
	case "rocky", "almalinux":
		return "centos"
	case "openEuler":
		return "openeuler"
	}
	return ""
}

// checkRelease refuses a root whose release the distribution's plugin cannot tell.
func checkRelease(kind string, root guestRoot, id int) error {
	switch {
	case kind == "debian" && !root.exists("/etc/debian_version"):
		return dief(255, "unable to read version info")
	case kind == "ubuntu" && !root.exists("/etc/lsb-release"):
		return dief(255, "can't open '%s/etc/lsb-release' - No such file or directory", lxcRoot(id))
	}
	return nil
}

// detectArch reads the architecture off /bin/sh.
func (cr *creation) detectArch(root guestRoot) string {
	managed := cr.conf.Get("ostype") != "unmanaged"
	if arch := shellArch(root); managed && arch != "" {
		fmt.Fprintf(cr.warn, "Detected container architecture: %s\n", arch)
		return arch
	}
	if !managed && pve.CompareVersions(cr.node.pve, "6.1.1") < 0 {
		fmt.Fprint(cr.warn, "implement me in sub-class\n at /usr/share/perl5/PVE/LXC/Setup.pm line 146.\n"+
			"Architecture detection failed: error in setup task (eval)\n")
	}
	fmt.Fprint(cr.warn, "Falling back to amd64.\nUse `pct set VMID --arch ARCH` to change.\n")
	return "amd64"
}

// shellArch returns the architecture of /bin/sh, "" if there is none. What is no
// ELF file stands in for one of the node's architecture.
func shellArch(root guestRoot) string {
	if !root.exists("/bin/sh") {
		return ""
	}
	data, err := root.readFile("/bin/sh")
	if err != nil {
		return "amd64"
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return "amd64"
	}
	switch f.Machine {
	case elf.EM_AARCH64:
		return "arm64"
	case elf.EM_ARM:
		return "armhf"
	case elf.EM_386:
		return "i386"
	}
	return "amd64"
}

// setUpSystem writes into the root of a managed container what PVE writes there
// at create and at every start (Setup/Base.pm): its name, hosts and resolver.
func setUpSystem(conf *pve.Config, root guestRoot, id int) {
	if conf.Get("ostype") == "unmanaged" {
		return
	}
	name := conf.Get("hostname")
	if name == "" {
		name = fmt.Sprintf("CT%d", id)
	}
	resolv, _ := root.node.readFile("/etc/resolv.conf") // none is an empty one
	domain, servers := resolver(string(resolv))
	if conf.Get("nameserver") != "" || conf.Get("searchdomain") != "" {
		if d := conf.Get("searchdomain"); d != "" {
			domain = d
		}
		if ns := strings.Fields(conf.Get("nameserver")); len(ns) > 0 {
			servers = ns
		}
		resolv = []byte(resolvText("search "+domain, servers))
	}
	writeGuestFile(root, "/etc/hostname", []byte(name+"\n"))
	writeGuestFile(root, "/etc/resolv.conf", resolv)
	old, _ := root.readFile("/etc/hosts") // none is an empty one
	writeGuestFile(root, "/etc/hosts", []byte(hostsBlock(conf, name, domain)+outsideBlock(string(old))))
}

// resolver reads the domain and the name servers of a resolv.conf.
func resolver(text string) (domain string, servers []string) {
	domain = "localdomain"
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) < 2:
		case f[0] == "search" || f[0] == "domain":
			domain = f[1]
		case f[0] == "nameserver":
			servers = append(servers, f[1])
		}
	}
	return domain, servers
}

func resolvText(head string, servers []string) string {
	text := head + "\n"
	for _, s := range servers {
		text += "nameserver " + s + "\n"
	}
	return text
}

// writeLeaseDNS writes the resolver that came with a lease, as the node's DHCP
// client does where the container has an /etc. It wins over the options.
func (n *node) writeLeaseDNS(id int, conf *pve.Config) {
	leased := false
	for _, i := range conf.Indexed("net") {
		nic, err := pve.ParseNet(conf.Get(fmt.Sprintf("net%d", i)))
		leased = leased || err == nil && nic.IP == "dhcp" && nic.HostManaged.True() && !nic.LinkDown.True()
	}
	if !leased {
		return
	}
	text, _ := n.readFile("/etc/resolv.conf") // none is an empty one
	domain, servers := resolver(string(text))
	resolv := []byte(resolvText("domain "+domain+"\nsearch "+domain, servers))
	if err := n.driver.writeFile(id, "/etc/resolv.conf", resolv, owner{UID: mappedRoot, GID: mappedRoot, Mode: 0o644}); err != nil {
		n.log.Debug("resolver of a lease", "ct", id, "err", err)
	}
}

// Marks of the block in /etc/hosts that PVE keeps to itself.
const (
	hostsBegin = "# --- BEGIN PVE ---\n"
	hostsEnd   = "# --- END PVE ---\n"
)

func hostsBlock(conf *pve.Config, name, domain string) string {
	full := name + "." + domain + " " + name
	if host, _, ok := strings.Cut(name, "."); ok {
		full = name + " " + host
	}
	addr := "127.0.1.1"
	if nic, err := pve.ParseNet(conf.Get("net0")); err == nil {
		if p, err := netip.ParsePrefix(nic.IP); err == nil {
			addr = p.Addr().String()
		}
	}
	return hostsBegin + "127.0.0.1 localhost.localnet localhost\n::1 localhost.localnet localhost\n" +
		addr + " " + full + "\n" + hostsEnd
}

// outsideBlock returns the lines of hosts that are not PVE's.
func outsideBlock(text string) string {
	before, rest, found := strings.Cut(text, hostsBegin)
	if !found {
		return withoutLocalhost(text)
	}
	_, after, _ := strings.Cut(rest, hostsEnd)
	return before + after
}

func withoutLocalhost(text string) string {
	lines := slices.Collect(strings.Lines(text))
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.Contains(l, "localhost") })
	return strings.Join(lines, "")
}

// writeGuestFile writes a file of a container as its root. What cannot be
// written is left out, as an image may lack the directory.
func writeGuestFile(root guestRoot, name string, data []byte) {
	at, err := root.real(name, true)
	if err != nil || len(data) == 0 && name == "/etc/resolv.conf" {
		return
	}
	if err := root.node.writeFile(at, data, 0o644); err == nil {
		root.node.setOwner(at, owner{UID: mappedRoot, GID: mappedRoot, Mode: 0o644})
	}
}
