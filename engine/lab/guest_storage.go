package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// mappedRoot is the id on the node of root in an unprivileged container.
const mappedRoot = 100000

// storages reads the node's storage.cfg.
func (n *node) storages() ([]engine.Storage, error) {
	data, err := n.readFile("/etc/pve/storage.cfg")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return pve.ParseStorageCfg(data)
}

// storage returns an enabled storage (storage_check_enabled in Storage.pm).
func (n *node) storage(name string) (engine.Storage, error) {
	all, err := n.storages()
	if err != nil {
		return engine.Storage{}, err
	}
	for _, s := range all {
		switch {
		case s.Name != name:
		case s.Off:
			return s, dief(255, "storage '%s' is disabled", name)
		case len(s.Nodes) > 0 && !slices.Contains(s.Nodes, n.name):
			return s, dief(255, "storage '%s' is not available on node '%s'", name, n.name)
		default:
			return s, nil
		}
	}
	return engine.Storage{}, dief(255, "storage '%s' does not exist", name)
}

// A volume is a volume of a storage of the node.
type volume struct {
	id      pve.VolID
	store   engine.Storage
	kind    string // "vztmpl", "rootdir", …
	file    string // its path on the node, which need not exist
	dataset string // on a zfspool
}

// volume finds out what a volume id names. It looks at the name alone.
func (n *node) volume(id string) (volume, error) {
	vid, err := pve.ParseVolID(id)
	if err != nil {
		return volume{}, dief(255, "%v", err)
	}
	s, err := n.storage(vid.Storage)
	if err != nil {
		return volume{}, err
	}
	v := volume{id: vid, store: s}
	switch s.Type {
	case "zfspool":
		return n.zfsVolume(v)
	case "lvmthin":
		return lvmVolume(v)
	}
	return dirVolume(v)
}

// volumeGroup is the volume group of every lvmthin storage.
const volumeGroup = "pve"

// lvmVolume parses a volume's name as LVMPlugin.pm does.
func lvmVolume(v volume) (volume, error) {
	if !regexp.MustCompile(`^(vm|base)-\d+-\S+$`).MatchString(v.id.Name) {
		return v, dief(255, "unable to parse lvm volume name '%s'", v.id.Name)
	}
	v.kind, v.file = "rootdir", path.Join("/dev", volumeGroup, v.id.Name)
	return v, nil
}

// zfsVolume parses a volume's name as ZFSPoolPlugin.pm does.
func (n *node) zfsVolume(v volume) (volume, error) {
	if !regexp.MustCompile(`^((base|basevol)-\d+-\S+/)?(base|basevol|vm|subvol)-\d+-\S+$`).MatchString(v.id.Name) {
		return v, dief(255, "unable to parse zfs volume name '%s'", v.id.Name)
	}
	v.kind, v.dataset = "rootdir", path.Join(v.store.Pool, v.id.Name)
	n.mu.Lock()
	defer n.mu.Unlock()
	v.file = n.state.ZFS.mountpoint(v.dataset)
	if !n.state.ZFS.Datasets.has(v.dataset) {
		v.file = path.Join(n.state.ZFS.mountpoint(v.store.Pool), v.id.Name)
	}
	return v, nil
}

// dirVolume parses a volume's name as Plugin.pm does for storages with a path.
func dirVolume(v volume) (volume, error) {
	template := regexp.MustCompile(`(?i)^vztmpl/([^/]+\.tar(\.(gz|xz|zst|bz2))?)$`)
	snippet := regexp.MustCompile(`^snippets/([^/]+)$`)
	iso := regexp.MustCompile(`(?i)^iso/([^/]+\.(iso|img))$`)
	image := regexp.MustCompile(`^(\d+)/([^/\s]+\.(raw|qcow2|subvol))$`)
	name := v.id.Name
	switch {
	case template.MatchString(name):
		v.kind, v.file = "vztmpl", path.Join(v.store.Path, "template/cache", path.Base(name))
	case snippet.MatchString(name):
		v.kind, v.file = "snippets", path.Join(v.store.Path, name)
	case iso.MatchString(name):
		v.kind, v.file = "iso", path.Join(v.store.Path, "template/iso", path.Base(name))
	case image.MatchString(name):
		v.kind, v.file = "rootdir", path.Join(v.store.Path, "images", name)
	default:
		return v, dief(255, "unable to parse directory volume name '%s'", name)
	}
	return v, nil
}

// dir returns the directory of the node that holds the files of a container's
// volume. Those of a raw image or a logical volume lie beside it; a real node
// would mount what is in it.
func (v volume) dir() string {
	if v.dataset != "" {
		return v.file
	}
	return v.file + ".files"
}

// size returns the size in bytes of a container's volume; 0 is without limit.
func (n *node) volumeSize(v volume) (int64, error) {
	if v.dataset == "" {
		fi, err := n.stat(v.file)
		if err != nil {
			return 0, dief(255, "volume '%s' does not exist", v.id)
		}
		return fi.Size(), nil
	}
	d, ok := n.dataset(v.dataset)
	if !ok {
		return 0, dief(255, "zfs error: cannot open '%s': dataset does not exist", v.dataset)
	}
	size, _ := strconv.ParseInt(d.Props["refquota"], 10, 64) // unset is 0
	return size, nil
}

// allocate makes a new volume of so many GiB for a container. The root of its
// file system belongs to the container's.
func (n *node) allocate(storage string, id int, gib float64) (volume, int64, error) {
	s, err := n.storage(storage)
	if err != nil {
		return volume{}, 0, err
	}
	size := int64(math.Round(gib*(1<<20))) << 10 // PVE counts KiB
	format := "%s:subvol-%d-disk-%d"
	switch s.Type {
	case "zfspool":
	case "lvmthin":
		format = "%s:vm-%d-disk-%d"
	default:
		format = fmt.Sprintf("%%s:%d/vm-%%d-disk-%%d.raw", id)
	}
	for disk := 0; ; disk++ {
		v, err := n.volume(fmt.Sprintf(format, storage, id, disk))
		if err != nil {
			return volume{}, 0, err
		}
		if n.volumeExists(v) {
			continue
		}
		if err := n.makeVolume(v, size); err != nil {
			return volume{}, 0, err
		}
		n.setOwner(v.dir(), owner{UID: mappedRoot, GID: mappedRoot, Mode: 0o755})
		n.save()
		return v, size, nil
	}
}

func (n *node) volumeExists(v volume) bool {
	if v.dataset != "" {
		_, ok := n.dataset(v.dataset)
		return ok
	}
	_, err := n.stat(v.file)
	return err == nil
}

func (n *node) makeVolume(v volume, size int64) error {
	if v.dataset == "" {
		if _, err := n.fill(v.file, dirSize); err != nil { // inferred: mkfs.ext4 fails
			return dief(255, "unable to create image: %s", strerror(err))
		}
		if err := n.writeFile(v.file, nil, 0o640); err != nil {
			return err
		}
		if err := os.Truncate(n.host(v.file), size); err != nil {
			return err
		}
		return n.mkdirAll(v.dir())
	}
	props := map[string]string{"acltype": "posix", "xattr": "sa"}
	if size > 0 {
		props["refquota"] = strconv.FormatInt(size, 10)
	}
	if err := n.createDataset(v.dataset, props); err != nil {
		return dief(255, "zfs error: %v", err)
	}
	return nil
}

// freeVolume destroys a volume; one that is not there is no error.
func (n *node) freeVolume(v volume) error {
	if !n.volumeExists(v) {
		return nil
	}
	defer n.save()
	if v.dataset == "" {
		return errors.Join(n.removeAll(v.dir()), n.removeAll(v.file))
	}
	err := n.destroyDataset(v.dataset)
	var busy *zfsError
	if errors.As(err, &busy) {
		text := busy.msg
		if strings.HasPrefix(text, "cannot unmount") {
			text = fmt.Sprintf("cannot destroy '%s': dataset is busy", v.dataset)
		}
		return dief(255, "zfs error: %s", text)
	}
	return err
}

// formatSize prints a size as format_size in JSONSchema.pm does.
func formatSize(bytes int64) string {
	for _, unit := range []string{"", "K", "M", "G"} {
		if bytes%1024 != 0 {
			return strconv.FormatInt(bytes, 10) + unit
		}
		bytes /= 1024
	}
	return strconv.FormatInt(bytes, 10) + "T"
}

// newVolume splits "STORAGE:GIB", the request for a new volume.
func newVolume(text string) (storage string, gib float64, ok bool) {
	m := regexp.MustCompile(`^([^:\s]+):(\d+(\.\d+)?)$`).FindStringSubmatch(text)
	if m == nil {
		return "", 0, false
	}
	gib, err := strconv.ParseFloat(m[2], 64)
	return m[1], gib, err == nil
}
