package recipe

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.starlark.net/starlark"

	"github.com/tengil/tengil/engine"
)

// OptionTypes lists the types of options.
func OptionTypes() []string {
	return []string{"string", "int", "bool", "size", "enum", "path", "dataset", "zpool", "storage", "ip", "duration"}
}

// An optionValue is a value of an option: as text in one form for equal values,
// and as the recipe gets it.
type optionValue struct {
	text  string
	value starlark.Value
}

func textValue(s string) optionValue { return optionValue{s, starlark.String(s)} }

// parseOption parses what a user typed for an option of that type.
func parseOption(typ, s string, f *engine.Facts) (optionValue, error) {
	switch typ {
	case "int":
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return optionValue{}, fmt.Errorf("wanted a whole number, got %q", s)
		}
		return optionValue{strconv.FormatInt(n, 10), starlark.MakeInt64(n)}, nil
	case "bool":
		return parseBoolOption(s)
	case "size":
		n, err := parseSize(s)
		return textValue(n.String()), err
	case "path":
		return textValue(s), checkPath(s)
	case "dataset":
		return textValue(s), checkDataset(f, s)
	case "zpool":
		return textValue(s), checkPool(f, s)
	case "storage":
		return textValue(s), checkStorage(f, s)
	case "ip":
		return parseIPOption(s)
	case "duration":
		d, err := parseDuration(s)
		return textValue(d.String()), err
	}
	return textValue(s), nil // string, enum
}

func parseBoolOption(s string) (optionValue, error) {
	switch strings.ToLower(s) {
	case "true", "yes", "on", "1":
		return optionValue{"true", starlark.True}, nil
	case "false", "no", "off", "0":
		return optionValue{"false", starlark.False}, nil
	}
	return optionValue{}, fmt.Errorf("wanted true or false, got %q", s)
}

// parseIPOption takes an address, or one with the length of its network's prefix.
func parseIPOption(s string) (optionValue, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return textValue(p.String()), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return optionValue{}, fmt.Errorf("wanted an address such as \"10.0.0.5\" or \"10.0.0.5/24\", got %q", s)
	}
	return textValue(a.String()), nil
}

func checkPath(s string) error {
	if !path.IsAbs(s) || path.Clean(s) != s || strings.ContainsFunc(s, unicode.IsControl) {
		return fmt.Errorf("wanted a path such as \"/srv/media\", without \"..\" and \"/\" at its end, got %q", s)
	}
	return nil
}

// datasetPart is what ZFS allows between two slashes, without blanks, and with no
// "-" in front, which a program might take for an option.
var datasetPart = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:-]*$`)

func checkDataset(f *engine.Facts, s string) error {
	parts := strings.Split(s, "/")
	for _, p := range parts {
		if !datasetPart.MatchString(p) {
			return fmt.Errorf("wanted a dataset such as \"tank/photos\", got %q", s)
		}
	}
	if len(s) > 200 {
		return fmt.Errorf("wanted a dataset whose name has at most 200 characters, got %d", len(s))
	}
	return checkPool(f, parts[0])
}

// noPoolHint is what to do on a node without ZFS.
const noPoolHint = `name a directory for data, when the host is added:
    tg host add NAME ADDRESS --data /srv/data`

func checkPool(f *engine.Facts, name string) error {
	pools := poolNames(f)
	if len(pools) == 0 {
		return engine.WithHint(fmt.Errorf("wanted a ZFS pool, got %q, and %s has none", name, f.Node), noPoolHint)
	}
	if !slices.Contains(pools, name) && !f.Imagined {
		return fmt.Errorf("pool %q does not exist on %s; there are %s", name, f.Node, quotedList(pools))
	}
	return nil
}

func checkStorage(f *engine.Facts, name string) error {
	if names := storageNames(f); !slices.Contains(names, name) && !f.Imagined {
		return fmt.Errorf("storage %q does not exist on %s, or is not enabled there; there are %s", name, f.Node, or(quotedList(names), "none"))
	}
	return nil
}

func poolNames(f *engine.Facts) []string {
	var names []string
	for _, p := range f.Pools {
		names = append(names, p.Name)
	}
	return names
}

// storageNames lists the storages that can be used on the node.
func storageNames(f *engine.Facts) []string {
	var names []string
	for _, s := range f.Storages {
		if !s.Off && (len(s.Nodes) == 0 || slices.Contains(s.Nodes, f.Node)) {
			names = append(names, s.Name)
		}
	}
	return names
}

// hostDefault is what the node's owner chose for options of that type.
func hostDefault(typ string, f *engine.Facts) string {
	switch typ {
	case "zpool":
		return f.Default.Pool
	case "storage":
		return f.Default.Storage
	}
	return ""
}
