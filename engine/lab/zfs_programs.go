package lab

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

func zfsPrograms() map[string]program {
	return map[string]program{"zfs": zfsProgram, "zpool": zpoolProgram}
}

// zfsCommands are the commands of zfs that are modelled.
func zfsCommands() map[string]program {
	return map[string]program{
		"list": zfsList, "get": zfsGet,
		"create": zfsCreate, "destroy": zfsDestroy, "rename": zfsRename,
		"set": zfsSet, "inherit": zfsInherit,
		"snapshot": zfsSnapshot, "rollback": zfsRollback,
		"mount": zfsMount, "unmount": zfsUnmount, "umount": zfsUnmount,
		"version": zfsVersion,
	}
}

// zfsProgram is zfs(8).
func zfsProgram(p *proc) int {
	if len(p.argv) < 2 {
		return p.failf(2, "missing command\nusage: zfs command args ...")
	}
	run, ok := zfsCommands()[p.argv[1]]
	switch p.argv[1] {
	case "clone", "promote", "send", "receive", "recv", "allow", "hold", "holds", "release", "bookmark", "diff":
		return p.failf(2, "the lab does not model zfs %s", p.argv[1])
	}
	if !ok {
		return p.failf(2, "unrecognized command '%s'\nusage: zfs command args ...", p.argv[1])
	}
	return run(p)
}

func zfsVersion(p *proc) int {
	v := p.node.packages().packages["zfsutils-linux"]
	fmt.Fprintf(p.stdout, "zfs-%s\nzfs-kmod-%[1]s\n", v)
	return 0
}

// zfsOptions parses the options of a command of zfs.
func (p *proc) zfsOptions(names string) (o options, operands []string, ok bool) {
	o, operands, err := grammar{names: names}.parse(p.argv[2:])
	if err != nil {
		text := strings.TrimPrefix(err.Error(), "invalid option -- ")
		p.failf(2, "invalid option %s\nusage:\n\t%s", text, p.argv[1])
		return nil, nil, false
	}
	return o, operands, true
}

// zfsFail prints what zfs says of err and returns its exit status.
func (p *proc) zfsFail(err error) int {
	var ze *zfsError
	if errors.As(err, &ze) {
		return p.failf(ze.exit, "%s", ze.msg)
	}
	return p.failf(1, "%v", err)
}

// assignments parses "-o K=V" arguments; msg is what is wrong with them.
func assignments(args []string) (props map[string]string, msg string) {
	props = map[string]string{}
	for _, a := range args {
		k, v, ok := strings.Cut(a, "=")
		if !ok {
			return nil, "missing '=' for property=value argument"
		}
		if _, twice := props[k]; twice {
			return nil, fmt.Sprintf("property '%s' specified multiple times", k)
		}
		props[k] = v
	}
	return props, ""
}

func zfsCreate(p *proc) int {
	o, names, ok := p.zfsOptions("p u n v P o: V: s b:")
	if !ok {
		return 2
	}
	if o.has("V") || o.has("n") {
		return p.failf(2, "the lab has no volumes and no dry run of zfs create")
	}
	if len(names) != 1 {
		return p.failf(2, "%s\nusage:\n\tcreate [-Pnpuv] [-o property=value] ... <filesystem>",
			map[bool]string{true: "missing filesystem argument", false: "too many arguments"}[len(names) == 0])
	}
	props, msg := assignments(o["o"])
	if msg != "" {
		return p.failf(1, "%s", msg)
	}
	err := p.node.createFS(names[0], props, createOptions{parents: o.has("p"), noMount: o.has("u")})
	if err != nil {
		return p.zfsFail(err)
	}
	p.node.save()
	return 0
}

func zfsDestroy(p *proc) int {
	o, names, ok := p.zfsOptions("r R f n v p d")
	if !ok {
		return 2
	}
	if len(names) != 1 {
		return p.failf(2, "missing dataset argument\nusage:\n\tdestroy [-fnpRrv] <filesystem|volume>")
	}
	name := names[0]
	doomed, err := p.node.doomed(name, o.has("r") || o.has("R"))
	if err != nil {
		return p.zfsFail(err)
	}
	for _, d := range doomed {
		switch {
		case o.has("v") && o.has("p"):
			fmt.Fprintf(p.stdout, "destroy\t%s\n", d)
		case o.has("v") && o.has("n"):
			fmt.Fprintf(p.stdout, "would destroy %s\n", d)
		case o.has("v"):
			fmt.Fprintf(p.stdout, "will destroy %s\n", d)
		}
	}
	if o.has("n") {
		return 0
	}
	defer p.node.save()
	for _, d := range doomed {
		if err := p.node.destroyDataset(d); err != nil {
			return p.zfsFail(err)
		}
		if err := p.checkpoint(); err != nil {
			exit, _ := p.ended(err)
			return exit
		}
	}
	return 0
}

// doomed returns what zfs destroy would destroy, in its order.
func (n *node) doomed(name string, recursive bool) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	z := &n.state.ZFS
	fsys, snap, isSnap := strings.Cut(name, "@")
	if !isSnap {
		if !z.Datasets.has(name) || !recursive {
			return []string{name}, nil // destroyDataset says what is wrong
		}
		return append(z.below(name), name), nil
	}
	var out []string
	for _, k := range z.Datasets.keys() {
		f, s, _ := strings.Cut(k, "@")
		if s == snap && (f == fsys || recursive && within(f, fsys)) {
			out = append(out, k)
		}
	}
	if len(out) == 0 {
		return nil, zfsErrorf("could not find any snapshots to destroy; check snapshot names.")
	}
	return out, nil
}

func zfsRename(p *proc) int {
	o, names, ok := p.zfsOptions("p r f u")
	if !ok {
		return 2
	}
	if len(names) != 2 {
		return p.failf(2, "missing source or target dataset argument\nusage:\n\trename [-f] <filesystem|volume|snapshot> <filesystem|volume|snapshot>")
	}
	if o.has("r") {
		return p.failf(2, "the lab has no zfs rename -r")
	}
	if err := p.node.renameFS(names[0], names[1], o.has("p")); err != nil {
		return p.zfsFail(err)
	}
	p.node.save()
	return 0
}

func zfsSet(p *proc) int {
	_, args, ok := p.zfsOptions("u")
	if !ok {
		return 2
	}
	i := slices.IndexFunc(args, func(a string) bool { return !strings.Contains(a, "=") })
	if i < 1 {
		return p.failf(2, "missing property=value argument(s)\nusage:\n\tset [-u] <property=value> ... <filesystem|volume|snapshot> ...")
	}
	props, msg := assignments(args[:i])
	if msg != "" {
		return p.failf(1, "%s", msg)
	}
	defer p.node.save()
	for _, name := range args[i:] {
		if err := p.node.setProps(name, props); err != nil {
			return p.zfsFail(err)
		}
	}
	return 0
}

// setProps sets properties of one dataset, remounting it where its mountpoint
// changes.
func (n *node) setProps(name string, props map[string]string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	z := &n.state.ZFS
	d := z.Datasets.get(name)
	if d == nil {
		return zfsErrorf("cannot open '%s': dataset does not exist", name)
	}
	clean, err := checkProps(props)
	for k := range props {
		if p, ok := nativeProp(k); err == nil && ok && p.kind == propFixed {
			err = fmt.Errorf("'%s' is readonly", k)
		}
	}
	if err != nil {
		return &zfsError{fmt.Sprintf("cannot set property for '%s': %v", name, err), 255}
	}
	for _, c := range n.troubles.all() {
		if c.Kind == ReadOnly && c.Area.Dataset != "" && within(name, c.Area.Dataset) {
			return zfsErrorf("cannot set property for '%s': pool is read-only", name)
		}
	}
	_, moves := clean["mountpoint"]
	_, can := clean["canmount"]
	if !moves && !can {
		maps.Copy(z.Datasets.edit(name).Props, clean)
		return nil
	}
	return n.remounting(name, func() { maps.Copy(z.Datasets.edit(name).Props, clean) })
}

// remounting unmounts a file system and those below it, calls change and mounts
// them again. The caller holds n.mu.
func (n *node) remounting(name string, change func()) error {
	z := &n.state.ZFS
	var all []string
	for k, d := range z.Datasets.all() {
		if within(k, name) && !d.snapshot() {
			all = append(all, k)
		}
	}
	was, err := n.unmountTree(all)
	if err != nil {
		return err
	}
	change()
	if len(was) == 0 && !z.Datasets.get(name).Mounted {
		was = []string{name}
	}
	slices.Reverse(was)
	for _, k := range was {
		if z.inherits(k, "canmount") == "off" {
			continue
		}
		if err := n.mountFS(k); err != nil {
			return err
		}
	}
	return nil
}

// childrenFirst sorts names so that children come before their parents.
func childrenFirst(names []string) []string {
	out := slices.Clone(names)
	slices.Sort(out)
	slices.Reverse(out)
	return out
}

func zfsInherit(p *proc) int {
	o, args, ok := p.zfsOptions("r S")
	if !ok {
		return 2
	}
	if len(args) < 2 {
		return p.failf(2, "missing property argument\nusage:\n\tinherit [-rS] <property> <filesystem|volume|snapshot> ...")
	}
	prop := args[0]
	native, isNative := nativeProp(prop)
	switch {
	case !isNative && !userProp(prop):
		return p.failf(2, "invalid property '%s'\nusage:\n\tinherit [-rS] <property> <filesystem|volume|snapshot> ...", prop)
	case native.own:
		return p.failf(1, "'%s' property cannot be inherited\nuse 'zfs set %[1]s=none' to clear\n"+
			"use 'zfs inherit -S %[1]s' to revert to received value", prop)
	}
	defer p.node.save()
	for _, name := range args[1:] {
		if err := p.node.inherit(name, prop, o.has("r")); err != nil {
			return p.zfsFail(err)
		}
	}
	return 0
}

func (n *node) inherit(name, prop string, recursive bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	z := &n.state.ZFS
	if !z.Datasets.has(name) {
		return zfsErrorf("cannot open '%s': dataset does not exist", name)
	}
	drop := func() {
		for k := range z.Datasets.all() {
			if k == name || recursive && within(k, name) {
				delete(z.Datasets.edit(k).Props, prop)
			}
		}
	}
	if prop == "mountpoint" {
		return n.remounting(name, drop)
	}
	drop()
	return nil
}
