package engine

// Facts are what is read of a node before a recipe is evaluated; a recipe sees
// them as "host". They are plain data and part of the plan, so evaluation stays
// pure: tests and "tg plan --facts FILE" bring their own, as JSON of this shape.
type Facts struct {
	Node     string            `json:"node"`     // the node's name in its cluster
	Arch     string            `json:"arch"`     // Debian's name: amd64, arm64
	PVE      string            `json:"pve"`      // release, from pve-manager: "9.1"
	Packages map[string]string `json:"packages"` // Debian versions: pve-container, lxc-pve, skopeo, …
	Cores    int               `json:"cores"`
	Memory   Size              `json:"memory"`
	Pools    []Pool            `json:"pools"`
	Storages []Storage         `json:"storages"`
	Bridges  []string          `json:"bridges"`
	GPUs     []GPU             `json:"gpus"`
	// Choices of the host's owner, or what tengil chose in their place; see docs/hosts.md.
	Default Choices `json:"default"`
	// Imagined facts stand for any node: pools, storages and bridges that a recipe
	// names are taken to be there. Nothing is run with them.
	Imagined bool `json:"-"`
}

// Choices are what a host's owner decides once for all recipes.
type Choices struct {
	Pool       string `json:"pool,omitempty"`       // zpool for application data
	Storage    string `json:"storage,omitempty"`    // for root file systems (content rootdir)
	Templates  string `json:"templates,omitempty"`  // for archives (content vztmpl)
	Bridge     string `json:"bridge,omitempty"`     // "vmbr0"
	Nameserver string `json:"nameserver,omitempty"` // blank-separated
	// Data is the absolute path of the directory that takes the data of applications
	// on a node without ZFS; "" for ZFS. It is offered to recipes as a Pool.
	Data string `json:"data,omitempty"`
	// Range is where containers get fixed IPv4 addresses from, first and last with
	// the network's prefix length: "192.168.1.200-192.168.1.249/24"; "" for DHCP.
	Range   string `json:"range,omitempty"`
	Gateway string `json:"gateway,omitempty"` // of Range
	// Limits are how much of one class of work runs at once; 0 is tengil's default.
	Limits Limits `json:"limits,omitzero"`
	// Mirrors name, by registry, the registry to pull from in its place:
	// {"docker.io": "mirror.lan:5000"}. Images keep their own names and digests.
	Mirrors map[string]string `json:"mirrors,omitempty"`
}

// Limits bound how much of one class of work runs on a host at once.
type Limits struct {
	Downloads int `json:"downloads,omitempty"`
	Unpacks   int `json:"unpacks,omitempty"`
	Starts    int `json:"starts,omitempty"`
}

// A Pool is a ZFS pool, or the directory that stands in for one.
type Pool struct {
	Name   string `json:"name"`
	Size   Size   `json:"size"`
	Free   Size   `json:"free"`
	Health string `json:"health"` // ONLINE, DEGRADED, …
	// Dir is Choices.Data if datasets of the pool are directories there, "" for
	// ZFS. Size, Free and Health are then not known.
	Dir string `json:"dir,omitempty"`
}

// A Storage is one entry of storage.cfg.
type Storage struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`            // dir, zfspool, lvmthin, …
	Content []string `json:"content"`         // rootdir, vztmpl, …
	Path    string   `json:"path,omitempty"`  // of type dir
	Pool    string   `json:"pool,omitempty"`  // of type zfspool: the parent dataset
	Nodes   []string `json:"nodes,omitempty"` // empty: all nodes
	Off     bool     `json:"off,omitempty"`
}

// A GPU is one graphics device.
type GPU struct {
	Vendor string   `json:"vendor"` // intel, amd, nvidia
	Name   string   `json:"name,omitempty"`
	PCI    string   `json:"pci"`              // 0000:00:02.0
	Driver string   `json:"driver"`           // i915, xe, amdgpu, nvidia
	Card   string   `json:"card,omitempty"`   // today's name below /dev/dri: card0
	Render string   `json:"render,omitempty"` // today's name below /dev/dri: renderD128
	Nodes  []string `json:"nodes,omitempty"`  // device nodes of a NVIDIA card: /dev/nvidia0, …
}
