package pve

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine"
)

// choose completes the choices of a host's owner: the pool is that of the
// directory for data where there is one; without it the only one, else
// the one with most free space that is not the system's; the storage is the first
// for root file systems, of type zfspool if there is one; the bridge is vmbr0 or
// the first. What the node does not have stays "".
func choose(f *engine.Facts, want engine.Choices) (engine.Choices, error) {
	if err := addDataPool(f, want.Data); err != nil {
		return engine.Choices{}, err
	}
	if err := checkOnNode(f, want); err != nil {
		return engine.Choices{}, err
	}
	set := func(have *string, found string) {
		if *have == "" {
			*have = found
		}
	}
	set(&want.Pool, defaultPool(f.Pools))
	set(&want.Storage, defaultStorage(f))
	set(&want.Templates, first(storageNames(f, "vztmpl")))
	set(&want.Bridge, defaultBridge(f.Bridges))
	return want, nil
}

func defaultPool(pools []engine.Pool) string {
	var best engine.Pool
	for _, p := range pools {
		if p.Dir != "" {
			return p.Name
		}
		if len(pools) > 1 && p.Name == "rpool" { // the installer's name for the system's pool
			continue
		}
		if best.Name == "" || p.Free > best.Free {
			best = p
		}
	}
	return best.Name
}

func defaultStorage(f *engine.Facts) string {
	names := storageNames(f, "rootdir")
	for _, s := range f.Storages {
		if s.Type == "zfspool" && slices.Contains(names, s.Name) {
			return s.Name
		}
	}
	return first(names)
}

func defaultBridge(bridges []string) string {
	if slices.Contains(bridges, "vmbr0") {
		return "vmbr0"
	}
	return first(bridges)
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// StoragesFor lists the storages that are on, that the node of the facts may use,
// and that hold the content: "rootdir", "vztmpl".
func StoragesFor(f *engine.Facts, content string) []engine.Storage {
	var out []engine.Storage
	for _, s := range f.Storages {
		here := len(s.Nodes) == 0 || slices.Contains(s.Nodes, f.Node)
		if here && !s.Off && slices.Contains(s.Content, content) {
			out = append(out, s)
		}
	}
	return out
}

func storageNames(f *engine.Facts, content string) []string {
	var names []string
	for _, s := range StoragesFor(f, content) {
		names = append(names, s.Name)
	}
	return names
}

func checkOnNode(f *engine.Facts, want engine.Choices) error {
	if err := CheckChoices(want); err != nil {
		return err
	}
	var pools []string
	for _, p := range f.Pools {
		pools = append(pools, p.Name)
	}
	for _, c := range []struct {
		what, name string
		have       []string
	}{
		{"pool", want.Pool, pools},
		{"storage for root file systems", want.Storage, storageNames(f, "rootdir")},
		{"storage for templates", want.Templates, storageNames(f, "vztmpl")},
		{"bridge", want.Bridge, f.Bridges},
	} {
		if c.name != "" && !slices.Contains(c.have, c.name) {
			return fmt.Errorf("%s has no %s %q; it has %s", f.Node, c.what, c.name, quotedList(c.have))
		}
	}
	return nil
}

func quotedList(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	var out []string
	for _, n := range names {
		out = append(out, fmt.Sprintf("%q", n))
	}
	return strings.Join(out, ", ")
}
