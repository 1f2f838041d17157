package pve

import (
	"fmt"
	"strconv"
	"strings"
)

// A Device is one device node given to a container (devN, Config.pm $dev_desc).
type Device struct {
	Path      string // below /dev/; must exist at set and at every start
	Mode      string // "0660"; "" for PVE's default, 0660
	UID, GID  int    // ids in the container; 0 by default
	DenyWrite bool
}

// ParseDevice parses a devN value.
func ParseDevice(s string) (Device, error) {
	props, err := ParseProps(s, "path")
	if err != nil {
		return Device{}, err
	}
	var d Device
	for _, kv := range props {
		if err := d.set(kv.Key, kv.Value); err != nil {
			return Device{}, fmt.Errorf("%s: %w", kv.Key, err)
		}
	}
	if d.Path == "" {
		return Device{}, fmt.Errorf("%q names no device", s)
	}
	return d, nil
}

func (d *Device) set(key, value string) (err error) {
	switch key {
	case "path":
		d.Path = value
	case "mode":
		d.Mode = value
	case "uid":
		d.UID, err = strconv.Atoi(value)
	case "gid":
		d.GID, err = strconv.Atoi(value)
	case "deny-write":
		d.DenyWrite, err = ParseBool(value)
	default:
		err = fmt.Errorf("unknown key, with the value %q; there are deny-write, gid, mode, path, uid", value)
	}
	return err
}

// String prints the device as PVE does: the path, then the rest sorted.
func (d Device) String() string {
	var w propWriter
	w.text("path", d.Path)
	if d.DenyWrite {
		w.text("deny-write", "1")
	}
	w.text("gid", number(d.GID))
	w.text("mode", d.Mode)
	w.text("uid", number(d.UID))
	return w.p.String("path")
}

// SameDevice compares a wanted device with the one of a config; the default mode
// equals an unset one. The result is empty when nothing differs.
func SameDevice(want, have Device) []FieldDiff {
	return diffProps(want.normal(), have.normal())
}

func (d Device) normal() Props {
	if d.Mode == "0660" {
		d.Mode = ""
	}
	p, _ := ParseProps(d.String(), "path")
	return p
}

// CheckDevicePath refuses what PVE refuses in a device path (pve-lxc-dev-string)
// and what a property string cannot hold.
func CheckDevicePath(p string) error {
	if !strings.HasPrefix(p, "/dev/") || len(p) == len("/dev/") {
		return fmt.Errorf("device %q is not below /dev/", p)
	}
	return CheckPath(p)
}
