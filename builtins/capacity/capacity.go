// Package capacity checks whether a node has room for what a plan would make: memory,
// space on its storages, ids and hardware addresses that nobody else has. What
// cannot work is refused; what may not is a warning.
package capacity

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/tengil/tengil/builtins/oci"
	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/builtins/zfs"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// Check returns the check of a whole plan.
func Check() engine.Check { return engine.Check{Asks: asks, Find: find} }

// vmGlob matches the configs of a node's virtual machines.
func vmGlob(node string) string { return "/etc/pve/nodes/" + node + "/qemu-server/*.conf" }

func asks(g *engine.Graph, f *engine.Facts) []engine.Ask {
	out := append([]engine.Ask{engine.AskGlob(vmGlob(f.Node))}, pve.SpaceAsks([]string{pve.StoreParent})...)
	for _, name := range storages(g, f) {
		out = append(out, spaceAsk(f, name)...)
	}
	return out
}

// storages are those that containers and images of the graph are put on, sorted.
func storages(g *engine.Graph, f *engine.Facts) []string {
	var names []string
	for _, n := range g.Nodes() {
		if d, ok := pct.DemandOf(n.Spec); ok {
			names = append(names, d.Storage, f.Default.Templates)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func storage(f *engine.Facts, name string) (engine.Storage, bool) {
	i := slices.IndexFunc(f.Storages, func(s engine.Storage) bool { return s.Name == name })
	if i < 0 {
		return engine.Storage{}, false
	}
	return f.Storages[i], true
}

// spaceAsk asks how much is free on a storage: of a ZFS pool and of what has a
// directory. The others would need pvesm, which takes longer than all the rest of
// a plan; their space is not checked.
func spaceAsk(f *engine.Facts, name string) []engine.Ask {
	s, _ := storage(f, name)
	switch {
	case s.Type == "zfspool":
		return []engine.Ask{zfs.ListAsk()}
	case s.Path != "":
		return pve.SpaceAsks([]string{s.Path})
	}
	return nil
}

// free returns the bytes that are free on a storage; ok is false where that is
// not known.
func free(a *engine.Answers, f *engine.Facts, name string) (n engine.Size, ok bool, err error) {
	s, _ := storage(f, name)
	if name == store {
		s = engine.Storage{Path: pve.StoreParent}
	}
	switch {
	case s.Type == "zfspool":
		all, err := zfs.List(a)
		if err != nil || all[s.Pool] == nil {
			return 0, false, err
		}
		n, err := pve.ParseSize(all[s.Pool]["available"])
		return n, err == nil, err
	case s.Path != "":
		n, err := pve.FreeSpace(a, s.Path)
		var exit *engine.ExitError
		if errors.As(err, &exit) {
			return 0, false, nil // nobody was asked, or the directory is yet to be made
		}
		return n, err == nil, err
	}
	return 0, false, nil
}

// A want is one container of the plan.
type want struct {
	pct.Demand
	node engine.PlanNode
	own  []*pct.Guest
	made bool // a new root file system is to be made
}

func (w want) finding(refuses bool, hint, format string, args ...any) engine.Finding {
	return engine.Finding{Step: w.node.Step, Text: fmt.Sprintf(format, args...), Hint: hint, Refuses: refuses}
}

// find checks a plan that has something to do.
func find(p *engine.Plan, a *engine.Answers) ([]engine.Finding, error) {
	var wants []want
	all := &pct.Guests{}
	for _, n := range p.Nodes {
		d, ok := pct.DemandOf(n.Spec)
		if !ok {
			continue
		}
		w := want{Demand: d, node: n}
		all, w.own = pct.Seen(n.Now)
		w.made = slices.ContainsFunc(n.Diff.Changes, func(c engine.Change) bool {
			return c.Action == engine.Create || c.Action == engine.Replace
		})
		wants = append(wants, w)
	}
	if len(wants) == 0 {
		return nil, nil
	}
	var out []engine.Finding
	for _, w := range wants {
		out = append(out, sizes(w, p.Facts)...)
		out = append(out, ids(w, all)...)
	}
	out = append(out, macs(wants, all, a, p.Facts)...)
	space, err := spaces(wants, p, a)
	if err != nil {
		return nil, err
	}
	out = append(out, space...)
	sum, err := memory(wants, all, a, p.Facts)
	return append(out, sum...), err
}

// sizes compares one container with the node.
func sizes(w want, f *engine.Facts) []engine.Finding {
	var out []engine.Finding
	if f.Memory > 0 && w.Memory > f.Memory {
		out = append(out, w.finding(true, "give it less with memory, or use a larger node", "memory is %s, but %s has %s", w.Memory, f.Node, about(f.Memory)))
	}
	if f.Cores > 0 && w.Cores > int64(f.Cores) {
		out = append(out, w.finding(false, "", "cores is %d, but %s has %d", w.Cores, f.Node, f.Cores))
	}
	return out
}

// ids looks at an id that the recipe asks for. That another guest has it is
// refused where the container is made.
func ids(w want, g *pct.Guests) []engine.Finding {
	if w.VMID == 0 || w.VMID >= g.Lowest && w.VMID <= g.Highest {
		return nil
	}
	return []engine.Finding{w.finding(false, "", "vmid is %d, outside of the ids that the datacenter gives to new guests (%d to %d)", w.VMID, g.Lowest, g.Highest)}
}

// macs refuses a hardware address that two would have: neither could be reached.
func macs(wants []want, g *pct.Guests, a *engine.Answers, f *engine.Facts) []engine.Finding {
	has := map[string]string{}
	for _, guest := range g.ByID {
		for _, mac := range guest.HWAddrs() {
			if who := guest.String(); has[mac] == "" || who < has[mac] {
				has[mac] = who
			}
		}
	}
	var out []engine.Finding
	asked := map[string]string{}
	for _, w := range wants {
		if w.MAC == "" {
			continue
		}
		who := has[w.MAC]
		for _, guest := range w.own {
			if slices.Contains(guest.HWAddrs(), w.MAC) {
				who = ""
			}
		}
		if who = cmp.Or(who, vmWithMAC(a, f, w.MAC), asked[w.MAC]); who != "" {
			out = append(out, w.finding(true, "choose another mac, or leave it out", "%s has the MAC address %s", who, w.MAC))
		}
		asked[w.MAC] = "container " + w.Name + " of this recipe"
	}
	return out
}

func vmWithMAC(a *engine.Answers, f *engine.Facts, mac string) string {
	vms, err := a.Glob(vmGlob(f.Node))
	who := ""
	for name, data := range vms {
		if vm := "VM " + strings.TrimSuffix(path.Base(name), ".conf"); err == nil && strings.Contains(strings.ToUpper(string(data)), mac) && (who == "" || vm < who) {
			who = vm
		}
	}
	return who
}

// nearlyFull is from which use on a pool is worth a word: ZFS slows down there.
const nearlyFull = 90

// store stands among the storages for where images are kept; it is none of them.
const store = ""

// spaces compares what is to be unpacked with what is free. An image takes
// unpacked at least what it takes packed, so that less than that cannot work.
func spaces(wants []want, p *engine.Plan, a *engine.Answers) ([]engine.Finding, error) {
	packed := map[engine.NodeID]oci.Packed{}
	for _, n := range p.Nodes {
		if size, ok := oci.PackedOf(n); ok {
			packed[n.ID] = size
		}
	}
	type use struct {
		needs, disks engine.Size
		last         want
	}
	uses := map[string]*use{}
	add := func(storage string, w want, needs, disk engine.Size) {
		if uses[storage] == nil {
			uses[storage] = &use{}
		}
		u := uses[storage]
		u.needs, u.disks, u.last = u.needs+needs, u.disks+disk, w
	}
	pulled := map[engine.NodeID]bool{}
	for _, w := range wants {
		if !w.made {
			continue
		}
		image := packed[w.Image]
		add(w.Storage, w, image.Size, w.Disk)
		if image.Pulls && !pulled[w.Image] {
			pulled[w.Image] = true
			add(p.Facts.Default.Templates, w, image.Size, 0)
			if s, _ := storage(p.Facts, p.Facts.Default.Templates); pve.SameFileSystem(a, s.Path, pve.StoreParent) {
				add(p.Facts.Default.Templates, w, image.Size, 0) // there twice: as archive and as blobs
			} else {
				add(store, w, image.Size, 0)
			}
		}
	}
	var out []engine.Finding
	var names []string
	for name := range uses {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		u := uses[name]
		n, ok, err := free(a, p.Facts, name)
		if err != nil {
			return nil, fmt.Errorf("space on storage %s: %w", name, err)
		}
		switch {
		case !ok:
		case u.needs > n || n == 0:
			out = append(out, u.last.finding(true, "free some space there, or choose another storage",
				"%s has %s free; the images alone need more than %s", place(name), about(n), about(u.needs)))
		case u.disks > n:
			out = append(out, u.last.finding(false, "", "the disks of the new containers may grow to %s together; storage %s has %s free", u.disks, name, about(n)))
		}
	}
	return append(out, pools(wants, p)...), nil
}

func place(storage string) string {
	if storage == store {
		return record.StoreFile()
	}
	return "storage " + storage
}

// pools warns of pools that are nearly full and that the plan puts something on.
func pools(wants []want, p *engine.Plan) []engine.Finding {
	on := map[string]engine.Step{}
	put := func(dataset string, step engine.Step) {
		if pool, _, _ := strings.Cut(dataset, "/"); on[pool].ID == "" {
			on[pool] = step
		}
	}
	for _, w := range wants {
		if s, _ := storage(p.Facts, w.Storage); w.made && s.Type == "zfspool" {
			put(s.Pool, w.node.Step)
		}
	}
	for _, n := range p.Nodes {
		if n.Step.ID.Kind() == "zfs_dataset" && len(n.Diff.Changes) > 0 && n.Diff.Changes[0].Action == engine.Create {
			put(n.Step.ID.Name(), n.Step)
		}
	}
	var out []engine.Finding
	for _, pool := range p.Facts.Pools {
		step, used := on[pool.Name]
		if used && pool.Size > 0 && (pool.Size-pool.Free) > pool.Size/100*nearlyFull {
			out = append(out, engine.Finding{Step: step, Text: fmt.Sprintf("pool %s is more than %d %% full", pool.Name, nearlyFull)})
		}
	}
	return out
}

// memory adds the limits of all that runs on the node or starts with it. They may
// exceed what the node has, as long as not all is used at once.
func memory(wants []want, g *pct.Guests, a *engine.Answers, f *engine.Facts) ([]engine.Finding, error) {
	var sum, before engine.Size
	mine := map[*pct.Guest]bool{}
	for _, w := range wants {
		sum += w.Memory
		for _, guest := range w.own {
			mine[guest] = true
		}
	}
	for _, guest := range g.ByID {
		if guest.Node == f.Node && !mine[guest] && (guest.Running || guest.Onboot()) {
			before += guest.Memory()
		}
	}
	vms, err := a.Glob(vmGlob(f.Node))
	if err != nil {
		return nil, err
	}
	for _, data := range vms {
		if size, onboot := pve.VMMemory(data); onboot {
			before += size
		}
	}
	if f.Memory == 0 || before+sum <= f.Memory {
		return nil, nil
	}
	largest := slices.MaxFunc(wants, func(x, y want) int { return cmp.Compare(x.Memory, y.Memory) })
	return []engine.Finding{largest.finding(false, "", "memory limits of what runs on %s or starts with it come to %s, of this application %s; the node has %s",
		f.Node, about(before+sum), about(sum), about(f.Memory))}, nil
}

// about prints a size with one digit after the point, in the largest unit that fits.
func about(s engine.Size) string {
	for _, u := range []struct {
		unit engine.Size
		name string
	}{{engine.TiB, "T"}, {engine.GiB, "G"}, {engine.MiB, "M"}, {engine.KiB, "K"}} {
		if s >= u.unit {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(s)/float64(u.unit)), ".0") + u.name
		}
	}
	return fmt.Sprint(int64(s))
}
