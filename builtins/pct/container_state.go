package pct

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
	"github.com/tengil/tengil/engine/unit"
)

// found is what there is of a container; all four nodes see the same.
type found struct {
	guests  []*Guest // of this name, on this node
	intent  *record.Intent
	left    *Guest // what a cut creation left under the intent's id, nil if nothing
	working bool   // the unit of the intent has not ended
	marks   map[string]string
	address map[int]string // of running containers, by id; empty where the recipe fixes it
	all     *Guests
	given   given // the fixed IPv4 address
	hosts   hosts
	sealKey []byte            // of the app; nil without a record
	logConf bool              // LXC is told on the node where the log is kept
	known   map[string]string // addresses of the app's containers, as far as this observation tells, by name
}

func (c *container) Asks(known *engine.Answers) []engine.Ask {
	if known == nil {
		asks := append(GuestAsks(c.facts.Node), engine.AskGlob(record.PrivGlob(c.app)), engine.AskGlob(record.RunGlob(c.app)), unit.ListAsk(c.app), hostsAsk(c.app), logConfAsk(c.app))
		if c.fixes() {
			asks = append(asks, addressAsks()...)
		}
		return asks
	}
	if c.isFixed() {
		return nil // nobody has to tell it
	}
	guests, err := GuestsOf(known, c.facts.Node)
	if err != nil {
		return nil // Observe says it
	}
	var asks []engine.Ask
	for _, g := range guests.Named(c.app, c.name) {
		if g.Running && g.Node == c.facts.Node {
			asks = append(asks, addressAsk(g.VMID))
		}
	}
	return asks
}

// fixes reports whether the container has a fixed IPv4 address; isFixed, whether
// its address, of whichever kind, is known without asking.
func (c *container) fixes() bool {
	_, named := c.recipeIP()
	return c.auto || named
}

func (c *container) isFixed() bool {
	_, fixed := c.fixedAddress()
	return c.auto || fixed
}

func addressAsk(vmid int) engine.Ask {
	return engine.AskRun("lxc-info", "-n", fmt.Sprint(vmid), "-iH")
}

func (c *container) Observe(a *engine.Answers) (engine.State, error) {
	guests, err := GuestsOf(a, c.facts.Node)
	if err != nil {
		return nil, err
	}
	f := &found{address: map[int]string{}, all: guests}
	for _, g := range guests.Named(c.app, c.name) {
		if g.IDErr != nil {
			return nil, fmt.Errorf("CT %d: %w", g.VMID, g.IDErr)
		}
		if g.Node != c.facts.Node {
			return nil, engine.WithHint(fmt.Errorf("CT %d is on node %s, not on %s", g.VMID, g.Node, c.facts.Node),
				"run tg against "+g.Node+", or migrate the container back")
		}
		f.guests = append(f.guests, g)
		if g.Running && !c.isFixed() {
			if f.address[g.VMID], err = addressOf(a, g.VMID); err != nil {
				return nil, err
			}
		}
	}
	if c.fixes() {
		all, err := c.addresses(a, guests)
		if err != nil {
			return nil, err
		}
		f.given = all[c.name]
	}
	if f.known, err = c.knownAddresses(a, guests); err != nil {
		return nil, err
	}
	if f.hosts, err = observeHosts(a, c.app); err != nil {
		return nil, err
	}
	if f.logConf, err = c.observeLog(a); err != nil {
		return nil, err
	}
	if f.marks, err = readMarks(a, c.app); err != nil {
		return nil, err
	}
	f.sealKey = sealKey(a, c.app)
	return f, c.observeIntent(a, f)
}

// sealKey returns the key in the app's record, if there is one. What is wrong with a
// record is told by those who cannot do without.
func sealKey(a *engine.Answers, app string) []byte {
	key, _ := engine.Parsed(a, "seal key "+app, func(a *engine.Answers) ([]byte, error) {
		r, err := record.Read(a, app)
		return r.SealKey, err
	})
	return key
}

// observeIntent finds out how far a creation came that an earlier run began.
func (c *container) observeIntent(a *engine.Answers, f *found) error {
	intents, err := engine.Parsed(a, "intents "+c.app, func(a *engine.Answers) (map[engine.StepID]record.Intent, error) {
		return record.Intents(a, c.app)
	})
	if err != nil {
		return err
	}
	i, ok := intents[c.id]
	if !ok {
		return nil
	}
	f.intent = &i
	units, err := engine.Parsed(a, "units "+c.app, func(a *engine.Answers) ([]string, error) { return unit.Running(a, c.app) })
	if err != nil {
		return err
	}
	f.working = slices.Contains(units, i.Unit)
	if g := f.all.ByID[i.VMID]; g != nil && unfinished(g.Config) {
		f.left = g
	}
	return nil
}

// unfinished reports whether a config is what a cut pct create leaves, or the cut
// removal of that: nothing, or nothing but a lock.
func unfinished(c *pve.Config) bool {
	for k, v := range c.Options {
		if k != "lock" || v != "create" && v != "destroyed" {
			return false
		}
	}
	return len(c.Env) == 0 && len(c.Raw) == 0 && c.Description == ""
}

func addressOf(a *engine.Answers, vmid int) (string, error) {
	ans := a.Get(addressAsk(vmid))
	if ans.Err != nil {
		return "", nil // it has stopped meanwhile, or has no network: no address
	}
	addrs, err := pve.ParseAddresses(ans.Result.Stdout)
	if err != nil {
		return "", err
	}
	if addr, ok := pve.Reachable(addrs); ok {
		return addr.String(), nil
	}
	return "", nil
}

const markPrefix = "ready."

// markName is the name of the file that says that a container was ready.
func markName(name string) string { return markPrefix + record.FileName(name) }

func readMarks(a *engine.Answers, app string) (map[string]string, error) {
	return engine.Parsed(a, "marks "+app, func(a *engine.Answers) (map[string]string, error) {
		files, err := a.Glob(record.RunGlob(app))
		if err != nil {
			return nil, err
		}
		marks := make(map[string]string, len(files))
		for name, data := range files {
			marks[name[strings.LastIndexByte(name, '/')+1:]] = strings.TrimSpace(string(data))
		}
		return marks, nil
	})
}

// pick parts the containers of this name into the one that is as wanted in all
// that only a new container could change, nil if there is none, and the others.
func (c *container) pick(f *found, in engine.Inputs) (current *Guest, previous []*Guest) {
	for _, g := range f.guests {
		if current == nil && len(c.replaces(g, in)) == 0 {
			current = g
		} else {
			previous = append(previous, g)
		}
	}
	return current, previous
}

// replaces returns what keeps g from becoming the wanted container.
func (c *container) replaces(g *Guest, in engine.Inputs) []engine.Change {
	var out []engine.Change
	add := func(field, from, to, why string) {
		out = append(out, engine.Change{Action: engine.Replace, Field: field, From: from, To: to, Why: why})
	}
	if digest := in.Value(c.digest); !digest.IsKnown() || imageDigest(g.ID.Image) != digest.Reveal() {
		add("image", g.ID.Image, c.imageName+"@"+digest.String(), "a container cannot change its image")
	}
	if c.vmid != 0 && g.VMID != c.vmid {
		add("vmid", fmt.Sprint(g.VMID), fmt.Sprint(c.vmid), "a container cannot change its id")
	}
	root, err := g.rootVolume()
	if err != nil {
		return out
	}
	vol, _ := pve.ParseVolID(root.Volume)
	if c.storage != "" && vol.Storage != c.storage {
		add("storage", vol.Storage, c.storage, "Proxmox cannot move a root file system while tengil looks")
	}
	if size, err := pve.ParseSize(root.Size); err == nil && size > c.disk {
		add("disk", size.String(), c.disk.String(), "a root file system cannot shrink")
	}
	return out
}

func imageDigest(image string) string { return image[strings.LastIndexByte(image, '@')+1:] }

// An idChooser gives each container of a run its own id.
type idChooser struct {
	mu    sync.Mutex
	given map[int]bool
}

// next returns the lowest id of the datacenter's range that is neither used nor
// given before.
func (i *idChooser) next(g *Guests) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.given == nil {
		i.given = map[int]bool{}
	}
	id := g.Lowest
	for g.Used[id] || i.given[id] {
		id++
	}
	if id > g.Highest {
		return 0, fmt.Errorf("no free id from %d to %d", g.Lowest, g.Highest)
	}
	i.given[id] = true
	return id, nil
}
