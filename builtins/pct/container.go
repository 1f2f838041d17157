// Package pct holds the step kinds that make and fill Proxmox containers. A
// container is four nodes, so that work overlaps: create needs the image alone,
// configure needs datasets, devices and the values of env, start waits for what
// its values come from to be ready, ready waits for the application.
package pct

import (
	"time"

	"github.com/tengil/tengil/builtins/oci"
	"github.com/tengil/tengil/builtins/probe"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// The parts of a container, in order.
const (
	partCreate    = "create"
	partConfigure = "configure"
	partStart     = "start"
	partReady     = "ready"
)

// A Container is the Detail of a pct_create handle.
type Container struct {
	App, Name string
	Image     string // reference, as the recipe names it
}

// Create returns the kind pct_create.
func Create() engine.Kind {
	return engine.Kind{
		Name: "pct_create",
		Doc: "Makes a Proxmox container (LXC, unprivileged) out of an OCI image, configures it, starts it and waits until it is ready. " +
			"A container whose image changes is replaced by a new one that takes over its data, name, MAC and IP address; the old one is removed once the new one is ready.",
		Example: `pct_create("redis", image = oci_pull("docker.io/valkey/valkey:8-bookworm"), ready = tcp_ready(6379))`,
		Params:  createParams(),
		Outputs: []engine.Output{
			{Name: "name", Doc: "the name within the app, as given"},
			{Name: "hostname", Doc: "the host name"},
			{Name: "vmid", Part: partCreate, Doc: "the id that Proxmox knows the container by"},
			{Name: "address", Part: partStart, Doc: "the IP address, without prefix length; known before it runs where it is fixed, else once it runs"},
		},
		New:      newContainer,
		FindAsks: findAsks,
		Find:     find,
	}
}

func createParams() []engine.Param {
	return []engine.Param{
		{Name: "name", Type: engine.TypeString, Required: true, Position: 1, Doc: "Name within the app: a DNS label, lower case.", Example: `"db"`},
		{Name: "image", Type: engine.TypeStep, Of: []string{"oci_pull"}, Required: true, Doc: "The image to unpack.", Example: `oci_pull("docker.io/library/alpine:3.22")`},

		{Name: "hostname", Type: engine.TypeString, Doc: "Host name; by default APP-NAME, or NAME where both are equal.", Example: `"photos"`},
		{Name: "cores", Type: engine.TypeInt, Doc: "Number of CPU cores; all of the node's by default.", Example: "2"},
		{Name: "memory", Type: engine.TypeSize, Default: `"512M"`, Doc: "Memory limit, at least 16M. An application that needs more is throttled, then killed.", Example: `"2G"`},
		{Name: "swap", Type: engine.TypeSize, Default: `"512M"`, Doc: "Swap on top of memory.", Example: `"0"`},
		{Name: "disk", Type: engine.TypeSize, Default: `"8G"`, Doc: "Size of the root file system, in whole G. It can grow; a smaller one makes a new container.", Example: `"8G"`},
		{Name: "storage", Type: engine.TypeString, Doc: "Storage of the root file system; by default the host's choice.", Example: `"local-zfs"`},

		{Name: "mounts", Type: engine.TypeMap, Of: []string{"zfs_dataset", "host_dir", "mount"}, Doc: "What is mounted where: path in the container to a dataset, a directory of the node, or mount(…).", Example: `{"/data": zfs_dataset("tank/photos")}`},
		{Name: "env", Type: engine.TypeTextMap, Doc: "Environment variables, added to those of the image. Values may come from other steps and secrets.", Example: `{"TZ": "Europe/Berlin"}`},
		{Name: "entrypoint", Type: engine.TypeStrings, Doc: "Command in place of the image's entrypoint and cmd.", Example: `["/usr/bin/app", "--serve"]`},
		{Name: "cmd", Type: engine.TypeStrings, Doc: "Arguments in place of the image's cmd.", Example: `["--config", "/data/app.conf"]`},
		{Name: "user", Type: engine.TypeString, Doc: "User in place of the image's, as numbers UID or UID:GID (pve-container 6.1.0 and later).", Example: `"1000:1000"`},
		{Name: "workdir", Type: engine.TypeString, Doc: "Working directory in place of the image's.", Example: `"/srv"`},
		{Name: "shm", Type: engine.TypeSize, Doc: "Size of /dev/shm.", Example: `"128M"`},
		{Name: "tmpfs", Type: engine.TypeTextMap, Doc: "File systems in memory: path to size.", Example: `{"/tmp": "64M"}`},
		{Name: "devices", Type: engine.TypeStrings, Doc: "Device nodes of the node, as Proxmox writes devN; device_attach and gpu_attach are the comfortable way.", Example: `["/dev/net/tun"]`},
		{Name: "features", Type: engine.TypeStrings, Doc: "Container features: nesting, fuse, keyctl, mknod, force_rw_sys.", Example: `["nesting"]`},
		{Name: "cap_drop", Type: engine.TypeStrings, Doc: "Capabilities to take away.", Example: `["sys_time"]`},
		{Name: "cap_keep", Type: engine.TypeStrings, Doc: "Capabilities to keep; all others are taken away.", Example: `["net_bind_service"]`},

		{Name: "bridge", Type: engine.TypeString, Doc: "Bridge of the network interface; by default the host's choice.", Example: `"vmbr0"`},
		{Name: "vlan", Type: engine.TypeInt, Doc: "VLAN tag.", Example: "20"},
		{Name: "ip", Type: engine.TypeString, Default: `"auto"`, Doc: `IPv4 address with prefix length, "dhcp", "none", or "auto": an address of the host's range, which the container keeps, where the host has one for the bridge, else DHCP.`, Example: `"192.168.1.20/24"`},
		{Name: "gateway", Type: engine.TypeString, Doc: "IPv4 gateway, with a fixed ip.", Example: `"192.168.1.1"`},
		{Name: "ip6", Type: engine.TypeString, Doc: `IPv6 address with prefix length, or "dhcp".`, Example: `"fd00::20/64"`},
		{Name: "gateway6", Type: engine.TypeString, Doc: "IPv6 gateway, with a fixed ip6.", Example: `"fd00::1"`},
		{Name: "mac", Type: engine.TypeString, Doc: "MAC address; by default one that stays the same when the container is replaced.", Example: `"BC:24:11:00:00:01"`},
		{Name: "firewall", Type: engine.TypeBool, Default: "False", Doc: "Filter the interface with the Proxmox firewall.", Example: "True"},
		{Name: "mtu", Type: engine.TypeInt, Doc: "MTU of the interface.", Example: "1500"},
		{Name: "nameserver", Type: engine.TypeStrings, Doc: "DNS servers, in place of the host's choice or the node's; a DHCP lease wins, and an unmanaged system does not get them.", Example: `["192.168.1.1"]`},
		{Name: "searchdomain", Type: engine.TypeString, Doc: "DNS search domain.", Example: `"home.example"`},

		{Name: "onboot", Type: engine.TypeBool, Default: "True", Doc: "Start with the node.", Example: "False"},
		{Name: "order", Type: engine.TypeInt, Doc: "Place in the node's start order; lower starts first.", Example: "2"},
		{Name: "up", Type: engine.TypeDuration, Doc: "Pause after this start before the node starts the next.", Example: `"10s"`},
		{Name: "down", Type: engine.TypeDuration, Doc: "Time to shut down before the node kills the container.", Example: `"2m"`},
		{Name: "tags", Type: engine.TypeStrings, Doc: "Tags besides those of tengil.", Example: `["photos"]`},
		{Name: "protection", Type: engine.TypeBool, Default: "False", Doc: "Refuse to destroy the container or its disk.", Example: "True"},
		{Name: "ostype", Type: engine.TypeString, Choices: []string{"auto", "unmanaged"}, Default: `"auto"`, Doc: "unmanaged keeps Proxmox from preparing the operating system inside; auto falls back to it where Proxmox does not know the system.", Example: `"unmanaged"`},
		{Name: "vmid", Type: engine.TypeInt, Doc: "Id of the container; normally the next free one.", Example: "120"},
		{Name: "lxc", Type: engine.TypeStrings, Doc: "Raw lines of the container's config, the way out where nothing else fits.", Example: `["lxc.prlimit.nofile: 65536"]`},

		{Name: "after", Type: engine.TypeSteps, Of: []string{"pct_create"}, Doc: "Containers that must be ready first although no value of theirs is used.", Example: "[db]"},
		{Name: "ready", Type: engine.TypeObject, Of: []string{"exec_ready", "tcp_ready", "http_ready"}, Doc: "How to tell that the application works; without it, that the container keeps running.", Example: `http_ready(8080, "/health")`},
		{Name: "ready_timeout", Type: engine.TypeDuration, Default: `"5m"`, Doc: "How long the application may take to become ready.", Example: `"10m"`},
	}
}

// A container is the wanted state, shared by its four nodes.
type container struct {
	id        engine.StepID
	app, name string
	facts     *engine.Facts
	gates     pve.Gates
	fleet     *fleet

	pulled                   *oci.Image
	imageName                string
	archive, digest, imageOf engine.Ref // outputs of oci_pull; imageOf is the image's config

	hostname                 string
	cores                    int64
	memory, swap, disk, shm  engine.Size
	storage                  string // "" where the recipe does not say
	mounts                   []mountWant
	env                      []engine.Entry // of engine.Text
	entrypoint, cmd          []string
	hasEntrypoint, hasCmd    bool
	user, workdir            string
	tmpfs                    []tmpfs
	devices                  []pve.Device
	features                 pve.Features
	capDrop, capKeep         []string
	net                      pve.Net
	auto                     bool      // the address comes from pool; see at
	sealKey                  []byte    // see at
	pool                     pve.Range // the host's, zero where it has none for the bridge
	nameserver, searchdomain string
	onboot, protection       bool
	startup                  pve.Startup
	tags                     []string
	unmanaged                bool
	vmid                     int
	lxc                      []pve.KV

	probe   probe.Probe // nil: that it keeps running
	timeout time.Duration

	mark    *logMark
	logConf bool // see at
}

type mountWant struct {
	target string
	source engine.Text
	node   engine.NodeID // "" where nothing has to be waited for
	mount  pve.Mount     // everything but Volume and Path
}

type tmpfs struct {
	target string
	size   engine.Size
}
