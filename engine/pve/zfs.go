package pve

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine"
)

// ParseZFSList reads what "zfs list -Hp -o COLS" prints, by dataset: one line
// each, fields separated by one tab. A property that is unset ("-") is left out
// of the inner map. cols must hold "name".
func ParseZFSList(out []byte, cols []string) (map[string]map[string]string, error) {
	at := slices.Index(cols, "name")
	if at < 0 {
		return nil, errors.New("zfs list: the columns lack name")
	}
	all := map[string]map[string]string{}
	lines, err := wholeLines([]string{"zfs", "list"}, out)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		if line == "" {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != len(cols) {
			return nil, fmt.Errorf("zfs list: wanted %d fields on each line, got %d: %.80q", len(cols), len(fields), line)
		}
		props := make(map[string]string, len(cols))
		for i, v := range fields {
			if v != "-" {
				props[cols[i]] = v
			}
		}
		all[fields[at]] = props
	}
	return all, nil
}

// A ZFSProperty is a value and where it comes from: "local", "default",
// "inherited from tank", "received", "-" for what cannot be set.
type ZFSProperty struct{ Value, Source string }

// Local reports whether the property was set on the dataset itself.
func (p ZFSProperty) Local() bool { return p.Source == "local" || p.Source == "received" }

// ParseZFSGet reads what "zfs get -Hp -o property,value,source P… DATASET" prints.
func ParseZFSGet(out []byte) (map[string]ZFSProperty, error) {
	all := map[string]ZFSProperty{}
	lines, err := wholeLines([]string{"zfs", "get"}, out)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		if line == "" {
			continue
		}
		name, rest, ok := strings.Cut(line, "\t")
		i := strings.LastIndexByte(rest, '\t')
		if !ok || i < 0 {
			return nil, fmt.Errorf("zfs get: wanted property, value and source on each line, got %.80q", line)
		}
		all[name] = ZFSProperty{rest[:i], rest[i+1:]}
	}
	return all, nil
}

// CheckDataset refuses what is no name of a file system below a pool: components
// of letters, digits and "_-.: ", no "@" or "#", no leading dash
// (zfs_namecheck.c), at most 255 characters.
func CheckDataset(name string) error {
	if name == "" {
		return errors.New("dataset name is empty")
	}
	if len(name) > 255 {
		return fmt.Errorf("dataset name %q has %d characters; at most 255 are allowed", name, len(name))
	}
	for part := range strings.SplitSeq(name, "/") {
		if err := checkComponent(part); err != nil {
			return fmt.Errorf("dataset name %q: %w", name, err)
		}
	}
	if c := name[0]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') {
		return fmt.Errorf("dataset name %q starts with %q; a pool's name starts with a letter", name, c)
	}
	return nil
}

func checkComponent(part string) error {
	switch {
	case part == "":
		return errors.New("empty component")
	case part == "." || part == "..":
		return fmt.Errorf("component %q", part)
	case part[0] == '-':
		return fmt.Errorf("component %q starts with a dash", part)
	case strings.TrimSpace(part) != part:
		return fmt.Errorf("component %q starts or ends with a blank", part)
	}
	for _, r := range part {
		ok := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-.: ", r)
		if !ok {
			return fmt.Errorf("component %q holds %q", part, r)
		}
	}
	return nil
}

// ZFSProperties returns the native properties of a file system that can be set
// (zfsprops(7) of OpenZFS 2.2 to 2.4), sorted. Those of users hold a colon.
func ZFSProperties() []string {
	return strings.Fields(`aclinherit aclmode acltype atime canmount casesensitivity checksum compression context
		copies dedup defaultgroupobjquota defaultgroupquota defaultprojectobjquota defaultprojectquota defaultuserobjquota
		defaultuserquota defcontext devices direct dnodesize encryption exec filesystem_limit fscontext keyformat keylocation
		logbias longname mlslabel mountpoint nbmand normalization overlay pbkdf2iters prefetch primarycache quota readonly
		recordsize redundant_metadata refquota refreservation relatime reservation rootcontext secondarycache setuid sharenfs
		sharesmb snapdir snapshot_limit special_small_blocks sync utf8only version vscan xattr zoned`)
}

// PoolOf returns the pool of a dataset.
func PoolOf(dataset string) string {
	pool, _, _ := strings.Cut(dataset, "/")
	return pool
}

// ParseSize reads a size as ZFS and Proxmox write it: a number of bytes, or one
// with a unit of 1024, "8G", "1.5T", "512KiB". "none", "-" and "" are 0.
func ParseSize(s string) (engine.Size, error) {
	if s == "none" || s == "-" || s == "" {
		return 0, nil
	}
	text := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(s), "B"), "I")
	unit := engine.Size(1)
	if text != "" {
		if i := strings.IndexByte("KMGT", text[len(text)-1]); i >= 0 {
			unit = engine.KiB << (10 * i)
			text = text[:len(text)-1]
		}
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 && n <= int64(1)<<62/int64(unit) {
		return engine.Size(n) * unit, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !(f >= 0 && f*float64(unit) < 1<<62) {
		return 0, fmt.Errorf("%q is no size; wanted bytes or a number with K, M, G or T", s)
	}
	return engine.Size(f * float64(unit)), nil
}
