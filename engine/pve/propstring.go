package pve

import (
	"fmt"
	"slices"
	"strings"
)

// Props is a parsed property string: "local-zfs:8,mp=/data,ro=1". The order is
// that of the text.
type Props []KV

// ParseProps parses a property string as parse_property_string in JSONSchema.pm
// does: parts separated by commas, no quoting, so no value holds a comma. A part
// without "=" is the value of defaultKey; with defaultKey "" it is an error.
// Duplicate keys are errors.
func ParseProps(s, defaultKey string) (Props, error) {
	var p Props
	for part := range strings.SplitSeq(s, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		k, v, ok := strings.Cut(part, "=")
		if !ok {
			if defaultKey == "" {
				return nil, fmt.Errorf("%q has no key", part)
			}
			k, v = defaultKey, part
		}
		if k == "" || strings.TrimSpace(k) != k {
			return nil, fmt.Errorf("%q is no key", k)
		}
		if _, dup := p.Get(k); dup {
			return nil, fmt.Errorf("duplicate key %q", k)
		}
		p = append(p, KV{k, v})
	}
	return p, nil
}

// Get returns the value of a key and whether it is set.
func (p Props) Get(key string) (string, bool) {
	for _, kv := range p {
		if kv.Key == key {
			return kv.Value, true
		}
	}
	return "", false
}

// String prints the parts in order; the key of defaultKey is left out, unless its
// value holds "=" and would be read as another key. (PVE leaves it out then too,
// and cannot read its own output.)
func (p Props) String(defaultKey string) string {
	parts := make([]string, 0, len(p))
	for _, kv := range p {
		if kv.Key == defaultKey && defaultKey != "" && !strings.Contains(kv.Value, "=") && strings.TrimSpace(kv.Value) != "" {
			parts = append(parts, kv.Value)
			continue
		}
		parts = append(parts, kv.Key+"="+kv.Value)
	}
	return strings.Join(parts, ",")
}

// Canonical returns p in the order in which PVE prints it
// (print_property_string): the default key, the required keys, the others, each
// group sorted.
func (p Props) Canonical(defaultKey string, required ...string) Props {
	rank := func(k string) int {
		switch {
		case k == defaultKey:
			return 0
		case slices.Contains(required, k):
			return 1
		}
		return 2
	}
	out := slices.Clone(p)
	slices.SortStableFunc(out, func(a, b KV) int {
		if d := rank(a.Key) - rank(b.Key); d != 0 {
			return d
		}
		return strings.Compare(a.Key, b.Key)
	})
	return out
}

// Equal reports whether both hold the same keys and values, in any order.
func (p Props) Equal(q Props) bool {
	if len(p) != len(q) {
		return false
	}
	for _, kv := range p {
		if v, ok := q.Get(kv.Key); !ok || v != kv.Value {
			return false
		}
	}
	return true
}

// ParseBool parses a boolean as the CLI takes it: 0, 1, on, off, yes, no, true,
// false in any case.
func ParseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "1", "on", "yes", "true":
		return true, nil
	case "0", "off", "no", "false":
		return false, nil
	}
	return false, fmt.Errorf("type check ('boolean') failed - got '%s'", s)
}

// A Flag is a boolean property that may be unset.
type Flag int8

// The values of a Flag.
const (
	Unset Flag = 0
	On    Flag = 1
	Off   Flag = -1
)

// FlagOf returns On or Off.
func FlagOf(b bool) Flag {
	if b {
		return On
	}
	return Off
}

// True reports whether the flag is On.
func (f Flag) True() bool { return f == On }

func (f Flag) text() string {
	if f == On {
		return "1"
	}
	return "0"
}

// propWriter collects properties that are set.
type propWriter struct{ p Props }

func (w *propWriter) text(key, v string) {
	if v != "" {
		w.p = append(w.p, KV{key, v})
	}
}

func (w *propWriter) flag(key string, f Flag) {
	if f != Unset {
		w.p = append(w.p, KV{key, f.text()})
	}
}
