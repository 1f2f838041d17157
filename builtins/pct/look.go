package pct

import (
	"cmp"
	"context"
	"slices"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// Look asks the node for the containers of its cluster, and returns them with
// the node's name.
func Look(ctx context.Context, h engine.Host) (g *Guests, node string, err error) {
	known, err := h.Batch(ctx, findAsks(nil))
	if err != nil {
		return nil, "", err
	}
	more, err := h.Batch(ctx, known.Missing(findAsks(known)))
	if err != nil {
		return nil, "", err
	}
	if node, err = pve.NodeName(known); err != nil {
		return nil, "", err
	}
	g, err = GuestsOf(known.Merge(more), node)
	return g, node, err
}

// Mine returns the containers that tengil made, by app, name and id.
func (g *Guests) Mine() []*Guest {
	var mine []*Guest
	for _, guest := range g.ByID {
		if guest.Mine {
			mine = append(mine, guest)
		}
	}
	slices.SortFunc(mine, func(a, b *Guest) int {
		return cmp.Or(cmp.Compare(a.ID.App, b.ID.App), cmp.Compare(a.ID.Name, b.ID.Name), a.VMID-b.VMID)
	})
	return mine
}

// Current returns that container of the app on the node: the one that runs, else
// the newest; nil if there is none.
func (g *Guests) Current(node, app, name string) *Guest {
	var current *Guest
	for _, guest := range g.Named(app, name) {
		if guest.Node == node && (current == nil || guest.Running || !current.Running) {
			current = guest
		}
	}
	return current
}
