package pct

import (
	"slices"
	"sync"
)

// A fleet is the containers of one evaluated recipe, which must not get each
// other's ids and addresses.
type fleet struct {
	ids  idChooser
	roll roll

	mu      sync.Mutex
	members []*container   // in recipe order
	at      map[string]int // their places, by name
}

// join adds a container; one of the same name is the same call made again.
func (f *fleet) join(c *container) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i, ok := f.at[c.name]; ok {
		f.members[i] = c
		return
	}
	if f.at == nil {
		f.at = map[string]int{}
	}
	f.at[c.name] = len(f.members)
	f.members = append(f.members, c)
}

// all returns the containers in recipe order.
func (f *fleet) all() []*container {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.members)
}
