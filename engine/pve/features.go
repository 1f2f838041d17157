package pve

import (
	"fmt"
	"slices"
	"strings"
)

// Features are the features of a container (Config.pm $features_desc): which
// are on, and which file systems may be mounted inside.
type Features struct {
	On    []string // "fuse", "nesting", …, sorted
	Mount []string // "nfs", "cifs", in order
}

// ParseFeatures parses a features value; what is off is left out.
func ParseFeatures(s string) (Features, error) {
	props, err := ParseProps(s, "")
	if err != nil {
		return Features{}, err
	}
	var f Features
	for _, kv := range props {
		if kv.Key == "mount" {
			f.Mount = strings.FieldsFunc(kv.Value, func(r rune) bool { return r == ';' || r == ' ' })
			continue
		}
		on, err := ParseBool(kv.Value)
		if err != nil {
			return Features{}, fmt.Errorf("%s: %w", kv.Key, err)
		}
		if on {
			f.On = append(f.On, kv.Key)
		}
	}
	slices.Sort(f.On)
	return f, nil
}

// Has reports whether a feature is on.
func (f Features) Has(name string) bool { return slices.Contains(f.On, name) }

// String prints the features as PVE does: sorted by key.
func (f Features) String() string {
	var w propWriter
	for _, k := range f.On {
		w.text(k, "1")
	}
	w.text("mount", strings.Join(f.Mount, ";"))
	return w.p.Canonical("").String("")
}
