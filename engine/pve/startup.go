package pve

import (
	"fmt"
	"strconv"
	"strings"
)

// A Startup is the start order of a container: "order=2,up=5,down=10". Fields
// are nil when unset.
type Startup struct{ Order, Up, Down *int }

// ParseStartup parses a startup value; a bare number is the order
// (pve-startup-order in JSONSchema.pm).
func ParseStartup(s string) (Startup, error) {
	var out Startup
	fields := map[string]**int{"order": &out.Order, "up": &out.Up, "down": &out.Down}
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		k, v, ok := strings.Cut(part, "=")
		if !ok {
			k, v = "order", part
		}
		n, err := strconv.ParseUint(v, 10, 31)
		f := fields[k]
		if f == nil || err != nil {
			return Startup{}, fmt.Errorf("%q is no startup order; wanted [order=]N, up=SECONDS or down=SECONDS", part)
		}
		i := int(n)
		*f = &i
	}
	return out, nil
}

// String prints the set fields in PVE's order.
func (s Startup) String() string {
	var parts []string
	for _, f := range []struct {
		key string
		n   *int
	}{{"order", s.Order}, {"up", s.Up}, {"down", s.Down}} {
		if f.n != nil {
			parts = append(parts, f.key+"="+strconv.Itoa(*f.n))
		}
	}
	return strings.Join(parts, ",")
}
