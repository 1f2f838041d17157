package zfs

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// A property is one ZFS property with the value a recipe or profile wants.
type property struct {
	name, value string
	why         string // shown in the plan
}

// profiles are what zfs_dataset sets for a use. Explicit properties win. xattr=sa
// keeps small attributes in the inode instead of a hidden directory; POSIX ACLs are
// what an unprivileged container expects of a file system; nothing reads atime.
func profiles() map[string][]property {
	common := []property{
		{"atime", "off", "reading a file should not write"},
		{"xattr", "sa", "extended attributes belong in the inode"},
		{"acltype", "posix", "containers expect POSIX ACLs"},
	}
	with := func(p ...property) []property { return append(slices.Clone(common), p...) }
	return map[string][]property{
		"media": with(
			property{"recordsize", "1M", "large files are read from end to end"},
			property{"compression", "lz4", "media is compressed already; lz4 gives up early"},
		),
		"postgres": with(
			property{"recordsize", "16K", "pages have 8K; two of them compress better and cost little"},
			property{"compression", "lz4", "pages compress well and must stay quick"},
			property{"logbias", "latency", "a commit waits for the log"},
			property{"redundant_metadata", "most", "random writes would rewrite much metadata"},
		),
		"mysql": with(
			property{"recordsize", "16K", "InnoDB pages have 16K"},
			property{"compression", "lz4", "pages compress well and must stay quick"},
			property{"logbias", "latency", "a commit waits for the log"},
			property{"redundant_metadata", "most", "random writes would rewrite much metadata"},
		),
		"sqlite": with(
			property{"recordsize", "16K", "pages have 4K and are written at random"},
			property{"compression", "lz4", "pages compress well and must stay quick"},
		),
		"appdata": with(
			property{"recordsize", "64K", "small files and small databases side by side"},
			property{"compression", "zstd", "settings and text compress well"},
		),
		"downloads": with(
			property{"recordsize", "128K", "pieces arrive at random and are then read in order"},
			property{"compression", "lz4", "downloads are compressed already; lz4 gives up early"},
		),
		"backup": with(
			property{"recordsize", "1M", "large files are written once"},
			property{"compression", "zstd", "space matters more than time"},
		),
	}
}

// profileNames lists the profiles for the parameter table.
func profileNames() []string { return slices.Sorted(maps.Keys(profiles())) }

// wanted merges profile and explicit properties, sorted by name.
func wanted(profile string, explicit []property) []property {
	byName := map[string]property{}
	for _, p := range profiles()[profile] {
		p.why = fmt.Sprintf("profile %q: %s", profile, p.why)
		byName[p.name] = p
	}
	for _, p := range explicit {
		byName[p.name] = p
	}
	out := make([]property, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, byName[name])
	}
	return out
}

// canonical returns the value as "zfs list -p" prints it, so that equal values
// compare equal: sizes are bytes, and aliases are the name ZFS prefers
// (zfs_prop.c: since OpenZFS 2.3 "on" is printed for xattr=sa).
func canonical(name, value string) string {
	switch {
	case name == "acltype" && value == "posixacl":
		return "posix"
	case name == "acltype" && value == "noacl":
		return "off"
	case name == "xattr" && value == "sa":
		return "on"
	case isSize(name) && (value == "none" || value == "-"):
		return "0"
	case isSize(name):
		if n, err := pve.ParseSize(value); err == nil {
			return strconv.FormatInt(int64(n), 10)
		}
	}
	return value
}

// readable is the reverse for people: 131072 is 128K.
func readable(name, value string) string {
	if !isSize(name) {
		return value
	}
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil:
		return value
	case n == 0:
		return "none"
	}
	return engine.Size(n).String()
}

func isSize(name string) bool {
	return slices.Contains([]string{"recordsize", "quota", "refquota", "reservation", "refreservation", "special_small_blocks", "volsize"}, name)
}
