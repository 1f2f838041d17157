package pve

// An OldPackage is a package of a node that tengil works with, though not as well
// as with a newer one.
type OldPackage struct {
	Name, Have, Want string
	Breaks           string // what does not work, or works in another way
	// Grave is set where containers may not come into being at all.
	Grave bool
}

// OldPackages lists what the versions on a node take away, the graver first. What
// is too old to be used at all, Supported tells.
func OldPackages(packages map[string]string) []OldPackage {
	g, err := GatesOf(packages)
	if err != nil {
		return nil
	}
	container := packages["pve-container"]
	var old []OldPackage
	add := func(when bool, name, have, want, breaks string, grave bool) {
		if when {
			old = append(old, OldPackage{name, have, want, breaks, grave})
		}
	}
	add(g.UnmanagedBroken, "pve-container", container, "6.1.1",
		"containers of distributions that Proxmox VE does not know can be neither made nor started", true)
	if have := packages["libpve-rs-perl"]; have != "" {
		add(!g.LayerReplace, "libpve-rs-perl", have, "0.11.4",
			"images in which a layer replaces a directory or a link by a file cannot be unpacked", true)
	}
	add(!g.ImageUser, "pve-container", container, "6.1.0", "the user that an image names is not heeded: its program runs as root of the container", false)
	add(g.InheritsAttrs, "pve-container", container, "6.1.2", "mounts take owner and mode of the directory in the image", false)
	add(!g.IDMap, "pve-container", container, "6.1.6", "mounts cannot map ids (idmap); owners are shifted on the dataset", false)
	return old
}
