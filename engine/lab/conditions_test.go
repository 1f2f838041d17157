package lab

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine/lab/labtest"
	"github.com/tengil/tengil/engine/pve"
)

func (l *guestLab) condition(c Condition) {
	l.t.Helper()
	if err := l.SetCondition(c); err != nil {
		l.t.Fatal(err)
	}
}

const webTemplate = "local:vztmpl/web_latest.tar"

func TestConditions(t *testing.T) {
	t.Parallel()
	create := []string{"pct", "create", "101", webTemplate, "--rootfs", "local-zfs:1", "--ostype", "unmanaged"}
	tests := []struct {
		name      string
		before    string // a script
		condition Condition
		run       []string
		exit      int
		stderr    string // what it holds
		means     error  // what tengil makes of it
	}{
		{"no room for a dataset", "", Condition{Kind: DiskFull, On: "tank"}, []string{"zfs", "create", "tank/a"}, 1, "cannot create 'tank/a': out of space\n", pve.ErrNoSpace},
		{"room in another pool", "", Condition{Kind: DiskFull, On: "tank"}, []string{"zfs", "create", "rpool/a"}, 0, "", nil},
		{"no room for a root", "", Condition{Kind: DiskFull, On: "local-zfs"}, create, 255, "cannot create 'rpool/data/subvol-101-disk-0': out of space\n", pve.ErrNoSpace},
		{"no room for a file", "", Condition{Kind: DiskFull, On: "/srv", Free: 3}, []string{"sh", "-c", "printf 123 > /srv/a && cp /srv/a /srv/b"}, 1, "'/srv/b': No space left on device\n", pve.ErrNoSpace},
		{"no room for a directory", "", Condition{Kind: DiskFull, On: "/srv"}, []string{"mkdir", "/srv/d"}, 1, "mkdir: cannot create directory ‘/srv/d’: No space left on device\n", pve.ErrNoSpace},
		{"no room for a file of a dataset", "zfs create tank/a", Condition{Kind: DiskFull, On: "tank/a"}, []string{"dd", "if=/etc/hosts", "of=/tank/a/f"}, 1, "dd: error writing '/tank/a/f': No space left on device\n", pve.ErrNoSpace},
		{"room beside a dataset", "zfs create tank/a", Condition{Kind: DiskFull, On: "tank/a"}, []string{"cp", "/etc/hosts", "/tank/f"}, 0, "", nil},
		{"room on what is mounted below a directory", "zfs create -o mountpoint=/srv/a tank/a", Condition{Kind: DiskFull, On: "/srv"}, []string{"cp", "/etc/hosts", "/srv/a/f"}, 0, "", nil},
		{"no room for an image", "", Condition{Kind: DiskFull, On: "local", Free: 100}, []string{"skopeo", "copy", "-q", "docker://docker.io/library/alpine:3.22", "oci-archive:/var/lib/vz/template/cache/a.tar"}, 1, "no space left on device", pve.ErrNoSpace},
		{"no room for the parts of an image", "", Condition{Kind: DiskFull, On: "/var/tmp", Free: 100}, []string{"skopeo", "copy", "-q", "docker://docker.io/library/alpine:3.22", "oci-archive:/root/a.tar"}, 1, "no space left on device", pve.ErrNoSpace},
		{"a read-only pool", "", Condition{Kind: ReadOnly, On: "tank"}, []string{"zfs", "create", "tank/a"}, 1, "cannot create 'tank/a': pool is read-only\n", nil},
		{"a property of it", "zfs create tank/a", Condition{Kind: ReadOnly, On: "tank"}, []string{"zfs", "set", "x:y=z", "tank/a"}, 1, "cannot set property for 'tank/a': pool is read-only\n", nil},
		{"the end of a dataset of it", "zfs create tank/a", Condition{Kind: ReadOnly, On: "tank"}, []string{"zfs", "destroy", "tank/a"}, 1, "cannot destroy 'tank/a': pool is read-only\n", nil},
		{"a root on a read-only storage", "", Condition{Kind: ReadOnly, On: "local-zfs"}, create, 255, "pool is read-only\n", nil},
		{"a file in a read-only directory", "", Condition{Kind: ReadOnly, On: "/srv"}, []string{"sh", "-c", "echo > /srv/f"}, 1, "sh: 1: /srv/f: Read-only file system\n", nil},
		{"a removal there", "touch /srv/f", Condition{Kind: ReadOnly, On: "/srv"}, []string{"rm", "/srv/f"}, 1, "rm: cannot remove '/srv/f': Read-only file system\n", nil},
		{"a move there", "touch /srv/f", Condition{Kind: ReadOnly, On: "/srv"}, []string{"mv", "/root/x", "/srv/f"}, 1, "Read-only file system\n", nil},
		{"a directory that is there already", "mkdir /srv/d", Condition{Kind: ReadOnly, On: "/srv"}, []string{"mkdir", "-p", "/srv/d"}, 0, "", nil},
		{"no quorum to make a container", "", Condition{Kind: NoQuorum}, create, 255, "cluster not ready - no quorum?\n", pve.ErrNoQuorum},
		{"no quorum to write a file", "", Condition{Kind: NoQuorum}, []string{"sh", "-c", "echo > /etc/pve/f"}, 1, "sh: 1: /etc/pve/f: Permission denied\n", nil},
		{"no quorum needed elsewhere", "", Condition{Kind: NoQuorum}, []string{"touch", "/etc/f"}, 0, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newGuestLab(t)
			l.must("sh", "-c", tt.before+"\ntouch /root/x")
			l.condition(tt.condition)
			got := l.run(tt.run...)
			if got.Exit != tt.exit || !strings.HasSuffix(got.Stderr, tt.stderr) && !strings.Contains(got.Stderr, tt.stderr) {
				t.Errorf("got %+v, want exit %d and %q", got, tt.exit, tt.stderr)
			}
			if means := pve.Classify(got.Stderr, got.Stdout, got.Exit); tt.means != nil && !errors.Is(means, tt.means) {
				t.Errorf("tengil takes it for %v, want %v", means, tt.means)
			}
			if n, err := l.ClearConditions(tt.condition.Kind, tt.condition.On); n != 1 || err != nil {
				t.Errorf("cleared %d, %v", n, err)
			}
			if got := l.run(tt.run...); tt.exit != 0 && got.Exit != 0 {
				t.Errorf("after it was cleared: %+v", got)
			}
		})
	}
}

func TestACreationWithoutRoomLeavesNothing(t *testing.T) {
	t.Parallel()
	l := newGuestLab(t)
	l.condition(Condition{Kind: DiskFull, On: "local-zfs", Free: 3})
	before := l.must("zfs", "list", "-r", "rpool")
	got := l.run("pct", "create", "101", webTemplate, "--rootfs", "local-zfs:1", "--ostype", "unmanaged")
	if got.Exit == 0 || !strings.Contains(got.Stderr, "unable to create CT 101") {
		t.Errorf("got %+v", got)
	}
	if after := l.must("zfs", "list", "-r", "rpool"); after != before {
		t.Errorf("datasets are now\n%s", after)
	}
	if o := l.run("pct", "config", "101"); o.Exit == 0 {
		t.Errorf("the container is there: %+v", o)
	}
}

func TestWithoutQuorum(t *testing.T) {
	t.Parallel()
	l := newGuestLab(t)
	l.web()
	l.condition(Condition{Kind: NoQuorum})
	for _, tt := range []struct {
		argv string
		want string // standard error, "" if it works
	}{
		{"pct set 101 --memory 64", "cluster not ready - no quorum?\n"},
		{"pct config 101", ""},
		{"pct status 101", ""},
		{"pct list", ""},
		{"rm /etc/pve/lxc/101.conf", "rm: cannot remove '/etc/pve/lxc/101.conf': Permission denied\n"},
		{"pct stop 101", ""},
		{"pct start 101", "cluster not ready - no quorum?\n"},
	} {
		got := l.run(strings.Fields(tt.argv)...)
		if got.Stderr != tt.want || (got.Exit == 0) != (tt.want == "") {
			t.Errorf("%s: got %+v, want %q", tt.argv, got, tt.want)
		}
	}
	if got := l.run("pct", "destroy", "101"); !strings.Contains(got.Stderr, "Permission denied") || l.run("pct", "config", "101").Exit != 0 {
		t.Errorf("destroy: %+v", got)
	}
}

func TestRegistriesInTrouble(t *testing.T) {
	t.Parallel()
	const image = "docker.io/library/alpine"
	tests := []struct {
		name      string
		condition Condition
		want      string // in what skopeo says, "" if it works
		means     error
	}{
		{"too many requests", Condition{On: "docker.io", Trouble: Busy}, "reading manifest 3.22 in docker.io/library/alpine: toomanyrequests: You have reached", pve.ErrRegistry},
		{"of another registry", Condition{On: "ghcr.io", Trouble: Busy}, "", nil},
		{"of the repository", Condition{On: image, Trouble: Busy}, "toomanyrequests", pve.ErrRegistry},
		{"of another repository", Condition{On: "docker.io/library/nginx", Trouble: Busy}, "", nil},
		{"an error", Condition{On: "docker.io", Trouble: ServerError}, "pinging container registry registry-1.docker.io: received unexpected HTTP status: 500 Internal Server Error", pve.ErrRegistry},
		{"an error of the repository", Condition{On: image, Trouble: Unavailable}, "received unexpected HTTP status: 503 Service Unavailable", pve.ErrRegistry},
		{"slow", Condition{On: "docker.io", Trouble: SlowBlobs, Rate: 1 << 30}, "", nil},
		{"cut off", Condition{On: "docker.io", Trouble: CutBlobs}, "connection reset by peer", pve.ErrRegistry},
		{"short", Condition{On: "docker.io", Trouble: ShortBlobs}, "unexpected EOF", pve.ErrRegistry},
		{"wrong blobs", Condition{On: "docker.io", Trouble: WrongBlobs}, "Digest did not match, expected sha256:", nil},
		{"no blobs", Condition{On: "docker.io", Trouble: NoBlobs}, "blob unknown to registry", nil},
		{"half a manifest", Condition{On: "docker.io", Trouble: BadManifests}, "unexpected end of JSON input", nil},
		{"a page in place of it", Condition{On: "docker.io", Trouble: WrongManifest}, "invalid character '<' looking for beginning of value", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newGuestLab(t)
			tt.condition.Kind = BadRegistry
			l.condition(tt.condition)
			pull := []string{"skopeo", "copy", "-q", "docker://" + image + ":3.22", "oci-archive:/root/a.tar"}
			got := l.run(pull...)
			if (got.Exit == 0) != (tt.want == "") || !strings.Contains(got.Stderr, tt.want) {
				t.Errorf("got %+v, want %q", got, tt.want)
			}
			if means := pve.Classify(got.Stderr, got.Stdout, got.Exit); tt.means != nil && !errors.Is(means, tt.means) {
				t.Errorf("tengil takes it for %v, want %v", means, tt.means)
			}
			if left := l.must("ls", "-A", "/var/tmp"); left != "" {
				t.Errorf("left behind: %s", left)
			}
			if _, err := l.ClearConditions(BadRegistry, ""); err != nil {
				t.Fatal(err)
			}
			l.must(pull...)
		})
	}
}

func TestARegistryTellsWhenToComeAgain(t *testing.T) {
	t.Parallel()
	l := newGuestLab(t)
	l.condition(Condition{Kind: BadRegistry, On: "ghcr.io", Trouble: Busy, RetryAfter: 1500 * 1e6})
	client := http.Client{Transport: l.Registries()}
	resp, err := client.Get("https://ghcr.io/v2/immich-app/postgres/manifests/x")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "2" || !strings.Contains(string(body), "TOOMANYREQUESTS") {
		t.Errorf("got %d, Retry-After %q, %s, %v", resp.StatusCode, resp.Header.Get("Retry-After"), body, err)
	}
}

func TestConditionsOutliveTheLab(t *testing.T) {
	t.Parallel()
	dir := labtest.TempDir(t)
	l, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	want := []Condition{
		{Kind: DiskFull, On: "tank", Free: 7, Area: area{Dataset: "tank"}},
		{Kind: BadRegistry, On: "ghcr.io", Trouble: Busy},
	}
	for _, c := range []Condition{{Kind: DiskFull, On: "tank", Free: 1}, {Kind: DiskFull, On: "tank", Free: 7}, want[1]} {
		if err := l.SetCondition(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, l.Conditions()); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	if n, err := l.ClearConditions("", ""); n != 2 || err != nil {
		t.Errorf("cleared %d, %v", n, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestBadConditionsAreRefused(t *testing.T) {
	t.Parallel()
	l := newGuestLab(t)
	tests := []struct {
		c    Condition
		want string
	}{
		{Condition{Kind: "broken"}, `condition is "broken"; wanted disk-full, read-only, no-quorum, registry`},
		{Condition{Kind: DiskFull}, "condition disk-full needs a name"},
		{Condition{Kind: DiskFull, On: "tnak"}, `no pool, dataset or storage "tnak" on the node; there are local, local-zfs, rpool, tank`},
		{Condition{Kind: ReadOnly, On: "/nowhere"}, `no directory "/nowhere" on the node`},
		{Condition{Kind: NoQuorum, On: "tank"}, `no-quorum is of the node, not of "tank"`},
		{Condition{Kind: BadRegistry, On: "ghcr.io", Trouble: "418"}, `trouble is "418"; wanted 429, 500, 503`},
		{Condition{Kind: BadRegistry, On: "ghcr.io", Trouble: SlowBlobs}, "slow needs a rate"},
		{Condition{Kind: BadRegistry, On: "https://ghcr.io", Trouble: Busy}, "is no registry"},
	}
	for _, tt := range tests {
		if err := l.SetCondition(tt.c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want %s", tt.c, err, tt.want)
		}
	}
	if all := l.Conditions(); len(all) != 0 {
		t.Errorf("the node is in %v", all)
	}
}

func TestFaultProgram(t *testing.T) {
	t.Parallel()
	l := newGuestLab(t)
	add, err := Fault{Prefix: []string{"true"}, Exit: 9}.AddArgv()
	if err != nil {
		t.Fatal(err)
	}
	set, err := Condition{Kind: NoQuorum}.SetArgv()
	if err != nil {
		t.Fatal(err)
	}
	l.must(add...)
	l.must(set...)
	if got := l.must(ListFaultsArgv...); !strings.Contains(got, `"prefix":["true"]`) || !strings.Contains(got, "no-quorum") {
		t.Errorf("list: %s", got)
	}
	if got := l.run("true"); got.Exit != 9 {
		t.Errorf("true: %+v, want exit 9", got)
	}
	l.must(append(ClearFaultsArgv, "no-quorum")...)
	if got := l.run(append(ClearFaultsArgv, "no-quorum")...); got.Exit != 1 {
		t.Errorf("cleared twice: %+v", got)
	}
	l.must(set...)
	l.must(ClearFaultsArgv...)
	if got := l.must(ListFaultsArgv...); got != "{\"faults\":[],\"conditions\":[]}\n" {
		t.Errorf("list after clear: %s", got)
	}
	l.must("touch", "/run/gone")
	if _, err := l.ssh(FaultProgram + " reboot"); err == nil {
		t.Error("the session outlived a reboot")
	}
	l.reboots.Wait()
	if got := l.run("test", "-e", "/run/gone"); got.Exit != 1 {
		t.Errorf("/run after a reboot: %+v", got)
	}
}
