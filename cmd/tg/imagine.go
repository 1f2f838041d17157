package main

import (
	"context"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/recipe"
)

// imagine evaluates a recipe for a node that does not exist, to tell what it
// makes and which options it has. Options without a value get an example.
func imagine(ctx context.Context, src *source, given map[string]string) (*recipe.Recipe, error) {
	values := map[string]string{}
	for k, v := range given {
		values[k] = v
	}
	for {
		r, err := recipe.Load(ctx, src.name, recipe.Options{
			Kinds:        builtins.Kinds(),
			Constructors: builtins.Constructors(),
			Facts:        imagined(),
			FS:           src.file,
			Source:       src.label,
			Dir:          src.dir,
			Values:       values,
			Catalogs:     src.otherCatalogs(),
		})
		missing := orDeclared(err)
		if len(missing) == 0 {
			return r, err
		}
		for _, o := range missing {
			if values[o.Name], err = placeholder(o); err != nil {
				return nil, err
			}
		}
	}
}

// imagined returns the facts of an ordinary node that has everything a recipe can
// ask for. Its pool is called "pool", so that what a recipe makes reads as it is
// meant: "pool/photos".
func imagined() *engine.Facts {
	return &engine.Facts{
		Imagined: true,
		Node:     "pve", Arch: "amd64", PVE: "9.2",
		Packages: map[string]string{
			"pve-manager": "9.2.11", "pve-container": "6.1.10", "libpve-storage-perl": "9.1.7",
			"libpve-rs-perl": "0.11.4", "lxc-pve": "6.0.5-3", "skopeo": "1.18.0",
		},
		Cores: 8, Memory: 32 * engine.GiB,
		Pools: []engine.Pool{{Name: "pool", Size: 4 * engine.TiB, Free: 3 * engine.TiB, Health: "ONLINE"}},
		Storages: []engine.Storage{
			{Name: "local", Type: "dir", Content: []string{"vztmpl"}, Path: "/var/lib/vz"},
			{Name: "local-zfs", Type: "zfspool", Content: []string{"rootdir"}, Pool: "pool/data"},
		},
		Bridges: []string{"vmbr0"},
		GPUs: []engine.GPU{
			{Vendor: "intel", PCI: "0000:00:02.0", Driver: "i915", Card: "card0", Render: "renderD128"},
			{Vendor: "amd", PCI: "0000:03:00.0", Driver: "amdgpu", Card: "card1", Render: "renderD129"},
			{Vendor: "nvidia", PCI: "0000:04:00.0", Driver: "nvidia", Nodes: []string{"/dev/nvidia0"}},
		},
		Default: engine.Choices{Pool: "pool", Storage: "local-zfs", Templates: "local", Bridge: "vmbr0"},
	}
}
