package lab

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine/lab/lxc"
	"github.com/tengil/tengil/engine/pve"
)

// What a recipe may write into a container's config gets nothing of the machine
// that the lab runs on.
func TestRawLinesOfARealContainerStayOnTheNode(t *testing.T) {
	runner := lxc.NewRunner(filepath.Join(t.TempDir(), "lxc"), "test")
	d := &lxcDriver{node: &node{dir: t.TempDir()}, runner: runner}
	for _, line := range []string{
		"lxc.hook.pre-start: /bin/true", "lxc.net.0.script.up: /bin/true", "lxc.include: /etc/lxc/x.conf", "lxc.rootfs.path: dir:/",
		"lxc.idmap: u 0 0 65536", "lxc.cap.keep: sys_admin", "lxc.mount.fstab: /etc/fstab", "lxc.log.file: /tmp/x", "lxc.cgroup.devices.allow: a",
		"lxc.mount.entry: /dev/vda mnt ext4 rw 0 0", "lxc.mount.entry: .. mnt none bind,create=dir 0 0",
	} {
		key, value, _ := strings.Cut(line, ": ")
		c := lxc.Container{Name: "101"}
		if err := d.raw(&c, pve.KV{Key: key, Value: value}); err == nil {
			t.Errorf("%s was taken: %+v", line, c)
		}
	}
	for line, inside := range map[string]string{
		"/var/lib/lxc/101/passthrough/../../../../etc mnt none bind 0 0": runner.DeviceDir("101"),
		"/../../etc mnt none bind 0 0":                                   d.node.dir,
	} {
		c := lxc.Container{Name: "101"}
		if err := d.raw(&c, pve.KV{Key: mountEntry, Value: line}); err != nil {
			t.Fatal(err)
		}
		if !within(c.Mounts[0].Source, inside) {
			t.Errorf("%s mounts %s, which is not in %s", line, c.Mounts[0].Source, inside)
		}
	}
	c := lxc.Container{Name: "101"}
	for key, value := range map[string]string{"lxc.prlimit.nofile": "65536", "lxc.init.cwd": "/data", mountEntry: "shm dev/shm tmpfs rw,create=dir 0 0"} {
		if err := d.raw(&c, pve.KV{Key: key, Value: value}); err != nil {
			t.Errorf("%s is refused: %v", key, err)
		}
	}
}
