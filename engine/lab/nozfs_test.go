package lab

import (
	"strings"
	"testing"
)

// Nodes without ZFS, and where they keep the root of container 101.
var disks = []struct{ storage, rootdir, volume, path string }{
	{"dir", "local", "local:101/vm-101-disk-0.raw", "/var/lib/vz/images/101/vm-101-disk-0.raw"},
	{"lvmthin", "local-lvm", "local-lvm:vm-101-disk-0", "/dev/pve/vm-101-disk-0"},
}

func TestANodeWithoutZFSHasNoPools(t *testing.T) {
	l := openGuestLab(t, Options{Storage: "dir"})
	for _, c := range []struct {
		argv []string
		want outcome
	}{
		{[]string{"zpool", "list"}, outcome{0, "no pools available\n", ""}},
		{[]string{"zpool", "list", "-Hp", "-o", "name,size"}, outcome{}},
		{[]string{"zpool", "status", "-x"}, outcome{0, "no pools available\n", ""}},
		{[]string{"zfs", "list", "-Hp", "-o", "name,tengil:app"}, outcome{0, "", "no datasets available\n"}},
		{[]string{"zfs", "get", "-Hp", "used", "tank"}, outcome{1, "", "cannot open 'tank': dataset does not exist\n"}},
	} {
		if got := l.run(c.argv...); got != c.want {
			t.Errorf("%q: got %+v, want %+v", c.argv, got, c.want)
		}
	}
}

func TestRootsInImagesAndLogicalVolumes(t *testing.T) {
	for _, d := range disks {
		t.Run(d.storage, func(t *testing.T) {
			t.Parallel()
			l := openGuestLab(t, Options{Storage: d.storage})
			l.must("pct", "create", "101", "local:vztmpl/web_latest.tar", "--rootfs", d.rootdir+":1", "--ostype", "unmanaged")
			if got := l.must("pct", "config", "101"); !strings.Contains(got, "\nrootfs: "+d.volume+",size=1G\n") {
				t.Errorf("config:\n%s", got)
			}
			if got := l.must("pvesm", "path", d.volume); got != d.path+"\n" {
				t.Errorf("path %q", got)
			}
			if got := l.must("pvesm", "list", d.rootdir, "--vmid", "101"); !strings.Contains(got, d.volume+" raw     rootdir   1073741824 101\n") {
				t.Errorf("listed:\n%s", got)
			}
			if o := l.run("ls", "/var/lib/lxc/101/rootfs/etc"); o.Exit == 0 {
				t.Errorf("the root shows although nothing has mounted it: %q", o.Stdout)
			}
			l.must("pct", "mount", "101")
			l.must("ls", "/var/lib/lxc/101/rootfs/etc")
			if o := l.run("pct", "set", "101", "--cores", "2"); o.Exit == 0 || !strings.Contains(o.Stderr, "CT is locked (mounted)") {
				t.Errorf("set of a mounted container: %+v", o)
			}
			l.must("pct", "unmount", "101")
			l.must("pct", "destroy", "101")
			if o := l.run("stat", "-c", "%F", d.path); o.Exit == 0 {
				t.Errorf("the volume is still there: %s", o.Stdout)
			}
		})
	}
}

func TestAMountThatFailsLeavesItsLock(t *testing.T) {
	l := openGuestLab(t, Options{Storage: "dir"})
	l.must("pct", "create", "101", "local:vztmpl/web_latest.tar", "--rootfs", "local:1", "--ostype", "unmanaged")
	l.must("pct", "set", "101", "--mp0", "/srv/gone,mp=/x")
	if o := l.run("pct", "mount", "101"); o.Exit == 0 {
		t.Fatal("mounted what is not there")
	}
	if got := l.must("pct", "config", "101"); !strings.Contains(got, "\nlock: mounted\n") {
		t.Errorf("config:\n%s", got)
	}
	l.must("pct", "unmount", "101") // what is not mounted is passed over
	if got := l.must("pct", "config", "101"); strings.Contains(got, "lock:") {
		t.Errorf("config:\n%s", got)
	}
}

func TestALabKeepsItsStorage(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(t.Context(), Options{Dir: dir, Storage: "lvmthin"})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Endpoint().Storage; got != "lvmthin" {
		t.Errorf("endpoint says %q", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: dir, Storage: "dir"}); err == nil || !strings.Contains(err.Error(), `storage "lvmthin", not "dir"`) {
		t.Errorf("error is %v", err)
	}
	if _, err := Open(t.Context(), Options{Dir: t.TempDir(), Storage: "ceph"}); err == nil || !strings.Contains(err.Error(), "there are zfs, dir and lvmthin") {
		t.Errorf("error is %v", err)
	}
}

func TestRemovalStaysOnOneFileSystemIfAsked(t *testing.T) {
	l := openGuestLab(t, Options{})
	l.must("mkdir", "-p", "/srv/x/own")
	l.must("zfs", "create", "-o", "mountpoint=/srv/x/other", "tank/other")
	l.must("touch", "/srv/x/own/f", "/srv/x/other/f")
	want := outcome{1, "", "rm: skipping '/srv/x/other', since it's on a different device\n"}
	if got := l.run("rm", "-r", "--one-file-system", "/srv/x"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	l.must("stat", "-c", "%n", "/srv/x/other/f")
	if l.run("stat", "-c", "%n", "/srv/x/own").Exit == 0 {
		t.Error("what is on the file system stayed")
	}
	if got := l.must("stat", "-c", "%m", "/srv/x/other/f", "/srv/x", "/run/lock"); got != "/srv/x/other\n/\n/run\n" {
		t.Errorf("mounted at %q", got)
	}
	if got := l.must("cat", "/proc/mounts"); !strings.Contains(got, "\ntank/other /srv/x/other zfs rw,") {
		t.Errorf("mounts:\n%s", got)
	}
}
