package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tengil/tengil/engine/lab/labtest"
)

// A guestLab is a fresh lab with the templates of the transcripts.
type guestLab struct {
	*Lab
	t *testing.T
}

func newGuestLab(t *testing.T) *guestLab { return openGuestLab(t, Options{}) }

func openGuestLab(t *testing.T, o Options) *guestLab {
	t.Helper()
	o.Dir = labtest.TempDir(t)
	l, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	placeImages(t, l.node, "")
	return &guestLab{l, t}
}

// run runs a program and returns its outcome.
func (l *guestLab) run(argv ...string) outcome {
	l.t.Helper()
	var out, errs bytes.Buffer
	exit := l.Exec(l.t.Context(), argv, nil, &out, &errs)
	return outcome{exit, out.String(), errs.String()}
}

// must runs a program that has to succeed.
func (l *guestLab) must(argv ...string) string {
	l.t.Helper()
	o := l.run(argv...)
	if o.Exit != 0 {
		l.t.Fatalf("%q: exit %d, stderr %q, stdout %q", argv, o.Exit, o.Stderr, o.Stdout)
	}
	return o.Stdout
}

// web makes and starts a web server at 10.10.10.21.
func (l *guestLab) web() {
	l.t.Helper()
	l.must("pct", "create", "101", "local:vztmpl/web_latest.tar", "--rootfs", "local-zfs:1", "--hostname", "web",
		"--ostype", "unmanaged", "--net0", "name=eth0,bridge=vmbr0,ip=10.10.10.21/24")
	l.must("pct", "start", "101")
}

// get asks the web server for its page through the node.
func (l *guestLab) get(addr string) (status int, body string, err error) {
	conn, err := l.node.dialGuest(l.t.Context(), addr)
	if err != nil {
		return 0, "", err
	}
	defer conn.Close()
	client := http.Client{Transport: &http.Transport{
		DialContext: dialed(conn), DisableKeepAlives: true,
	}}
	resp, err := client.Get("http://" + addr + "/")
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

func TestHealthDecidesWhatProbesFind(t *testing.T) {
	tests := []struct {
		name   string
		health Health
		want   []string // of looks one after the other
	}{
		{"nothing said is healthy", Health{}, []string{"200 hello v1\n", "200 hello v1\n"}},
		{"unhealthy answers 503", Health{State: Unhealthy}, []string{"503 Service Unavailable\n"}},
		{"slow refuses at first", Health{State: Slow, Probes: 2}, []string{"refused", "refused", "200 hello v1\n"}},
		{"dying has no address", Health{State: Dying}, []string{"no route"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newGuestLab(t)
			if err := l.SetHealth("web", tt.health); err != nil {
				t.Fatal(err)
			}
			l.web()
			for i, want := range tt.want {
				status, body, err := l.get("10.10.10.21:80")
				got := fmt.Sprint(status, " ", body)
				switch {
				case errors.Is(err, syscall.ECONNREFUSED):
					got = "refused"
				case errors.Is(err, syscall.EHOSTUNREACH):
					got = "no route"
				case err != nil:
					got = err.Error()
				}
				if got != want {
					t.Errorf("look %d: got %q, want %q", i+1, got, want)
				}
			}
		})
	}
}

func TestNothingListensOnOtherPorts(t *testing.T) {
	l := newGuestLab(t)
	l.web()
	if _, err := l.node.dialGuest(t.Context(), "10.10.10.21:81"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("port 81: got %v, want connection refused", err)
	}
	l.must("pct", "stop", "101")
	if _, err := l.node.dialGuest(t.Context(), "10.10.10.21:80"); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("stopped: got %v, want no route to host", err)
	}
}

func TestSetHealthRefusesUnknownStates(t *testing.T) {
	l := newGuestLab(t)
	if err := l.SetHealth("web", Health{State: "poorly"}); err == nil {
		t.Error("got no error")
	}
}

func TestDyingEndsARunningContainer(t *testing.T) {
	l := newGuestLab(t)
	l.web()
	if err := l.SetHealth("101", Health{State: Dying}); err != nil {
		t.Fatal(err)
	}
	if got, want := l.must("pct", "status", "101"), "status: stopped\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProbeCommandsFollowHealth(t *testing.T) {
	commands := []struct {
		argv      string
		well, ill outcome
	}{
		{"pg_isready -U postgres", outcome{0, "/var/run/postgresql:5432 - accepting connections\n", ""}, outcome{1, "/var/run/postgresql:5432 - rejecting connections\n", ""}},
		{"valkey-cli ping", outcome{0, "PONG\n", ""}, outcome{1, "", "Could not connect to Valkey at 127.0.0.1:6379: Connection refused\n"}},
		{"immich-healthcheck", outcome{0, "", ""}, outcome{1, "", ""}},
		{"wget -q -O - http://localhost/", outcome{0, "ok\n", ""}, outcome{1, "", "wget: server returned error: HTTP/1.1 503 Service Unavailable\n"}},
		{"curl -fsS http://127.0.0.1:5432/", outcome{0, "ok\n", ""}, outcome{22, "", "curl: (22) The requested URL returned error: 503\n"}},
	}
	l := newGuestLab(t)
	p := mustBuild(t, rowFor(standInRows("docker.io/library/postgres"), "17").spec("17"))
	archive := layoutTar(t, p, "", entriesOf(p)[:1])
	if err := l.node.writeFile("/var/lib/vz/template/cache/postgres.tar", archive, 0o644); err != nil {
		t.Fatal(err)
	}
	l.must("pct", "create", "101", "local:vztmpl/postgres.tar", "--rootfs", "local-zfs:1", "--hostname", "db")
	l.must("pct", "start", "101")
	for _, c := range commands {
		for _, h := range []HealthState{Healthy, Unhealthy} {
			if err := l.SetHealth("db", Health{State: h}); err != nil {
				t.Fatal(err)
			}
			want := c.well
			if h == Unhealthy {
				want = c.ill
			}
			got := l.run(append([]string{"pct", "exec", "101", "--keep-env", "0", "--"}, strings.Fields(c.argv)...)...)
			if got != want {
				t.Errorf("%s while %s: got %+v, want %+v", c.argv, h, got, want)
			}
		}
	}
}

func TestTwoCreatesOfOneID(t *testing.T) {
	l := newGuestLab(t)
	var wg sync.WaitGroup
	outcomes := make([]outcome, 2)
	for i := range outcomes {
		wg.Go(func() {
			outcomes[i] = l.run("pct", "create", "110", "local:vztmpl/web_latest.tar", "--rootfs", "local-zfs:1")
		})
	}
	wg.Wait()
	won, lost := outcomes[0], outcomes[1]
	if won.Exit != 0 {
		won, lost = lost, won
	}
	if won.Exit != 0 || lost.Exit == 0 || !strings.Contains(lost.Stderr, "CT 110 already exists on node") {
		t.Errorf("got %+v and %+v; want one to win", won, lost)
	}
	if got := l.must("zfs", "list", "-H", "-o", "name", "-r", "rpool/data"); got != "rpool/data\nrpool/data/subvol-110-disk-0\n" {
		t.Errorf("datasets are %q", got)
	}
}

func TestSetWaitsForTheLock(t *testing.T) {
	l := newGuestLab(t)
	l.web()
	release, err := l.node.lock(t.Context(), "/run/lock/lxc/pve-config-101.lock", 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	said := newSignal("trying to acquire lock...\n")
	done := make(chan int)
	go func() {
		done <- l.Exec(ctx, []string{"pct", "set", "101", "--memory", "300"}, nil, nil, said)
	}()
	select {
	case <-said.seen:
	case <-ctx.Done():
		t.Fatal("pct set said nothing")
	}
	release()
	if exit := <-done; exit != 0 {
		t.Errorf("exit %d, want 0", exit)
	}
	if got, want := said.String(), "trying to acquire lock...\n OK\n"; got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}
}

func TestCreatesDrawNewHardwareAddresses(t *testing.T) {
	l := newGuestLab(t)
	seen := map[string]bool{}
	for range 3 {
		l.must("pct", "create", "101", "local:vztmpl/web_latest.tar", "--rootfs", "local-zfs:1", "--net0", "name=eth0,bridge=vmbr0,ip=dhcp")
		conf, err := l.node.guestConfig(101)
		if err != nil {
			t.Fatal(err)
		}
		if nic := conf.Get("net0"); seen[nic] {
			t.Errorf("net0 is again %q", nic)
		} else {
			seen[nic] = true
		}
		l.must("pct", "destroy", "101")
	}
}

func TestVolumesOnADirectoryStorage(t *testing.T) {
	l := newGuestLab(t)
	cfg, err := l.node.readFile("/etc/pve/storage.cfg")
	if err != nil {
		t.Fatal(err)
	}
	cfg = append(cfg, "dir: ssd\n\tpath /mnt/ssd\n\tcontent rootdir\n"...)
	if err := l.node.writeFile("/etc/pve/storage.cfg", cfg, 0o640); err != nil {
		t.Fatal(err)
	}
	l.must("pct", "create", "101", "local:vztmpl/web_latest.tar", "--rootfs", "ssd:2")
	conf, err := l.node.guestConfig(101)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := conf.Get("rootfs"), "ssd:101/vm-101-disk-0.raw,size=2G"; got != want {
		t.Errorf("rootfs is %q, want %q", got, want)
	}
	l.must("pct", "start", "101")
	l.must("pct", "stop", "101")
	l.must("pct", "destroy", "101")
	if list, err := l.node.readDir("/mnt/ssd/images/101"); err != nil || len(list) > 0 {
		t.Errorf("destroy left %v (%v)", list, err)
	}
}
