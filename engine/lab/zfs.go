package lab

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// A zfsState is what ZFS knows: pools, and datasets by name.
type zfsState struct {
	Pools    []pool                  `json:"pools"`
	Datasets table[string, *dataset] `json:"datasets"`
	TXG      int64                   `json:"txg"` // last transaction group

	// mounts holds by directory what is mounted there, the last on top.
	mounts map[string][]*dataset
}

// A pool is a ZFS pool.
type pool struct {
	Name string `json:"name"`
	Size int64  `json:"size"` // bytes
}

// A dataset is a file system or a snapshot ("tank/a@s1").
type dataset struct {
	Name    string            `json:"name"`
	Props   map[string]string `json:"props,omitempty"` // set here, as zfs get -p shows them
	Created int64             `json:"created"`         // Unix time
	TXG     int64             `json:"txg"`
	GUID    uint64            `json:"guid"`
	Mounted bool              `json:"mounted,omitempty"`
	// Where is the directory that it is mounted at while Mounted, which differs
	// from its mountpoint when that was changed under a busy mount.
	Where string `json:"where,omitempty"`
}

func (d *dataset) snapshot() bool { return strings.Contains(d.Name, "@") }

// A zfsError is what zfs says on standard error, and its exit status.
type zfsError struct {
	msg  string
	exit int
}

func (e *zfsError) Error() string { return e.msg }

func zfsErrorf(format string, a ...any) error { return &zfsError{fmt.Sprintf(format, a...), 1} }

// dataset returns a copy of the dataset or snapshot of that name.
func (n *node) dataset(name string) (*dataset, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.state.ZFS.Datasets.get(name)
	if d == nil {
		return nil, false
	}
	c := *d
	c.Props = maps.Clone(d.Props)
	return &c, true
}

// createDataset makes and mounts a file system; props are as after zfs create
// -o. Errors are *zfsError with the text of zfs. The caller calls n.save.
func (n *node) createDataset(name string, props map[string]string) error {
	return n.createFS(name, props, createOptions{})
}

type createOptions struct {
	parents bool // -p
	noMount bool // -u
}

func (n *node) createFS(name string, props map[string]string, o createOptions) error {
	if msg := badDatasetName(name); msg != "" {
		return zfsErrorf("cannot create '%s': %s", name, msg)
	}
	clean, err := checkProps(props)
	if err != nil {
		return zfsErrorf("cannot create '%s': %v", name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	z := &n.state.ZFS
	if z.Datasets.has(name) {
		if o.parents {
			return nil
		}
		return zfsErrorf("cannot create '%s': dataset already exists", name)
	}
	if err := n.needParent(name, o.parents); err != nil {
		return err
	}
	if err := n.mayMake("create", name); err != nil {
		return err
	}
	z.Datasets.put(name, z.born(name, clean))
	if z.inherits(name, "canmount") != "on" || o.noMount {
		return nil
	}
	return n.mountFS(name)
}

// needParent checks that a dataset can be made below its parent, or makes the
// parents. The caller holds n.mu.
func (n *node) needParent(name string, make bool) error {
	z := &n.state.ZFS
	parent := parentDataset(name)
	if poolOf := rootDataset(name); !z.Datasets.has(poolOf) {
		return zfsErrorf("cannot create '%s': no such pool '%s'", name, poolOf)
	}
	if z.Datasets.has(parent) {
		return nil
	}
	if !make {
		return zfsErrorf("cannot create '%s': parent does not exist", name)
	}
	if err := n.needParent(parent, true); err != nil {
		return err
	}
	z.Datasets.put(parent, z.born(parent, nil))
	return n.mountFS(parent)
}

// born returns a new dataset.
func (z *zfsState) born(name string, props map[string]string) *dataset {
	z.TXG += 2
	if props == nil {
		props = map[string]string{}
	}
	// Any number that differs does for a guid; this one is stable.
	guid := uint64(1469598103934665603)
	for _, c := range []byte(name) {
		guid = (guid ^ uint64(c)) * 1099511628211
	}
	return &dataset{
		Name: name, Props: props, Created: time.Now().Unix(), TXG: z.TXG, GUID: guid + uint64(z.TXG),
	}
}

// destroyDataset unmounts and destroys one file system or snapshot with its
// files; it must have no children. Errors are *zfsError with the text of zfs.
func (n *node) destroyDataset(name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	z := &n.state.ZFS
	d := z.Datasets.get(name)
	if d == nil {
		return zfsErrorf("cannot open '%s': dataset does not exist", name)
	}
	if kids := z.below(name); len(kids) > 0 {
		return zfsErrorf("cannot destroy '%s': filesystem has children\n"+
			"use '-r' to destroy the following datasets:\n%s", name, strings.Join(kids, "\n"))
	}
	if d.Mounted && n.mountedTwice(d) {
		return zfsErrorf("cannot destroy '%s': dataset is busy", name)
	}
	if err := n.mayMake("destroy", name); err != nil {
		return err
	}
	at := d.Where
	if err := n.unmountFS(name); err != nil {
		return err
	}
	n.dropMountpoint(at)
	z.Datasets.drop(name)
	return n.dropFiles(name)
}

// dropMountpoint removes the directory at which a file system was mounted, as zfs
// does with one that it destroys or renames; one with files in it stays.
func (n *node) dropMountpoint(at string) {
	if at == "" {
		return
	}
	if fi, err := os.Lstat(n.host(at)); err == nil && fi.IsDir() && os.Remove(n.host(at)) == nil {
		n.forgetLocked(at)
	}
}

// renameDataset renames a file system with all that is below it and moves its
// mounts. Errors are *zfsError with the text of zfs.
func (n *node) renameDataset(from, to string) error { return n.renameFS(from, to, false) }

func (n *node) renameFS(from, to string, parents bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	z := &n.state.ZFS
	if !z.Datasets.has(from) {
		return zfsErrorf("cannot open '%s': dataset does not exist", from)
	}
	if msg := badDatasetName(to); msg != "" && !strings.Contains(from, "@") {
		return zfsErrorf("cannot rename to '%s': %s", to, msg)
	}
	if z.Datasets.has(to) {
		return zfsErrorf("cannot rename '%s': dataset already exists", from)
	}
	if within(to, from) {
		return zfsErrorf("cannot rename '%s': New dataset name cannot be a descendant of current dataset name", from)
	}
	if err := n.needParent(to, parents); err != nil {
		return err
	}
	moved := append([]string{from}, z.below(from)...)
	was := z.Datasets.get(from).Where
	again, err := n.unmountTree(moved)
	if err != nil {
		return err
	}
	n.dropMountpoint(was)
	for _, old := range moved {
		name := to + strings.TrimPrefix(old, from)
		d := z.Datasets.get(old)
		z.Datasets.drop(old)
		d.Name = name
		z.Datasets.put(name, d)
		if err := n.moveFiles(old, name); err != nil {
			return err
		}
	}
	slices.Reverse(again) // parents first
	for _, old := range again {
		if err := n.mountFS(to + strings.TrimPrefix(old, from)); err != nil {
			return err
		}
	}
	return nil
}

// kind is what zfs calls it.
func (d *dataset) kind() string {
	if d.snapshot() {
		return "snapshot"
	}
	return "filesystem"
}

// below returns the names of all datasets and snapshots below name (and its own
// snapshots), in the order in which zfs destroys them: deepest first.
func (z *zfsState) below(name string) []string {
	var out []string
	for k := range z.Datasets.all() {
		if strings.HasPrefix(k, name+"/") || strings.HasPrefix(k, name+"@") {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b string) int {
		fa, fb := filesystemOf(a), filesystemOf(b)
		switch {
		case fa == fb: // snapshots before what they are of, oldest first
			if sa, sb := strings.Contains(a, "@"), strings.Contains(b, "@"); sa != sb {
				if sa {
					return -1
				}
				return 1
			}
			return int(z.Datasets.get(a).TXG - z.Datasets.get(b).TXG)
		case within(fa, fb):
			return -1
		case within(fb, fa):
			return 1
		}
		return strings.Compare(fa, fb)
	})
	return out
}

func parentDataset(name string) string {
	if fs, _, ok := strings.Cut(name, "@"); ok {
		return fs
	}
	return name[:max(strings.LastIndexByte(name, '/'), 0)]
}

func rootDataset(name string) string {
	root, _, _ := strings.Cut(filesystemOf(name), "/")
	return root
}

func filesystemOf(name string) string { fs, _, _ := strings.Cut(name, "@"); return fs }

// badDatasetName returns what zfs has against the name of a file system, or "".
func badDatasetName(name string) string {
	if strings.Contains(name, "@") {
		return "snapshot delimiter '@' is not expected here"
	}
	if len(name) >= 256 {
		return "name is too long"
	}
	for _, c := range []byte(name) {
		if !validNameByte(c) {
			return fmt.Sprintf("invalid character '%s' in name", []byte{c})
		}
	}
	if strings.HasPrefix(name, "/") {
		return "leading slash in name"
	}
	if strings.HasSuffix(name, "/") {
		return "trailing slash in name"
	}
	if name == "" || strings.Contains(name, "//") {
		return "empty component or misplaced '@' or '#' delimiter in name"
	}
	return ""
}

func validNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		strings.IndexByte("-_.: /", c) >= 0
}
