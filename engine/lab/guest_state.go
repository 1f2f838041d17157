package lab

import "time"

// A guestState is what a node knows of a container beside its config file. It
// stays behind when the container is destroyed, for Drawn's sake.
type guestState struct {
	Running bool      `json:"running,omitempty"`
	Since   time.Time `json:"since,omitzero"` // start of PID 1
	PID     int       `json:"pid,omitempty"`  // of PID 1, on the node
	// Hostname is the name that the container started with; a change of the
	// option does not reach it while it runs.
	Hostname string `json:"hostname,omitempty"`
	// Init is the command line of PID 1.
	Init []string `json:"init,omitempty"`
	// Deaf is set if PID 1 has no handler for the signal that asks it to end.
	Deaf bool `json:"deaf,omitempty"`
	// Links are the network interfaces of the running container, in order.
	Links []guestLink `json:"links,omitempty"`
	// Mounts are its file systems, the root first.
	Mounts []guestMount `json:"mounts,omitempty"`
	// Ports are the TCP ports that the image exposes. No file of a real node
	// holds them; the lab needs them to know what the application listens on.
	Ports []int `json:"ports,omitempty"`
	// Probes counts the looks at the application since the start.
	Probes int `json:"probes,omitempty"`
	// Leases are the addresses that the DHCP server of the bridge gave, by
	// hardware address in lower case.
	Leases map[string]string `json:"leases,omitempty"`
	// Drawn counts the hardware addresses drawn for the container's id.
	Drawn int `json:"drawn,omitempty"`
}

// A guestLink is a network interface inside a running container.
type guestLink struct {
	Key    string `json:"key"` // "net0"
	Name   string `json:"name"`
	HWAddr string `json:"hwaddr"` // lower case
	IP     string `json:"ip,omitempty"`
	IP6    string `json:"ip6,omitempty"` // beside the link-local address
	Down   bool   `json:"down,omitempty"`
	Hot    bool   `json:"hot,omitempty"` // was plugged while the container ran
}

// A guestMount is a directory of the node that shows at a path of a container.
type guestMount struct {
	Key    string `json:"key"` // "rootfs", "mp0"
	Path   string `json:"path"`
	Source string `json:"source"` // a path of the node
	RO     bool   `json:"ro,omitempty"`
	IDMap  string `json:"idmap,omitempty"` // of option idmap
}

// stop leaves what is known of a container that does not run.
func (g *guestState) stop() {
	g.Running, g.PID, g.Init, g.Links, g.Mounts = false, 0, nil, nil, nil
}

// guest returns a copy of what is known of a container, running or not.
func (n *node) guest(id int) guestState {
	n.mu.Lock()
	defer n.mu.Unlock()
	if g := n.state.Guests.get(id); g != nil {
		return *g
	}
	return guestState{}
}

// changeGuest applies change to a container's state and saves it.
func (n *node) changeGuest(id int, change func(g *guestState)) {
	n.mu.Lock()
	change(n.state.editGuest(id))
	n.mu.Unlock()
	n.save()
}

// editGuest returns what is known of a container, to change it. The caller holds
// the node's mu.
func (s *state) editGuest(id int) *guestState {
	if !s.Guests.has(id) {
		s.Guests.put(id, &guestState{})
	}
	return s.Guests.edit(id)
}
