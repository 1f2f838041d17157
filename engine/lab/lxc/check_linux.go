package lxc

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// A Finding is one thing that containers need of the machine.
type Finding struct {
	What    string // "LXC"
	Needed  bool   // nothing works without
	Problem string // "" if all is well
	Fix     string // what to type, or to do
	Have    string // "5.0.2"
}

// Check looks whether containers can run on this machine.
func Check() []Finding {
	out := []Finding{root(), namespaces(), cgroups()}
	for _, p := range []struct {
		program, pkg, why string
		needed            bool
		version           []string
	}{
		{"lxc-start", "lxc", "runs containers", true, []string{"--version"}},
		{"ip", "iproute2", "makes the bridge", true, []string{"-V"}},
		{"nsenter", "util-linux", "looks into containers", true, []string{"--version"}},
		{"skopeo", "skopeo", "pulls images", true, []string{"--version"}},
		{"dnsmasq", "dnsmasq-base", "gives addresses to containers with ip=dhcp", false, []string{"--version"}},
		{"dhclient", "isc-dhcp-client", "asks for them", false, nil},
		{"sshd", "openssh-server", "lets tg lab start --sshd use the machine's SSH server", false, nil},
	} {
		f := Finding{What: p.program, Needed: p.needed}
		if _, err := exec.LookPath(p.program); err != nil && !sbin(p.program) {
			f.Problem, f.Fix = p.program+", which "+p.why+", is not installed", "apt install "+p.pkg
		} else if len(p.version) > 0 {
			said, _ := exec.Command(p.program, p.version...).CombinedOutput() // it is there, whatever it says
			f.Have, _, _ = strings.Cut(string(said), "\n")
		}
		out = append(out, f)
	}
	return out
}

func sbin(program string) bool {
	_, err := os.Stat("/usr/sbin/" + program)
	return err == nil
}

func root() Finding {
	f := Finding{What: "root", Needed: true}
	if os.Geteuid() != 0 {
		f.Problem, f.Fix = "this is not root", "sudo tg lab start --real"
	}
	return f
}

// namespaces tries to make those that the lab needs.
func namespaces() Finding {
	f := Finding{What: "namespaces", Needed: true}
	if os.Geteuid() != 0 {
		return f // root says it
	}
	out, err := exec.Command("unshare", "--mount", "--net", "--pid", "--fork", "--user", "--map-root-user", "true").CombinedOutput()
	if err != nil {
		f.Problem = fmt.Sprintf("the kernel makes no user, mount, network and process namespaces: %s", strings.TrimSpace(string(out)))
		f.Fix = "run on a machine or VM of its own, not in a container"
	}
	return f
}

func cgroups() Finding {
	f := Finding{What: "cgroups", Needed: true, Have: "version 1"}
	if unified() {
		f.Have = "version 2"
	}
	var st unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &st); err != nil || unix.Access(cgroupRoot, unix.W_OK) != nil {
		f.Problem, f.Fix = cgroupRoot+" is not there or is read-only", "run on a machine or VM of its own, not in a container"
	}
	return f
}
