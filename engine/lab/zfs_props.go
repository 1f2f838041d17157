package lab

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A propKind says what values a native property takes.
type propKind int

const (
	propStat   propKind = iota // told by ZFS, cannot be set
	propFixed                  // set at creation only
	propChoice                 // one of values
	propSize                   // bytes, or none (0)
	propPath                   // mountpoint
	propText                   // anything
)

// A property is one native property of file systems.
type property struct {
	name   string
	kind   propKind
	value  string // the default, as zfs get -p shows it
	values string // of propChoice: "on | off"
	own    bool   // not inherited: quota, canmount
}

// properties are the native properties in the order of "zfs get all" (ZFS 2.3).
func properties() []property {
	const onOff = "on | off"
	return []property{
		{name: "type"}, {name: "creation"}, {name: "used"}, {name: "available"}, {name: "referenced"},
		{name: "compressratio", value: "1.00"}, {name: "mounted"},
		{name: "quota", kind: propSize, value: "0", own: true},
		{name: "reservation", kind: propSize, value: "0", own: true},
		{name: "recordsize", kind: propSize, value: "131072"},
		{name: "mountpoint", kind: propPath},
		{name: "sharenfs", kind: propText, value: "off"},
		{name: "checksum", kind: propChoice, value: "on", values: "on | off | fletcher2 | fletcher4 | sha256 | sha512 | skein | edonr | blake3"},
		{name: "compression", kind: propChoice, value: "on", values: compressions},
		{name: "atime", kind: propChoice, value: "on", values: onOff},
		{name: "devices", kind: propChoice, value: "on", values: onOff},
		{name: "exec", kind: propChoice, value: "on", values: onOff},
		{name: "setuid", kind: propChoice, value: "on", values: onOff},
		{name: "readonly", kind: propChoice, value: "off", values: onOff},
		{name: "zoned", kind: propChoice, value: "off", values: onOff},
		{name: "snapdir", kind: propChoice, value: "hidden", values: "disabled | hidden | visible"},
		{name: "aclmode", kind: propChoice, value: "discard", values: "discard | groupmask | passthrough | restricted"},
		{name: "aclinherit", kind: propChoice, value: "restricted", values: "discard | noallow | restricted | passthrough | passthrough-x"},
		{name: "createtxg"},
		{name: "canmount", kind: propChoice, value: "on", values: "on | off | noauto", own: true},
		{name: "xattr", kind: propChoice, value: "sa", values: "on | off | dir | sa"},
		{name: "copies", kind: propChoice, value: "1", values: "1 | 2 | 3"},
		{name: "version", value: "5"}, {name: "utf8only", value: "off"},
		{name: "normalization", value: "none"},
		{name: "casesensitivity", value: "sensitive"},
		{name: "vscan", kind: propChoice, value: "off", values: onOff},
		{name: "nbmand", kind: propChoice, value: "off", values: onOff},
		{name: "sharesmb", kind: propText, value: "off"},
		{name: "refquota", kind: propSize, value: "0", own: true},
		{name: "refreservation", kind: propSize, value: "0", own: true},
		{name: "guid"},
		{name: "primarycache", kind: propChoice, value: "all", values: "all | none | metadata"},
		{name: "secondarycache", kind: propChoice, value: "all", values: "all | none | metadata"},
		{name: "usedbysnapshots", value: "0"}, {name: "usedbydataset"}, {name: "usedbychildren"},
		{name: "usedbyrefreservation", value: "0"},
		{name: "logbias", kind: propChoice, value: "latency", values: "latency | throughput"},
		{name: "objsetid"},
		{name: "dedup", kind: propChoice, value: "off", values: "on | off | verify | sha256[,verify] | sha512[,verify] | skein[,verify] | edonr,verify | blake3[,verify]"},
		{name: "mlslabel", kind: propText, value: "none"},
		{name: "sync", kind: propChoice, value: "standard", values: "standard | always | disabled"},
		{name: "dnodesize", kind: propChoice, value: "legacy", values: "legacy | auto | 1k | 2k | 4k | 8k | 16k"},
		{name: "refcompressratio", value: "1.00"}, {name: "written"}, {name: "logicalused"}, {name: "logicalreferenced"},
		{name: "volmode", kind: propChoice, value: "default", values: "default | full | geom | dev | none"},
		{name: "filesystem_limit", kind: propText, value: "none", own: true},
		{name: "snapshot_limit", kind: propText, value: "none", own: true},
		{name: "filesystem_count", kind: propFixed, value: "none"}, {name: "snapshot_count", kind: propFixed, value: "none"},
		{name: "snapdev", kind: propChoice, value: "hidden", values: "hidden | visible"},
		{name: "acltype", kind: propChoice, value: "off", values: "off | nfsv4 | posix"},
		{name: "context", kind: propText, value: "none"}, {name: "fscontext", kind: propText, value: "none"},
		{name: "defcontext", kind: propText, value: "none"}, {name: "rootcontext", kind: propText, value: "none"},
		{name: "relatime", kind: propChoice, value: "on", values: onOff},
		{name: "redundant_metadata", kind: propChoice, value: "all", values: "all | most | some | none"},
		{name: "overlay", kind: propChoice, value: "on", values: onOff},
		{name: "encryption", kind: propFixed, value: "off"}, {name: "keylocation", kind: propFixed, value: "none"},
		{name: "keyformat", kind: propFixed, value: "none"}, {name: "pbkdf2iters", kind: propFixed, value: "0"},
		{name: "special_small_blocks", kind: propSize, value: "0"},
		{name: "prefetch", kind: propChoice, value: "all", values: "none | metadata | all"},
		{name: "direct", kind: propChoice, value: "standard", values: "disabled | standard | always"},
		{name: "longname", kind: propChoice, value: "off", values: onOff},
	}
}

const compressions = "on | off | lzjb | gzip | gzip-[1-9] | zle | lz4 | zstd | zstd-[1-19] | " +
	"zstd-fast | zstd-fast-[1-10,20,30,40,50,60,70,80,90,100,500,1000]"

// nativeProp finds a native property, also by the short names of columns.
func nativeProp(name string) (property, bool) {
	switch name {
	case "avail":
		name = "available"
	case "refer":
		name = "referenced"
	case "recsize":
		name = "recordsize"
	case "compress":
		name = "compression"
	}
	all := properties()
	i := slices.IndexFunc(all, func(p property) bool { return p.name == name })
	if i < 0 {
		return property{}, false
	}
	return all[i], true
}

// userProp reports whether name is a valid name of a user property.
func userProp(name string) bool {
	if !strings.Contains(name, ":") || len(name) >= 256 {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte(":-._+", c) < 0 {
			return false
		}
	}
	return true
}

// maxUserValue is the longest value of a user property.
const maxUserValue = 8191

// checkProps returns props with their values as ZFS keeps them; the error is
// worded as what zfs says after "cannot create 'NAME': ".
func checkProps(props map[string]string) (map[string]string, error) {
	out := map[string]string{}
	for _, name := range sortedKeys(props) {
		v, err := checkProp(name, props[name])
		if err != nil {
			return nil, err
		}
		if p, ok := nativeProp(name); ok {
			name = p.name
		}
		out[name] = v
	}
	return out, nil
}

func checkProp(name, value string) (string, error) {
	p, ok := nativeProp(name)
	if !ok {
		switch {
		case !userProp(name):
			return "", fmt.Errorf("invalid property '%s'", name)
		case len(value) > maxUserValue:
			return "", fmt.Errorf("property value too long")
		}
		return value, nil
	}
	switch p.kind {
	case propStat:
		return "", fmt.Errorf("'%s' is readonly", name)
	case propChoice:
		if !chooses(p, value) {
			return "", fmt.Errorf("'%s' must be one of '%s'", name, p.values)
		}
	case propSize:
		return checkSize(p, value)
	case propPath:
		if value != "none" && value != "legacy" && !strings.HasPrefix(value, "/") {
			return "", fmt.Errorf("'mountpoint' must be an absolute path, 'none', or 'legacy'")
		}
	}
	return value, nil
}

// chooses reports whether value is one of p.values.
func chooses(p property, value string) bool {
	if level, ok := strings.CutPrefix(value, "zstd-fast-"); ok && p.name == "compression" {
		return slices.Contains(strings.Fields("1 2 3 4 5 6 7 8 9 10 20 30 40 50 60 70 80 90 100 500 1000"), level)
	}
	for prefix, most := range map[string]int{"gzip-": 9, "zstd-": 19} {
		if level, ok := strings.CutPrefix(value, prefix); ok && p.name == "compression" {
			n, err := strconv.Atoi(level)
			return err == nil && n >= 1 && n <= most
		}
	}
	return slices.Contains(strings.Split(p.values, " | "), value)
}

func checkSize(p property, value string) (string, error) {
	if value == "none" {
		return "0", nil
	}
	n, ok := parseZFSSize(value)
	if !ok {
		return "", fmt.Errorf("bad numeric value '%s'", value)
	}
	if p.name == "recordsize" && (n < 512 || n > 16<<20 || n&(n-1) != 0) {
		return "", fmt.Errorf("'recordsize' must be power of 2 from 512B to 16M")
	}
	return strconv.FormatInt(n, 10), nil
}

// parseZFSSize parses "1G", "1.5T", "128K" and bytes.
func parseZFSSize(text string) (int64, bool) {
	num := strings.TrimRight(text, "bBkKmMgGtTpPiI")
	unit := strings.ToUpper(strings.TrimRight(text[len(num):], "bBiI"))
	shift := strings.Index("KMGTP", unit)
	if len(unit) > 1 || shift < 0 {
		return 0, false
	}
	factor := float64(1)
	if unit != "" {
		for range shift + 1 {
			factor *= 1024
		}
	}
	n, err := strconv.ParseFloat(num, 64)
	if err != nil || n < 0 {
		return 0, false
	}
	return int64(n * factor), true
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
