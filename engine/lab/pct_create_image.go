package lab

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// unpackTemplate fills the root from the template. An image that is not taken
// for one is unpacked as a root file system, whatever it holds.
func (cr *creation) unpackTemplate() (err error) {
	image, err := cr.node.isOCIArchive(cr.archive)
	var unlistable *tarListError
	if errors.As(err, &unlistable) {
		fmt.Fprint(cr.warn, unlistable.Output)
		return dief(255, "%v", err)
	}
	if err != nil {
		return err
	}
	if !image {
		return cr.unpackPlain()
	}
	fmt.Fprintln(cr.warn, "Detected OCI archive")
	a, err := cr.node.openArchive(cr.archive)
	if err != nil {
		return atLine(err, 680)
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if cr.conf.Get("unprivileged") != "1" {
		return cr.privilegedImage()
	}
	if err := cr.unpackImage(a); err != nil {
		return err
	}
	return cr.takeImageConfig(a.Config)
}

// privilegedImage is how the creation of a privileged container from an image
// ends: its helper asks for a user namespace without a map.
func (cr *creation) privilegedImage() error {
	if pve.CompareVersions(cr.node.pve, "6.1.0") < 0 {
		return dief(255, "Invalid argument")
	}
	return dief(255, "setgid(0): Invalid argument")
}

// atLine turns an error of proxmox-oci to one of the worker; Perl says where.
func atLine(err error, line int) error {
	var oci *ociError
	if !errors.As(err, &oci) {
		return err
	}
	return dief(255, "%v at /usr/share/perl5/PVE/LXC/Create.pm line %d.", err, line)
}

// unpackImage unpacks the layers into the root and moves to the other mounts
// what belongs there, as PVE mounts them first.
func (cr *creation) unpackImage(a *ociArchive) error {
	root := cr.mounts[0].Source
	dir, err := cr.node.real(root)
	if err != nil {
		return err
	}
	if err := cr.checkRootOwner(a); err != nil {
		return err
	}
	limit := cr.rootLimit()
	left, limited := cr.node.room(root)
	if limited && (limit == 0 || left < limit) {
		limit = left
	}
	defer cr.task.fork()()
	err = a.unpack(unpacking{
		dir:   dir,
		full:  limited && left == 0,
		shown: lxcRoot(cr.id),
		limit: limit,
		own:   func(name string, o owner) { cr.ownEntry(root, name, o) },
		owned: cr.node.lxc != nil,
		attr:  cr.attributes(root),
		step:  cr.checkpoint,
	})
	if err != nil {
		return atLine(err, 680)
	}
	if limited {
		if _, err := cr.node.fill(root, treeSize(dir)); err != nil {
			return err
		}
	}
	if err := cr.checkpoint(); err != nil {
		return err
	}
	for _, m := range cr.mounts[1:] {
		if err := cr.whiteOut(a, m); err != nil {
			return err
		}
		if err := cr.spread(m); err != nil {
			return err
		}
	}
	return nil
}

// rootLimit returns how many bytes fit into the root, 0 for no limit.
func (cr *creation) rootLimit() int64 {
	m, err := pve.ParseMount(cr.conf.Options["rootfs"])
	if err != nil || m.Kind() != pve.VolumeMount {
		return 0
	}
	v, err := cr.node.volume(m.Volume)
	if err != nil {
		return 0
	}
	size, err := cr.node.volumeSize(v)
	if err != nil {
		return 0
	}
	return size
}

// checkRootOwner refuses a root, bound from the node, in which the container's
// root may not write.
func (cr *creation) checkRootOwner(a *ociArchive) error {
	fi, err := cr.node.stat(cr.mounts[0].Source)
	if err != nil || cr.node.owner(cr.mounts[0].Source, fi).UID >= mappedRoot {
		return err
	}
	layers, err := a.orderedLayers()
	if err != nil {
		return atLine(err, 680)
	}
	t, err := a.merge(layers)
	if err != nil {
		return atLine(err, 680)
	}
	first := ""
	for name := range t {
		if !strings.Contains(name, "/") && name != "." && (first == "" || name < first) {
			first = name
		}
	}
	return atLine(extractError("IO error: failed to create `%s/%s` ", lxcRoot(cr.id), first), 680)
}

// ownEntry notes the owner of an entry of the image, which may lie behind a link.
func (cr *creation) ownEntry(root, name string, o owner) {
	inside := guestRoot{cr.node, []guestMount{{Path: "/", Source: root}}}
	at, err := inside.real(name, false)
	if err != nil {
		return // the extractor has written through no such link
	}
	if fi, err := cr.node.lstat(at); err == nil && fi.Mode()&fs.ModeSymlink != 0 {
		o.Mode = 0o777
	}
	cr.ownMapped(at, o)
}

// attributes returns what sets extended attributes in a root, nil where files do
// not have their own.
func (cr *creation) attributes(root string) func(name, attr, value string) error {
	if cr.node.lxc == nil {
		return nil
	}
	inside := guestRoot{cr.node, []guestMount{{Path: "/", Source: root}}}
	return func(name, attr, value string) error {
		at, err := inside.real(name, false)
		if err != nil {
			return err
		}
		return cr.node.setXattr(at, attr, value)
	}
}

// ownMapped notes the owner of a file with the container's ids mapped.
func (cr *creation) ownMapped(name string, o owner) {
	o.UID, o.GID = o.UID+mappedRoot, o.GID+mappedRoot
	cr.node.setOwner(name, o)
}

// whiteOut removes from a mount what a layer of the image hides there.
func (cr *creation) whiteOut(a *ociArchive, m guestMount) error {
	fi, err := cr.node.stat(m.Source)
	if err != nil || cr.node.owner(m.Source, fi).UID < mappedRoot {
		return err // it may remove nothing there
	}
	layers, err := a.orderedLayers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		err := a.eachEntry(l, func(h *tar.Header, _ io.Reader) error {
			name, ok := layerName(h.Name)
			if !ok {
				return nil
			}
			w, ok := parseWhiteout(name)
			at := path.Join("/", w.name)
			if !ok || w.opaque || at == m.Path || !within(at, m.Path) {
				return nil
			}
			return cr.node.removeAll(path.Join(m.Source, strings.TrimPrefix(at, m.Path)))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// spread moves what the image has at a mount's path to what is mounted there:
// same-named files are replaced, the directory takes the image's owner.
func (cr *creation) spread(m guestMount) error {
	from := path.Join(cr.mounts[0].Source, m.Path)
	list, err := cr.node.readDir(from)
	if err != nil || len(list) == 0 {
		return nil // the image has nothing there
	}
	fi, err := cr.node.stat(m.Source)
	if err != nil {
		return err
	}
	if cr.node.owner(m.Source, fi).UID < mappedRoot {
		return dief(255, "Error while extracting OCI image: IO error: failed to unpack `%s`  at /usr/share/perl5/PVE/LXC/Create.pm line 680.",
			path.Join(lxcRoot(cr.id), m.Path, list[0].Name()))
	}
	for _, e := range list {
		to := path.Join(m.Source, e.Name())
		if err := cr.node.removeAll(to); err != nil {
			return err
		}
		if err := cr.node.rename(path.Join(from, e.Name()), to); err != nil {
			return err
		}
	}
	if fi, err := cr.node.stat(from); err == nil {
		cr.node.setOwner(m.Source, cr.node.owner(from, fi))
	}
	return nil
}

// takeImageConfig writes the image's config to the container's, over what the
// options said (restore_oci_archive in Create.pm).
func (cr *creation) takeImageConfig(image pve.ImageConfig) error {
	if err := checkImageControls(image); err != nil {
		return err
	}
	if err := cr.makeVolumeDirs(image.Volumes); err != nil {
		return err
	}
	if argv := image.Argv(); len(argv) > 0 && argv[0] != "/sbin/init" {
		cr.conf.Options["entrypoint"] = pve.ShellQuoteEntrypoint(argv)
		cr.conf.Options["cmode"] = "console"
		if err := cr.manageNetworks(); err != nil {
			return err
		}
	}
	if len(image.Env) > 0 {
		cr.conf.Env = slices.Clone(image.Env)
	}
	if image.User != "" && pve.CompareVersions(cr.node.pve, "6.1.0") >= 0 {
		if err := cr.takeUser(image.User); err != nil {
			return err
		}
	}
	if image.WorkingDir != "" {
		cr.conf.Raw = append(cr.conf.Raw, pve.KV{Key: "lxc.init.cwd", Value: image.WorkingDir})
	}
	signal := image.StopSignal
	if signal == "" {
		signal = "SIGTERM"
	}
	cr.conf.Raw = append(cr.conf.Raw, pve.KV{Key: "lxc.signal.halt", Value: signal})
	cr.node.changeGuest(cr.id, func(g *guestState) { g.Ports = tcpPorts(image.ExposedPorts) })
	return nil
}

// checkImageControls refuses the control characters that PVE looks for: all but
// tab, newline and what lies up to carriage return.
func checkImageControls(image pve.ImageConfig) error {
	control := func(s string) bool {
		return strings.ContainsFunc(s, func(r rune) bool { return r < 0x09 || r >= 0x10 && r < 0x20 || r == 0x7f })
	}
	for _, f := range []struct {
		field string
		list  []string
	}{{"Entrypoint", image.Entrypoint}, {"Cmd", image.Cmd}, {"Env", image.Env}} {
		if slices.ContainsFunc(f.list, control) {
			return dief(255, "OCI config array-value for '%s' contains forbidden control characters!", f.field)
		}
	}
	for field, text := range map[string]string{"User": image.User, "WorkingDir": image.WorkingDir, "StopSignal": image.StopSignal} {
		if control(text) {
			return dief(255, "OCI config value for '%s' contains forbidden control characters!", field)
		}
	}
	return nil
}

// makeVolumeDirs makes the directories that the image declares as volumes.
func (cr *creation) makeVolumeDirs(paths []string) error {
	root := guestRoot{cr.node, cr.mounts}
	for _, p := range paths {
		fmt.Fprintf(cr.warn, "creating base directory for volume at %s\n", p)
		at := "/"
		for elem := range strings.SplitSeq(path.Clean("/"+p), "/") {
			at = path.Join(at, elem)
			file, err := root.real(at, true)
			if err != nil {
				return err
			}
			if fi, err := cr.node.lstat(file); err == nil {
				if !fi.IsDir() {
					return dief(255, "mkdir /%s: File exists at /usr/share/perl5/PVE/LXC/Create.pm line 728.", at)
				}
				continue
			}
			if err := cr.node.mkdirAll(file); err != nil {
				return err
			}
			cr.node.setOwner(file, owner{UID: mappedRoot, GID: mappedRoot, Mode: 0o755})
		}
	}
	return nil
}

// manageNetworks lets the node configure the interfaces that leave it open.
func (cr *creation) manageNetworks() error {
	for _, i := range cr.conf.Indexed("net") {
		key := fmt.Sprintf("net%d", i)
		nic, err := pve.ParseNet(cr.conf.Options[key])
		if err != nil {
			return dief(255, "%v", err)
		}
		if nic.HostManaged != pve.Unset {
			continue
		}
		fmt.Fprintf(cr.warn, "Auto-Enabling host-managed network for network device %s.\n", key)
		nic.HostManaged = pve.On
		cr.conf.Options[key] = nic.String()
	}
	return nil
}

// tcpPorts picks the TCP ports out of an image's exposed ports.
func tcpPorts(exposed []string) []int {
	var ports []int
	for _, e := range exposed {
		number, proto, _ := strings.Cut(e, "/")
		if p, err := strconv.Atoi(number); err == nil && proto != "udp" {
			ports = append(ports, p)
		}
	}
	return ports
}

// unpackPlain unpacks the archive as a root file system. Its members are small
// files beside each other, since only images are ever given to the lab.
func (cr *creation) unpackPlain() error {
	if !strings.Contains(path.Base(cr.archive), ".tar") || strings.HasSuffix(cr.archive, ".TAR") {
		return dief(255, "file does not look like a template archive: %s", cr.archive)
	}
	fmt.Fprintf(cr.warn, "extracting archive '%s'\n", cr.archive)
	data, err := cr.node.readFile(cr.archive)
	if err != nil {
		return err
	}
	dir, err := cr.node.real(cr.mounts[0].Source)
	if err != nil {
		return err
	}
	total, err := untar(data, dir)
	if err != nil {
		return dief(255, "command 'tar xpf' failed: %v", err)
	}
	fmt.Fprintf(cr.warn, "Total bytes read: %d (%.1fMiB, 100MiB/s)\n", total, float64(total)/(1<<20))
	return filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err == nil {
			cr.ownMapped(path.Join(cr.mounts[0].Source, filepath.ToSlash(rel)), owner{Mode: modeOf(name)})
		}
		return err
	})
}

func modeOf(name string) fs.FileMode {
	if fi, err := os.Lstat(name); err == nil && !fi.IsDir() {
		return 0o644
	}
	return 0o755
}
