package pve

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
)

func TestDirectoryForDataIsOfferedAsAPool(t *testing.T) {
	f := &engine.Facts{Node: "pve1", Pools: []engine.Pool{{Name: "rpool"}, {Name: "tank", Free: 9}}}
	def, err := choose(f, engine.Choices{Data: "/srv/data"})
	if err != nil {
		t.Fatal(err)
	}
	if def.Pool != "data" || len(f.Pools) != 3 || f.Pools[2] != (engine.Pool{Name: "data", Dir: "/srv/data"}) {
		t.Errorf("default %q of %+v", def.Pool, f.Pools)
	}
	f.Pools = f.Pools[:2]
	if def, err := choose(f, engine.Choices{Data: "/srv/data", Pool: "tank"}); err != nil || def.Pool != "tank" {
		t.Errorf("the owner's pool: %q, %v", def.Pool, err)
	}
}

func TestDataThatCannotBeKeptIsRefused(t *testing.T) {
	for _, c := range []struct{ data, want, hint string }{
		{"local", `data is "local", a storage of pve1; Proxmox deletes`, `"data": "/var/lib/vz/tengil"`},
		{"local-lvm", `data is "local-lvm", a storage of pve1`, "put a file system on a volume of it"},
		{"nowhere", "wanted the absolute path of a directory", "/srv/data"},
		{"/", "/ is the node's system", "/srv/data"},
		{"/etc/pve/data", "belongs to the node's system", "/srv/data"},
		{"/run", "belongs to the node's system", "/srv/data"},
		{"/srv/data/", `wanted "/srv/data"`, "/srv/data"},
		{"/srv/a,b", "Proxmox cannot store", "/srv/data"},
		{"/srv/../etc", `holds ".."`, "/srv/data"},
	} {
		f := &engine.Facts{Node: "pve1", Storages: []engine.Storage{{Name: "local", Type: "dir", Path: "/var/lib/vz"}, {Name: "local-lvm", Type: "lvmthin"}}}
		_, err := choose(f, engine.Choices{Data: c.data})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(engine.HintOf(err), c.hint) {
			t.Errorf("%q: error is %v, hint %q", c.data, err, engine.HintOf(err))
		}
	}
	f := &engine.Facts{Node: "pve1", Pools: []engine.Pool{{Name: "data"}}}
	if _, err := choose(f, engine.Choices{Data: "/srv/data"}); err == nil || !strings.Contains(err.Error(), `has a ZFS pool "data"`) {
		t.Errorf("beside a pool of that name: %v", err)
	}
}

func TestStorageMounts(t *testing.T) {
	cfg := "dir: local\n\tpath /var/lib/vz\n\ndir: big\n\tpath /mnt/big\n\tis_mountpoint 1\ndir: sub\n\tis_mountpoint /mnt/sub\n\tpath /mnt/sub/x\n\n" +
		"dir: no\n\tpath /mnt/no\n\tis_mountpoint 0\nzfspool: z\n\tpool tank\ndir: last\n\tis_mountpoint yes\n\tpath /mnt/last"
	if diff := cmp.Diff([]string{"/mnt/big", "/mnt/sub", "/mnt/last"}, StorageMounts([]byte(cfg))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
