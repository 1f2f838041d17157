package lab

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A value is one property of a dataset as zfs shows it.
type value struct {
	text   string // as with -p; "-" if there is none
	source string // local, default, "inherited from X", -
	size   bool   // text is a number of bytes
}

// emptyDataset is what a dataset without files uses.
const emptyDataset = 98304

// A zfsView is a copy of what ZFS knows, to print from without a lock.
type zfsView struct {
	zfsState
	names []string // in the order of zfs list
	uses  map[string]int64
	// mountDirs are the directories of the lab's machine that something is mounted at.
	mountDirs map[string]bool
	node      *node
}

func (n *node) zfsView() *zfsView {
	n.mu.Lock()
	defer n.mu.Unlock()
	v := &zfsView{node: n, uses: map[string]int64{}}
	v.Pools = slices.Clone(n.state.ZFS.Pools)
	for name, d := range n.state.ZFS.Datasets.all() {
		c := *d
		v.Datasets.put(name, &c)
		v.names = append(v.names, name)
	}
	slices.SortFunc(v.names, v.compare)
	return v
}

// compare orders names as zfs list does: parents before children, snapshots
// after what they are of, by age.
func (v *zfsView) compare(a, b string) int {
	fa, fb := filesystemOf(a), filesystemOf(b)
	if fa != fb {
		return slices.Compare(strings.Split(fa, "/"), strings.Split(fb, "/"))
	}
	return int(v.Datasets.get(a).TXG - v.Datasets.get(b).TXG)
}

// own returns the bytes that the files of one dataset use.
func (v *zfsView) own(name string) int64 {
	if n, ok := v.uses[name]; ok {
		return n
	}
	d := v.Datasets.get(name)
	dir := v.node.storeDir(name)
	if d.Mounted {
		dir = v.node.host(d.Where)
	}
	if v.mountDirs == nil {
		v.mountDirs = map[string]bool{}
		for _, o := range v.Datasets.all() {
			if o.Mounted {
				v.mountDirs[v.node.host(o.Where)] = true
			}
		}
	}
	total := emptyDataset + 512*v.node.usage(dir, v.mountDirs).blocks
	v.uses[name] = total
	return total
}

// used returns the bytes that a dataset and all below it use.
func (v *zfsView) used(name string) int64 {
	if strings.Contains(name, "@") {
		return 0
	}
	total := v.own(name)
	for _, other := range v.names {
		if strings.HasPrefix(other, name+"/") && !strings.Contains(other, "@") {
			total += v.own(other)
		}
	}
	return total
}

// available returns the bytes that can still be written to a dataset.
func (v *zfsView) available(name string) int64 {
	root := rootDataset(name)
	free := int64(0)
	for _, p := range v.Pools {
		if p.Name == root {
			free = p.Size/32*31 - v.used(root) // ZFS keeps 1/32 back
		}
	}
	for at := name; at != ""; at = parentDataset(at) {
		if q, _ := strconv.ParseInt(v.Datasets.get(at).Props["quota"], 10, 64); q > 0 {
			free = min(free, q-v.used(at))
		}
	}
	if q, _ := strconv.ParseInt(v.Datasets.get(name).Props["refquota"], 10, 64); q > 0 {
		free = min(free, q-v.own(name))
	}
	return max(free, 0)
}

// get returns a property of a dataset; ok is false if there is none of that name.
func (v *zfsView) get(name, prop string) (val value, ok bool) {
	d := v.Datasets.get(name)
	if strings.Contains(prop, ":") {
		return v.inherited(d, prop, value{text: "-", source: "-"}), true
	}
	if prop == "name" {
		return value{text: name, source: "-"}, true
	}
	p, ok := nativeProp(prop)
	if !ok {
		// Known to ZFS, but of no account here.
		return value{text: "-", source: "-"}, slices.Contains([]string{"origin", "userrefs", "clones", "volsize"}, prop)
	}
	if p.kind == propStat {
		return v.stat(d, p), true
	}
	if d.snapshot() && p.name != "canmount" && p.name != "mountpoint" && !p.own {
		return v.inherited(d, p.name, value{text: p.value, source: "default"}), true
	}
	if d.snapshot() {
		return value{text: "-", source: "-"}, true
	}
	if p.name == "mountpoint" {
		val = v.inherited(d, "mountpoint", value{source: "default"})
		val.text = v.mountpoint(name)
		return val, true
	}
	val = value{text: p.value, source: "default"}
	if own, ok := d.Props[p.name]; ok {
		val = value{text: own, source: "local"}
	} else if !p.own {
		val = v.inherited(d, p.name, val)
	}
	val.size = p.kind == propSize
	return val, true
}

// inherited returns the property where it is set nearest above d, else other.
func (z *zfsState) inherited(d *dataset, prop string, other value) value {
	for at := d.Name; at != ""; at = parentDataset(at) {
		o := z.Datasets.get(at)
		if o == nil {
			break
		}
		v, ok := o.Props[prop]
		switch {
		case ok && o == d:
			return value{text: v, source: "local"}
		case ok:
			return value{text: v, source: "inherited from " + at}
		}
	}
	return other
}

// inherits returns the effective text of a native property. The caller holds
// the node's mu.
func (z *zfsState) inherits(name, prop string) string {
	p, _ := nativeProp(prop)
	d := z.Datasets.get(name)
	if p.own {
		if v, ok := d.Props[prop]; ok {
			return v
		}
		return p.value
	}
	return z.inherited(d, prop, value{text: p.value}).text
}

// stat returns a property that ZFS tells.
func (v *zfsView) stat(d *dataset, p property) value {
	val := value{text: "-", source: "-"}
	size := func(n int64) { val.text, val.size = strconv.FormatInt(n, 10), true }
	switch p.name {
	case "type":
		val.text = d.kind()
	case "creation":
		val.text = strconv.FormatInt(d.Created, 10)
	case "createtxg", "objsetid":
		val.text = strconv.FormatInt(d.TXG, 10)
	case "guid":
		val.text = strconv.FormatUint(d.GUID, 10)
	case "used":
		size(v.used(d.Name))
	case "referenced", "written", "usedbydataset", "logicalreferenced":
		size(v.own(d.Name))
	case "logicalused":
		size(v.used(d.Name))
	case "usedbychildren":
		size(v.used(d.Name) - v.own(d.Name))
	case "available":
		if !d.snapshot() {
			size(v.available(d.Name))
		}
	case "mounted":
		switch {
		case d.snapshot():
		case d.Mounted:
			val.text = "yes"
		default:
			val.text = "no"
		}
	default:
		val.text = p.value
	}
	return val
}

// show returns the value for people unless exact: sizes as 96K, none for 0.
func (val value) show(prop string, exact bool) string {
	if exact {
		return val.text
	}
	if prop == "creation" {
		sec, err := strconv.ParseInt(val.text, 10, 64)
		if err == nil {
			return time.Unix(sec, 0).UTC().Format("Mon Jan _2 15:04 2006")
		}
	}
	if strings.HasSuffix(prop, "compressratio") {
		return val.text + "x"
	}
	n, err := strconv.ParseInt(val.text, 10, 64)
	if !val.size || err != nil {
		return val.text
	}
	if p, _ := nativeProp(prop); n == 0 && p.own {
		return "none"
	}
	return niceBytes(n)
}

// niceBytes is ZFS's short form of a number: three digits and a unit.
func niceBytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	f, unit := float64(n), -1
	for f >= 1024 && unit < 5 {
		f /= 1024
		unit++
	}
	digits := 2
	switch {
	case f == float64(int64(f)) || f >= 100:
		digits = 0
	case f >= 10:
		digits = 1
	}
	return strconv.FormatFloat(f, 'f', digits, 64) + "KMGTPE"[unit:unit+1]
}
