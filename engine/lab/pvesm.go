package lab

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// pvesm is the node's storage tool (src/PVE/CLI/pvesm.pm in pve-storage).
func pvesm(p *proc) int {
	if len(p.argv) < 2 {
		return p.failf(255, "ERROR: no command specified\nUSAGE: pvesm <COMMAND> [ARGS] [OPTIONS]")
	}
	cmd, ok := pvesmCommands()[p.argv[1]]
	if !ok {
		return p.failf(255, "ERROR: unknown command 'pvesm %s'\nUSAGE: pvesm <COMMAND> [ARGS] [OPTIONS]", p.argv[1])
	}
	return cmd.cli(p, "pvesm "+p.argv[1], p.argv[2:])
}

// pvesmCommands returns the subcommands that are modelled.
func pvesmCommands() map[string]guestCommand {
	return map[string]guestCommand{
		"path":   {args: []string{"volume"}, usage: "<volume>", run: pvesmPath},
		"list":   {args: []string{"storage"}, usage: "<storage> [OPTIONS]", options: map[string]optionKind{"content": textOption, "vmid": textOption}, run: pvesmList},
		"free":   {args: []string{"volume"}, usage: "<volume> [OPTIONS]", options: map[string]optionKind{"delay": textOption, "storage": textOption}, run: pvesmFree},
		"status": {usage: " [OPTIONS]", options: map[string]optionKind{"storage": textOption, "content": textOption, "enabled": boolOption}, run: pvesmStatus},
		"alloc":  {args: []string{"storage", "vmid", "filename", "size"}, usage: "<storage> <vmid> <filename> <size> [OPTIONS]", options: map[string]optionKind{"format": textOption}, run: pvesmAlloc},
	}
}

// pvesmPath prints where a volume is, or would be.
func pvesmPath(c *guestCall) error {
	id := c.args["volume"]
	if _, err := pve.ParseVolID(id); err != nil {
		return paramError{"volume": fmt.Sprintf("invalid format - unable to parse volume ID '%s'\n", id)}
	}
	v, err := c.node.volume(id)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.stdout, v.file)
	return nil
}

// pvesmFree removes a volume. One that is not there is removed as well, and that
// a dataset is busy is no failure.
func pvesmFree(c *guestCall) error {
	v, err := c.node.volume(c.args["volume"])
	if err != nil {
		return err
	}
	switch {
	case v.kind != "rootdir":
		if _, err := c.node.stat(v.file); err != nil {
			fmt.Fprintf(c.stdout, "disk image '%s' does not exist\n", v.file)
		} else if err := c.node.removeAll(v.file); err != nil {
			return err
		}
	default:
		err := c.freeVolume(v)
		if err != nil && strings.HasPrefix(err.Error(), "zfs error") {
			fmt.Fprintln(c.stderr, err)
			return nil
		}
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(c.stdout, "Removed volume '%s'\n", v.id)
	return nil
}

// pvesmAlloc makes a volume.
func pvesmAlloc(c *guestCall) error {
	size := c.args["size"]
	if size != "" && !strings.ContainsAny(size[len(size)-1:], "KMGT") {
		size += "K"
	}
	v, _, err := c.allocate(c.args["storage"], float64(parseSize(size))/(1<<30))
	if err == nil {
		fmt.Fprintf(c.stdout, "successfully created '%s'\n", v.id)
	}
	return err
}

// A contentRow is one volume of a storage as it is listed.
type contentRow struct {
	id, format, kind string
	size, ctime      int64
	owner            int
}

// content lists the volumes of a storage.
func (n *node) content(s engine.Storage) []contentRow {
	var out []contentRow
	switch s.Type {
	case "zfspool":
		out = n.zfsContent(s)
	case "lvmthin":
		out = n.logicalVolumes(s)
	default:
		for _, e := range n.dirFiles(path.Join(s.Path, "template/cache")) {
			format := regexp.MustCompile(`(?i)\.tar(\.(gz|xz|zst|bz2))?$`).FindString(e.name)
			if format == "" {
				continue
			}
			format = strings.ToLower(strings.TrimPrefix(strings.ReplaceAll(format, ".tar.", ".t"), "."))
			out = append(out, contentRow{id: s.Name + ":vztmpl/" + e.name, format: format, kind: "vztmpl", size: e.size, ctime: e.changed})
		}
		if slices.Contains(s.Content, "rootdir") {
			out = append(out, n.dirImages(s)...)
		}
	}
	slices.SortFunc(out, func(a, b contentRow) int { return strings.Compare(a.id, b.id) })
	return out
}

type fileRow struct {
	name          string
	size, changed int64
}

func (n *node) dirFiles(dir string) []fileRow {
	var out []fileRow
	list, _ := n.readDir(dir) // none is like an empty one
	for _, e := range list {
		if fi, err := e.Info(); err == nil && fi.Mode().IsRegular() {
			out = append(out, fileRow{e.Name(), fi.Size(), fi.ModTime().Unix()})
		}
	}
	return out
}

// dirImages lists the volumes of containers in a directory storage.
func (n *node) dirImages(s engine.Storage) []contentRow {
	var out []contentRow
	owners, _ := n.readDir(path.Join(s.Path, "images")) // none is like an empty one
	for _, dir := range owners {
		for _, e := range n.dirFiles(path.Join(s.Path, "images", dir.Name())) {
			id := pve.VolID{Storage: s.Name, Name: dir.Name() + "/" + e.name}
			if owner := id.Owner(); owner > 0 {
				out = append(out, contentRow{
					id: id.String(), format: strings.TrimPrefix(path.Ext(e.name), "."), kind: "rootdir", size: e.size, ctime: e.changed, owner: owner,
				})
			}
		}
	}
	return out
}

// logicalVolumes lists the volumes of containers in an lvmthin storage.
func (n *node) logicalVolumes(s engine.Storage) []contentRow {
	var out []contentRow
	for _, e := range n.dirFiles(path.Join("/dev", volumeGroup)) {
		id := pve.VolID{Storage: s.Name, Name: e.name}
		if owner := id.Owner(); owner > 0 {
			out = append(out, contentRow{id: id.String(), format: "raw", kind: "rootdir", size: e.size, ctime: e.changed, owner: owner})
		}
	}
	return out
}

func (n *node) zfsContent(s engine.Storage) []contentRow {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []contentRow
	for name, d := range n.state.ZFS.Datasets.all() {
		rest, ok := strings.CutPrefix(name, s.Pool+"/")
		id := pve.VolID{Storage: s.Name, Name: rest}
		if !ok || id.Owner() == 0 || strings.ContainsAny(rest, "/@") {
			continue
		}
		size, _ := strconv.ParseInt(d.Props["refquota"], 10, 64) // unset is 0
		out = append(out, contentRow{id: id.String(), format: "subvol", kind: "rootdir", size: size, owner: id.Owner()})
	}
	return out
}

// pvesmList lists the volumes of a storage; the first column is as wide as its
// longest text.
func pvesmList(c *guestCall) error {
	s, err := c.node.storage(c.args["storage"])
	if err != nil {
		return err
	}
	rows := slices.DeleteFunc(c.node.content(s), func(r contentRow) bool {
		kind, owner := c.opts["content"], c.opts["vmid"]
		return kind != "" && kind != r.kind || owner != "" && owner != strconv.Itoa(r.owner)
	})
	wide, sizeWide := len("Volid"), len("Size")
	for _, r := range rows {
		wide = max(wide, len(r.id))
		sizeWide = max(sizeWide, len(strconv.FormatInt(r.size, 10)))
	}
	fmt.Fprintf(c.stdout, "%-*s Format  Type      %*s VMID\n", wide, "Volid", sizeWide, "Size")
	for _, r := range rows {
		owner := ""
		if r.owner > 0 {
			owner = strconv.Itoa(r.owner)
		}
		line := fmt.Sprintf("%-*s %-7s %-9s %*d %s", wide, r.id, r.format, r.kind, sizeWide, r.size, owner)
		fmt.Fprintln(c.stdout, strings.TrimRight(line, " "))
	}
	return nil
}

// pvesmStatus prints the space of the storages, in KiB.
func pvesmStatus(c *guestCall) error {
	all, err := c.node.storages()
	if err != nil {
		return err
	}
	only := c.opts["storage"]
	if only != "" {
		if _, err := c.node.storage(only); err != nil {
			return &cliError{255, paramError{"storage": "No such storage."}.Error()}
		}
	}
	fmt.Fprintln(c.stdout, "Name             Type     Status     Total (KiB)      Used (KiB) Available (KiB)        %")
	for _, s := range all {
		if only != "" && s.Name != only || c.opts["content"] != "" && !slices.Contains(s.Content, c.opts["content"]) {
			continue
		}
		total, used := c.node.storageSpace(s)
		percent := 0.0
		if total > 0 {
			percent = 100 * float64(used) / float64(total)
		}
		fmt.Fprintf(c.stdout, "%-13s %7s %10s %15d %15d %15d %7.2f%%\n", s.Name, s.Type, "active", total>>10, used>>10, (total-used)>>10, percent)
	}
	return nil
}

// dirStorageSize is the size of the file system below a directory storage.
const dirStorageSize = 94 << 30

// thinPoolSize is the size of an lvmthin storage. What is in it is not counted.
const thinPoolSize = 348 << 30

// storageSpace returns the size and use of a storage in bytes.
func (n *node) storageSpace(s engine.Storage) (total, used int64) {
	if s.Type == "zfspool" {
		v := n.zfsView()
		if !v.Datasets.has(s.Pool) {
			return 0, 0
		}
		used = v.used(s.Pool)
		return v.available(s.Pool) + used, used
	}
	if s.Type == "lvmthin" {
		return thinPoolSize, 0
	}
	for _, e := range n.dirFiles(path.Join(s.Path, "template/cache")) {
		used += e.size
	}
	return dirStorageSize, used
}
