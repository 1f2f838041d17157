package pve

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine"
)

// DataPool is what recipes call the directory that takes data on a node without
// ZFS, in place of a pool: its datasets are "data/immich/db".
const DataPool = "data"

// addDataPool offers the directory that the owner chose for data as a pool.
func addDataPool(f *engine.Facts, dir string) error {
	if dir == "" {
		return nil
	}
	if err := checkDataDir(f, dir); err != nil {
		return err
	}
	if slices.ContainsFunc(f.Pools, func(p engine.Pool) bool { return p.Name == DataPool }) {
		return engine.WithHint(fmt.Errorf("%s has a ZFS pool %q, which is what recipes call the directory %q", f.Node, DataPool, dir),
			fmt.Sprintf(`take "data" out of the config file and say "pool": %q there`, DataPool))
	}
	f.Pools = append(f.Pools, engine.Pool{Name: DataPool, Dir: dir})
	return nil
}

// systemDirs take no data: they are the node's own, or gone after a restart.
var systemDirs = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/run", "/sbin", "/sys", "/tmp", "/usr", "/var/lib/lxc", "/var/lib/tengil"}

func checkDataDir(f *engine.Facts, dir string) error {
	hint := `name a directory that is there for data alone, such as "data": "/srv/data"`
	if !strings.HasPrefix(dir, "/") {
		for _, s := range f.Storages {
			if s.Name == dir {
				return storageForData(f, s)
			}
		}
		return engine.WithHint(fmt.Errorf("data is %q; wanted the absolute path of a directory", dir), hint)
	}
	err := CheckPath(dir)
	if err == nil && path.Clean(dir) != dir {
		err = fmt.Errorf("path %q is not in its shortest form; wanted %q", dir, path.Clean(dir))
	}
	if err == nil && dir == "/" {
		err = errors.New("/ is the node's system")
	}
	for _, system := range systemDirs {
		if dir == system || strings.HasPrefix(dir, system+"/") {
			err = fmt.Errorf("%q belongs to the node's system", dir)
		}
	}
	if err != nil {
		return engine.WithHint(fmt.Errorf("data: %w", err), hint)
	}
	return nil
}

// storageForData refuses a storage: pct destroy deletes the volumes of a
// container with it (LXC.pm, destroy_lxc_container), and data outlives containers.
func storageForData(f *engine.Facts, s engine.Storage) error {
	err := fmt.Errorf("data is %q, a storage of %s; Proxmox deletes the volumes of a container with the container, so tengil keeps data in directories", s.Name, f.Node)
	if s.Path != "" {
		return engine.WithHint(err, fmt.Sprintf(`to use the same disk, name a directory on it: "data": %q`, path.Join(s.Path, "tengil")))
	}
	return engine.WithHint(err, `put a file system on a volume of it, mount that with /etc/fstab and name the directory: "data": "/srv/data"
docs/hosts.md says how, step by step`)
}
