package pct

import (
	"strings"

	"github.com/tengil/tengil/engine"
)

// A Demand is what one container of a recipe takes of its node.
type Demand struct {
	Name         string
	Memory, Disk engine.Size // limits, as the recipe has them
	Cores        int64       // 0: all
	Storage      string      // of the root file system
	VMID         int         // that the recipe asks for; 0: any
	MAC          string      // that the recipe asks for, upper case; "": any
	Image        engine.NodeID
}

// DemandOf returns what a container takes; ok for the node that creates it.
func DemandOf(s engine.Spec) (d Demand, ok bool) {
	c, ok := s.(create)
	if !ok {
		return Demand{}, false
	}
	return Demand{Name: c.name, Memory: c.memory, Disk: c.disk, Cores: c.cores, Storage: c.rootStorage(),
		VMID: c.vmid, MAC: strings.ToUpper(c.net.HWAddr), Image: c.archive.Node}, true
}

// Seen returns the containers of the cluster, and those among them that are this
// one, as the node that creates it has observed them.
func Seen(now engine.State) (all *Guests, own []*Guest) {
	f, ok := now.(*found)
	if !ok {
		return &Guests{}, nil
	}
	return f.all, f.guests
}
