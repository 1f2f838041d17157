package lab

import (
	"net"
	"os"
)

// Real has the containers of a lab run for real, with LXC. The lab's process must
// be root, inside namespaces that lxc.RunEnclosed and lxc.Init made, where the
// node's bridge is.
type Real struct {
	// Listener is where the lab is reached. It was made outside.
	Listener net.Listener
	// SSHD has the machine's OpenSSH serve those who come from outside.
	SSHD bool
	// Network is the network namespace of the machine, from which skopeo reaches
	// registries.
	Network *os.File
	// PID is the process to ask that the lab ends, as seen from outside.
	PID int
	// Cgroups is the directory that holds the cgroups of containers, below each
	// hierarchy of the machine.
	Cgroups string
}

// InnerAddr is the variable by which a command that OpenSSH's server runs finds
// the lab, see Hand.
const InnerAddr = "TG_LAB_INNER"

// BridgeAddrs are the addresses of a real lab on its bridge, with their prefix:
// that of the node, which is also its containers' gateway.
func BridgeAddrs() []string { return []string{dhcpNet + "1/24"} }
