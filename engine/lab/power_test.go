package lab

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// connect connects to a lab as a client.
func (l *guestLab) connect() *ssh.Client {
	l.t.Helper()
	c, err := l.Endpoint().dial()
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	return c
}

func TestAPowerCutLeavesWhatIsOnDisk(t *testing.T) {
	l := newGuestLab(t)
	l.web()
	l.must("pct", "set", "101", "--onboot", "1")
	l.must("pct", "create", "102", "local:vztmpl/web_latest.tar", "--rootfs", "local-zfs:1", "--ostype", "unmanaged")
	l.must("pct", "start", "102")
	l.must("systemd-run", "--quiet", "--unit=long", "--", "sleep", "1000")
	l.must("sh", "-c", "mkdir -p /run/tengil/app; echo > /run/tengil/app/mark; echo > /tmp/t; echo kept > /root/kept")
	l.must("zfs", "create", "tank/d")
	l.must("zfs", "unmount", "tank/d")
	c := l.connect()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("flock /run/lock/held sleep 1000"); err != nil {
		t.Fatal(err)
	}
	for l.run("flock", "-n", "/run/lock/held", "true").Exit == 0 {
		if t.Context().Err() != nil {
			t.Fatal("the session does not take its lock")
		}
	}
	if err := l.PowerCut(); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err == nil {
		t.Error("the session went on")
	}
	for _, tt := range []struct{ what, command, want string }{
		{"a container with onboot", "pct status 101", "status: running\n"},
		{"one without", "pct status 102", "status: stopped\n"},
		{"units", "systemctl list-units --all --plain --no-legend --full long.service", ""},
		{"/run", "ls /run/tengil 2>&1", "ls: cannot access '/run/tengil': No such file or directory\n"},
		{"/tmp", "ls -A /tmp", ""},
		{"the directory of locks", "stat -c %a /run/lock", "1777\n"},
		{"a lock", "flock -n /run/lock/held echo free", "free\n"},
		{"a file", "cat /root/kept", "kept\n"},
		{"a dataset", "zfs get -Hp -o value mounted tank/d", "yes\n"},
	} {
		if got := l.run("sh", "-c", tt.command).Stdout; got != tt.want {
			t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
		}
	}
	if status, err := Shell(t.Context(), l.Endpoint(), "true", strings.NewReader(""), discard{}, discard{}); status != 0 || err != nil {
		t.Errorf("a new session: status %d, %v", status, err)
	}
}

func TestAPowerCutInTheMiddleOfACreate(t *testing.T) {
	l := newGuestLab(t)
	l.Fault(Fault{Prefix: []string{"pct", "create"}, When: During, Do: Hang})
	created := make(chan outcome, 1)
	go func() {
		created <- l.run("pct", "create", "101", "local:vztmpl/web_latest.tar", "--rootfs", "local-zfs:1", "--ostype", "unmanaged")
	}()
	deadline := time.Now().Add(10 * time.Second)
	for l.Pending() > 0 || !l.node.bound(lxcRoot(101)) {
		if time.Now().After(deadline) {
			t.Fatal("the create does not get to its middle")
		}
	}
	if err := l.PowerCut(); err != nil {
		t.Fatal(err)
	}
	if got := <-created; got.Exit == 0 || strings.Contains(got.Stdout+got.Stderr, "interrupt") {
		t.Errorf("the create ended with %+v, want it killed", got)
	}
	if got, want := l.must("cat", "/etc/pve/lxc/101.conf"), "lock: create\n"; got != want {
		t.Errorf("config is %q, want %q", got, want)
	}
	if l.node.bound(lxcRoot(101)) {
		t.Error("the root is still mounted")
	}
	l.must("zfs", "destroy", "rpool/data/subvol-101-disk-0")
}

func TestContainersStartInOrder(t *testing.T) {
	l := newGuestLab(t)
	for id, conf := range map[string]string{
		"101": "onboot: 1\n", "102": "onboot: 1\nstartup: order=2\n", "103": "startup: order=1\n", "104": "onboot: 1\nstartup: 1\n",
	} {
		if err := l.node.writeFile("/etc/pve/lxc/"+id+".conf", []byte(conf), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	got := l.node.onBoot()
	if len(got) != 3 || got[0] != 104 || got[1] != 102 || got[2] != 101 {
		t.Errorf("containers start in order %v, want 104 102 101", got)
	}
}
