package lab

import (
	"fmt"
	"strings"
	"testing"
)

func TestABoundFileIsReadInsideTheContainer(t *testing.T) {
	l := newGuestLab(t)
	l.web()
	l.must("pct", "stop", "101")
	l.must("sh", "-c", `mkdir -p '/srv/a b'; echo one > '/srv/a b/one.conf'
echo 'lxc.mount.entry: /srv/a\040b/one.conf etc/one.conf none bind,ro,create=file 0 0' >> /etc/pve/lxc/101.conf`)
	l.must("pct", "start", "101")
	if got := l.must("pct", "exec", "101", "--", "cat", "/etc/one.conf"); got != "one\n" {
		t.Errorf("inside: %q, want %q", got, "one\n")
	}
	if o := l.run("pct", "exec", "101", "--", "touch", "/etc/one.conf"); !strings.Contains(o.Stderr, "Read-only file system") {
		t.Errorf("a write: %+v", o)
	}
}

func TestAStartNeedsTheSourceOfABind(t *testing.T) {
	l := newGuestLab(t)
	l.web()
	l.must("pct", "stop", "101")
	l.must("sh", "-c", `echo 'lxc.mount.entry: /none etc/one.conf none bind,create=file 0 0' >> /etc/pve/lxc/101.conf`)
	o := l.run("pct", "start", "101")
	if o.Exit == 0 || !strings.Contains(o.Stdout, `Failed to mount "/none"`) || o.Stderr != "startup for container '101' failed\n" {
		t.Errorf("got %+v", o)
	}
	l.must("sh", "-c", `sed=$(cat /etc/pve/lxc/101.conf); printf '%s\n' "${sed%bind*}bind,optional,create=file 0 0" > /etc/pve/lxc/101.conf`)
	l.must("pct", "start", "101")
}

func TestALeaseBelongsToTheHardwareAddress(t *testing.T) {
	l := newGuestLab(t)
	create := func(id int, hwaddr string) string {
		t.Helper()
		l.must("pct", "create", fmt.Sprint(id), "local:vztmpl/web_latest.tar", "--rootfs", "local-zfs:1", "--ostype", "unmanaged",
			"--net0", "name=eth0,bridge=vmbr0,ip=dhcp,hwaddr="+hwaddr)
		l.must("pct", "start", fmt.Sprint(id))
		return l.must("lxc-info", "-n", fmt.Sprint(id), "-iH")
	}
	first := create(101, "BC:24:11:00:00:01")
	l.must("pct", "destroy", "101", "--force", "1")
	if other := create(101, "BC:24:11:00:00:02"); other == first {
		t.Errorf("another hardware address got %q too", other)
	}
	if again := create(102, "BC:24:11:00:00:01"); again != first {
		t.Errorf("the hardware address has %q now, and had %q", again, first)
	}
}

func TestLeasesDoNotRunOut(t *testing.T) {
	l := newGuestLab(t)
	for i := range dhcpLast - dhcpFirst + 2 {
		if got := l.node.lease(101, fmt.Sprintf("bc:24:11:00:00:%02x", i)); got == "" {
			t.Fatalf("no address for the %d. hardware address", i+1)
		}
	}
}

func TestADatasetMountedTwiceIsBusy(t *testing.T) {
	l := newGuestLab(t)
	l.web()
	want := "cannot destroy 'rpool/data/subvol-101-disk-0': dataset is busy\n"
	if o := l.run("zfs", "destroy", "rpool/data/subvol-101-disk-0"); o.Stderr != want || o.Exit != 1 {
		t.Errorf("of a running container: %+v", o)
	}
	l.must("pct", "stop", "101")
	l.must("pct", "mount", "101")
	if o := l.run("zfs", "destroy", "rpool/data/subvol-101-disk-0"); o.Stderr != want || o.Exit != 1 {
		t.Errorf("of a mounted container: %+v", o)
	}
	l.must("umount", "/var/lib/lxc/101/rootfs")
	l.must("zfs", "destroy", "rpool/data/subvol-101-disk-0")
}

func TestDestroyForgetsTheHealthOfAnID(t *testing.T) {
	l := newGuestLab(t)
	l.web()
	for guest, h := range map[string]Health{"101": {State: Unhealthy}, "web": {State: Slow}} {
		if err := l.SetHealth(guest, h); err != nil {
			t.Fatal(err)
		}
	}
	l.must("pct", "destroy", "101", "--force", "1")
	if got := l.node.health(101, "other"); got != (Health{}) {
		t.Errorf("the next container with that id is %+v", got)
	}
	if got := l.node.health(102, "web"); got.State != Slow {
		t.Errorf("the next container with that host name is %+v", got)
	}
}

func TestHealthIsSetOverSSH(t *testing.T) {
	l := newGuestLab(t)
	if got := l.run(Health{State: Slow, Probes: 3}.Argv("web")...); got != (outcome{}) {
		t.Errorf("got %+v", got)
	}
	if got := l.node.health(1, "web"); got != (Health{State: Slow, Probes: 3}) {
		t.Errorf("health is %+v", got)
	}
	if got := l.run(HealthProgram, "web", "slow", "-1"); got.Exit != 1 || got.Stderr != "lab-health: -1 probes; wanted 0 or more\n" {
		t.Errorf("negative probes: %+v", got)
	}
}

func TestAStandInHasNoUnknownPrograms(t *testing.T) {
	l := newGuestLab(t)
	p := mustBuild(t, rowFor(standInRows("docker.io/library/nginx"), "1.29").spec("1.29"))
	archive := layoutTar(t, p, "", entriesOf(p)[:1])
	if err := l.node.writeFile("/var/lib/vz/template/cache/nginx.tar", archive, 0o644); err != nil {
		t.Fatal(err)
	}
	l.must("pct", "create", "101", "local:vztmpl/nginx.tar", "--rootfs", "local-zfs:1")
	l.must("pct", "start", "101")
	for _, name := range []string{"nginx", "/docker-entrypoint.sh", "awk", "psql"} {
		l.must("pct", "exec", "101", "--", name)
	}
	want := outcome{127, "", "lxc-attach: 101: ../src/lxc/attach.c: lxc_attach_run_command: 1845 No such file or directory - Failed to exec \"nosuch\"\n"}
	if got := l.run("pct", "exec", "101", "--", "nosuch"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSkopeoTellsThatThereIsNoStandIn(t *testing.T) {
	n := imageNode(t)
	const hint = "\nlab: there is no stand-in for ghcr.io/nosuch/thing:1; real images: tg lab start --pull\n"
	if got := runOn(t, n, "", "skopeo", "inspect", "--raw", "docker://ghcr.io/nosuch/thing:1"); !strings.HasSuffix(got.Stderr, hint) {
		t.Errorf("stderr is %q, want it to end with %q", got.Stderr, hint)
	}
	if got := runOn(t, n, "", "skopeo", "inspect", "docker://docker.io/library/nginx:nosuch"); strings.Contains(got.Stderr, "lab:") {
		t.Errorf("of a known image: %q", got.Stderr)
	}
}
