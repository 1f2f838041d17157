package pve

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Mount is a mount point (mpN) or the root file system (rootfs) of a container
// (Config.pm $mp_desc, $rootfs_desc).
type Mount struct {
	Volume  string   // "/host/dir", "/dev/sdb1", "local-zfs:subvol-101-disk-1", "local-zfs:8"
	Path    string   // mp=, the path in the container; "" for rootfs
	Size    string   // size=, informational
	IDMap   string   // idmap=, see Gates.IDMap
	Options []string // mountoptions=, joined with ";"

	RO, Backup, ACL, Quota, Shared, Replicate, KeepAttrs Flag

	Extra Props // keys that this version does not know
}

// A MountKind says what a mount's volume is.
type MountKind string

// Kind tells what the volume is.
func (m Mount) Kind() MountKind {
	switch {
	case strings.HasPrefix(m.Volume, "/dev/"):
		return DeviceMount
	case strings.HasPrefix(m.Volume, "/"):
		return BindMount
	}
	return VolumeMount
}

// The kinds of mounts, told by the volume's text (classify_mountpoint in Config.pm).
const (
	BindMount   MountKind = "bind"
	DeviceMount MountKind = "device"
	VolumeMount MountKind = "volume"
)

// ParseMount parses a mpN or rootfs value.
func ParseMount(s string) (Mount, error) {
	props, err := ParseProps(s, "volume")
	if err != nil {
		return Mount{}, err
	}
	var m Mount
	for _, kv := range props {
		if err := m.set(kv.Key, kv.Value); err != nil {
			return Mount{}, fmt.Errorf("%s: %w", kv.Key, err)
		}
	}
	if m.Volume == "" {
		return Mount{}, fmt.Errorf("%q names no volume", s)
	}
	return m, nil
}

func (m *Mount) set(key, value string) error {
	texts := map[string]*string{"volume": &m.Volume, "mp": &m.Path, "size": &m.Size, "idmap": &m.IDMap}
	if t := texts[key]; t != nil {
		*t = value
		return nil
	}
	if f := m.flags()[key]; f != nil {
		return setFlag(f, value)
	}
	if key == "mountoptions" {
		m.Options = strings.Split(value, ";")
		return nil
	}
	m.Extra = append(m.Extra, KV{key, value})
	return nil
}

func (m *Mount) flags() map[string]*Flag {
	return map[string]*Flag{
		"ro": &m.RO, "backup": &m.Backup, "acl": &m.ACL, "quota": &m.Quota,
		"shared": &m.Shared, "replicate": &m.Replicate, "keepattrs": &m.KeepAttrs,
	}
}

// String prints the mount as PVE does: the volume, mp, then the rest sorted.
func (m Mount) String() string { return m.props().String("volume") }

func (m Mount) props() Props {
	var w propWriter
	w.text("volume", m.Volume)
	w.text("mp", m.Path)
	w.text("size", m.Size)
	w.text("idmap", m.IDMap)
	w.text("mountoptions", strings.Join(m.Options, ";"))
	for k, f := range m.flags() {
		w.flag(k, *f)
	}
	return append(w.p, m.Extra...).Canonical("volume", "mp")
}

// SameMount compares what is wanted with what a config holds. The size that PVE
// adds is ignored unless one is wanted; an unset flag equals its default; the
// order of mount options does not matter. The result is empty when nothing differs.
func SameMount(want, have Mount) []FieldDiff {
	w, h := want.normal(), have.normal()
	if w.Size == "" {
		h.Size = ""
	}
	return diffProps(w.props(), h.props())
}

func (m Mount) normal() Mount {
	m.Options = slices.Sorted(slices.Values(m.Options))
	for k, f := range m.flags() {
		if k == "replicate" && *f == On || k != "replicate" && k != "acl" && *f == Off {
			*f = Unset
		}
	}
	m.Path = strings.TrimRight(m.Path, "/")
	if m.Kind() == BindMount {
		m.Volume = strings.TrimRight(m.Volume, "/")
	}
	return m
}

// CheckPath refuses paths that a mount cannot hold: a comma ends a property, and
// PVE cannot read back a path with "=". It also refuses relative paths, "..",
// and control characters.
func CheckPath(p string) error {
	if p == "" {
		return errors.New("path is empty")
	}
	if r, i := ControlChars(p); i >= 0 {
		return fmt.Errorf("path %q holds the control character %U at byte %d", p, r, i)
	}
	if !strings.HasPrefix(p, "/") {
		return fmt.Errorf("path %q is relative; wanted one that starts with /", p)
	}
	if i := strings.IndexAny(p, ",="); i >= 0 {
		return fmt.Errorf("path %q holds %q, which Proxmox cannot store in a mount point", p, p[i:i+1])
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." || part == "." {
			return fmt.Errorf("path %q holds %q", p, part)
		}
	}
	return nil
}
