package pve

import (
	"fmt"
	"strings"

	"github.com/tengil/tengil/engine"
)

// Gates say what the versions on a node can and cannot do (debian/changelog of
// pve-container and of proxmox-perl-rs). All version decisions are made here.
type Gates struct {
	IDMap           bool // mpN idmap= (pve-container 6.1.6)
	ImageUser       bool // the image's User is honoured (6.1.0)
	DevShm          bool // tmpfs on /dev/shm for own entrypoints (6.1.10)
	UnmanagedBroken bool // ostype unmanaged cannot be created or started (6.0.19 to 6.1.0)
	InheritsAttrs   bool // mounts take owner and mode of the target directory unasked (6.0.19 to 6.1.1)
	LayerReplace    bool // a layer may replace a directory or a link by a file (libpve-rs-perl 0.11.4)
}

// The oldest packages that tengil works with: those of Proxmox VE 9.1.
const (
	MinContainer = "6.0.18"
	MinStorage   = "9.0.15"
)

// GatesOf decides by the Debian versions of a node's packages, by name.
func GatesOf(packages map[string]string) (Gates, error) {
	v := packages["pve-container"]
	if v == "" {
		return Gates{}, fmt.Errorf("no version of pve-container; wanted at least %s", MinContainer)
	}
	from := func(min string) bool { return CompareVersions(v, min) >= 0 }
	return Gates{
		IDMap:           from("6.1.6"),
		ImageUser:       from("6.1.0"),
		DevShm:          from("6.1.10"),
		UnmanagedBroken: from("6.0.19") && !from("6.1.1"),
		InheritsAttrs:   from("6.0.19") && !from("6.1.2"),
		LayerReplace:    CompareVersions(packages["libpve-rs-perl"], "0.11.4") >= 0,
	}, nil
}

// Supported returns one error that says what is too old on a node, nil if all is
// new enough.
func Supported(f *engine.Facts) error {
	var old []string
	for _, p := range []struct{ name, min string }{
		{"pve-container", MinContainer}, {"libpve-storage-perl", MinStorage}, {"skopeo", ""},
	} {
		have := f.Packages[p.name]
		switch {
		case have == "" && p.name == "libpve-storage-perl":
		case have == "":
			old = append(old, strings.TrimSpace(p.name+" is not installed, wanted "+p.min))
		case p.min != "" && CompareVersions(have, p.min) < 0:
			old = append(old, fmt.Sprintf("%s is %s, wanted at least %s", p.name, have, p.min))
		}
	}
	if len(old) == 0 {
		return nil
	}
	return engine.WithHint(fmt.Errorf("%s is too old for tengil: %s", f.Node, strings.Join(old, "; ")),
		"tengil needs Proxmox VE 9.1 or later; on the node:\n    apt update && apt full-upgrade")
}

// CompareVersions compares two Debian versions ([epoch:]upstream[-revision]) as
// dpkg does. The result is negative, 0 or positive.
func CompareVersions(a, b string) int {
	ea, ua, ra := splitVersion(a)
	eb, ub, rb := splitVersion(b)
	for _, pair := range [][2]string{{ea, eb}, {ua, ub}, {ra, rb}} {
		if c := compareVersionPart(pair[0], pair[1]); c != 0 {
			return c
		}
	}
	return 0
}

func splitVersion(v string) (epoch, upstream, revision string) {
	epoch, rest, ok := strings.Cut(v, ":")
	if !ok {
		epoch, rest = "0", v
	}
	if i := strings.LastIndexByte(rest, '-'); i >= 0 {
		return epoch, rest[:i], rest[i+1:]
	}
	return epoch, rest, "0"
}

// compareVersionPart compares by turns runs of non-digits, in which "~" sorts
// before everything and letters before other characters, and runs of digits.
func compareVersionPart(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a = takeWhile(a, false)
		y, b = takeWhile(b, false)
		if c := compareNonDigits(x, y); c != 0 {
			return c
		}
		x, a = takeWhile(a, true)
		y, b = takeWhile(b, true)
		x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}

func takeWhile(s string, digits bool) (head, tail string) {
	i := 0
	for i < len(s) && ('0' <= s[i] && s[i] <= '9') == digits {
		i++
	}
	return s[:i], s[i:]
}

func compareNonDigits(a, b string) int {
	order := func(s string, i int) int {
		switch {
		case i >= len(s):
			return 0
		case s[i] == '~':
			return -1
		case 'a' <= s[i] && s[i] <= 'z' || 'A' <= s[i] && s[i] <= 'Z':
			return int(s[i])
		}
		return int(s[i]) + 256
	}
	for i := range max(len(a), len(b)) {
		if c := order(a, i) - order(b, i); c != 0 {
			return c
		}
	}
	return 0
}
