package pct

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// configGlob matches the configs of all containers of the cluster.
const configGlob = "/etc/pve/nodes/*/lxc/*.conf"

// ConfigFile returns the path of the config of a container on this node.
func ConfigFile(vmid int) string { return fmt.Sprintf("/etc/pve/lxc/%d.conf", vmid) }

// configLock is the lock that PVE itself takes around changes of a config
// (AbstractConfig.pm, lock_config).
func configLock(vmid int) string { return fmt.Sprintf("/run/lock/lxc/pve-config-%d.lock", vmid) }

// listAsk asks which containers run; it needs the node's name.
func listAsk(node string) engine.Ask {
	return engine.AskRun("pvesh", "get", "/nodes/"+node+"/lxc", "--output-format", "json")
}

// A Guest is a container found on the cluster.
type Guest struct {
	VMID    int
	Node    string
	Config  *pve.Config
	Mine    bool // carries tengil's tag and machine line
	ID      record.Identity
	IDErr   error // the machine line cannot be read
	Running bool  // known for this node's containers only
	Uptime  time.Duration
}

// Guests are all containers of the cluster, as one observation found them.
type Guests struct {
	ByID            map[int]*Guest
	byName          map[string][]*Guest // by app/container, ascending ids
	Used            map[int]bool        // ids of containers and virtual machines
	Lowest, Highest int                 // ids that the datacenter gives to new guests
}

// Named returns the containers that are that container of the app: normally one,
// two while one replaces the other.
func (g *Guests) Named(app, name string) []*Guest { return g.byName[app+"/"+name] }

// GuestAsks returns the questions of GuestsOf.
func GuestAsks(node string) []engine.Ask {
	return append(guestAsks(), listAsk(node))
}

func guestAsks() []engine.Ask {
	return []engine.Ask{engine.AskGlob(configGlob), engine.AskFile(pve.VMListFile), engine.AskFile(pve.DatacenterFile)}
}

// GuestsOf returns the containers; it is parsed once for all steps.
func GuestsOf(a *engine.Answers, node string) (*Guests, error) {
	return engine.Parsed(a, "pct guests "+node, func(a *engine.Answers) (*Guests, error) { return parseGuests(a, node) })
}

func parseGuests(a *engine.Answers, node string) (*Guests, error) {
	g, err := parseConfigs(a)
	if err != nil {
		return nil, err
	}
	return g, g.addStatus(a, node)
}

// parseConfigs returns the containers without who of them runs.
func parseConfigs(a *engine.Answers) (*Guests, error) {
	files, err := a.Glob(configGlob)
	if err != nil {
		return nil, err
	}
	g := &Guests{ByID: make(map[int]*Guest, len(files)), byName: map[string][]*Guest{}, Used: map[int]bool{}}
	for name, data := range files {
		id, err := strconv.Atoi(strings.TrimSuffix(path.Base(name), ".conf"))
		if err != nil {
			continue // Proxmox ignores files of other names here too
		}
		guest := &Guest{VMID: id, Node: path.Base(path.Dir(path.Dir(name)))}
		if guest.Config, err = pve.ParseConfig(data); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if c := guest.Config; len(c.Options) == 0 && len(c.Unknown) > 0 {
			return nil, engine.WithHint(fmt.Errorf("%s: wanted the config of a container, got %.80q", name, data), "see what became of the container, then restore the file from a backup or remove it")
		}
		guest.ID, guest.Mine, guest.IDErr = identify(guest.Config, id)
		g.ByID[id], g.Used[id] = guest, true
		if guest.Mine {
			key := guest.ID.App + "/" + guest.ID.Name
			g.byName[key] = append(g.byName[key], guest)
		}
	}
	for _, same := range g.byName {
		slices.SortFunc(same, func(x, y *Guest) int { return x.VMID - y.VMID })
	}
	if g.Lowest, g.Highest, err = idRange(a); err != nil {
		return nil, err
	}
	return g, g.addVMs(a)
}

func idRange(a *engine.Answers) (lowest, highest int, err error) {
	data, err := a.File(pve.DatacenterFile)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = nil, nil
	}
	if err != nil {
		return 0, 0, err
	}
	return pve.ParseNextIDRange(data)
}

// identify tells whether a container is ours: the machine line of its description
// speaks of this very id. A clone or a backup that was restored under another id
// says the same of its original and is not ours. Tags do not count: somebody may
// have taken them off, and the next run puts them on again.
func identify(c *pve.Config, vmid int) (record.Identity, bool, error) {
	id, ok, err := record.ParseDescription(c.Description)
	return id, ok && id.VMID == vmid, err
}

// addVMs adds the ids of virtual machines, which share the numbers.
func (g *Guests) addVMs(a *engine.Answers) error {
	data, err := a.File(pve.VMListFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	listed, err := pve.ParseVMList(data)
	for id := range listed {
		g.Used[id] = true
	}
	return err
}

func (g *Guests) addStatus(a *engine.Answers, node string) error {
	ans := a.Get(listAsk(node))
	if errors.Is(ans.Err, engine.ErrNobody) {
		return nil
	}
	if ans.Err != nil {
		return pve.Explain(ans.Err)
	}
	list, err := pve.ParseGuestList(ans.Result.Stdout)
	if err != nil {
		return err
	}
	for _, l := range list {
		if guest := g.ByID[l.ID]; guest != nil {
			guest.Running, guest.Uptime = l.Status == "running", time.Duration(l.Uptime)*time.Second
		}
	}
	return nil
}

// rootVolume returns the volume of the root file system.
func (g *Guest) rootVolume() (pve.Mount, error) { return pve.ParseMount(g.Config.Get("rootfs")) }

// net0 returns the first network interface; the zero Net where there is none.
func (g *Guest) net0() pve.Net {
	n, err := pve.ParseNet(g.Config.Get("net0"))
	if err != nil {
		return pve.Net{}
	}
	return n
}

// Memory returns the limit of the container's memory (512M where its config has
// none, Config.pm).
func (g *Guest) Memory() engine.Size {
	if n, err := strconv.ParseInt(g.Config.Get("memory"), 10, 32); err == nil {
		return engine.Size(n) * engine.MiB
	}
	return 512 * engine.MiB
}

// Onboot reports whether the container starts with its node.
func (g *Guest) Onboot() bool { return normal("onboot", g.Config.Get("onboot")) == "1" }

// HWAddrs returns the MAC addresses of all interfaces, upper case.
func (g *Guest) HWAddrs() []string {
	var out []string
	for _, i := range g.Config.Indexed("net") {
		if n, err := pve.ParseNet(g.Config.Get(fmt.Sprintf("net%d", i))); err == nil && n.HWAddr != "" {
			out = append(out, strings.ToUpper(n.HWAddr))
		}
	}
	return out
}
