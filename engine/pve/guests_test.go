package pve

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Captured: pve-container 6.1.10, pve-manager 9.1.7, 2026-11-23.
const (
	guestList = `[{"cpu":0,"cpus":2,"disk":0,"maxmem":536870912,"name":"web2","netin":0,"status":"stopped","swap":0,"type":"lxc","uptime":0,"vmid":102},` +
		`{"cpu":0,"cpus":2,"mem":360448,"name":"web1","pid":1323,"pressurecpufull":"0.00","status":"running","tags":"a;b","type":"lxc","uptime":4,"vmid":101}]`
	guestStatus     = `{"cpu":0,"ha":{"managed":0},"mem":360448,"name":"web1","pid":1323,"status":"running","tags":"a;b","type":"lxc","uptime":4,"vmid":101}`
	guestInterfaces = `[{"hardware-address":"00:00:00:00:00:00","hwaddr":"00:00:00:00:00:00","inet":"127.0.0.1/8","inet6":"::1/128","ip-addresses":[{"ip-address":"127.0.0.1","ip-address-type":"inet","prefix":"8"},{"ip-address":"::1","ip-address-type":"inet6","prefix":"128"}],"name":"lo"},` +
		`{"hardware-address":"bc:24:11:5a:c9:96","hwaddr":"bc:24:11:5a:c9:96","inet":"10.10.10.21/24","inet6":"fe80::be24:11ff:fe5a:c996/64","ip-addresses":[{"ip-address":"10.10.10.21","ip-address-type":"inet","prefix":"24"},{"ip-address":"fe80::be24:11ff:fe5a:c996","ip-address-type":"inet6","prefix":"64"}],"name":"eth0"}]`
)

func TestParseGuestList(t *testing.T) {
	got, err := ParseGuestList([]byte(guestList))
	if err != nil {
		t.Fatal(err)
	}
	want := []Guest{
		{ID: 101, Name: "web1", Status: "running", Tags: []string{"a", "b"}, Uptime: 4, PID: 1323},
		{ID: 102, Name: "web2", Status: "stopped"},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !got[0].Running() || got[1].Running() {
		t.Error("Running does not follow the status")
	}
}

func TestGuestNumbersMayBeStrings(t *testing.T) {
	got, err := ParseGuestList([]byte(`[{"vmid":"7001","status":"stopped","template":"1","uptime":"12.5","pid":null,"lock":"backup"}]`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Guest{{ID: 7001, Status: "stopped", Template: true, Uptime: 12, Lock: "backup"}}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestGuestListRefusesWhatIsNone(t *testing.T) {
	for _, bad := range []string{"", "{}", `[{"vmid":"x"}]`, `[{"status":"running"}]`, `[{"vmid":-1}]`} {
		if got, err := ParseGuestList([]byte(bad)); err == nil {
			t.Errorf("%q is taken as %v", bad, got)
		}
	}
	if got, err := ParseGuestList([]byte("[]")); err != nil || len(got) != 0 {
		t.Errorf("an empty list is %v, %v", got, err)
	}
}

func TestReachable(t *testing.T) {
	for _, c := range []struct{ name, out, want string }{
		{"captured: two interfaces", "10.10.10.118\n10.10.10.23\n", "10.10.10.118"},
		{"IPv4 before IPv6", "fe80::1\nfd00::5\n10.0.0.9\n", "10.0.0.9"},
		{"IPv6 alone", "127.0.0.1\nfe80::1\nfd00::5\n", "fd00::5"},
		{"link-local only", "169.254.1.1\nfe80::1\n", ""},
		{"nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			addrs, err := ParseAddresses([]byte(c.out))
			if err != nil {
				t.Fatal(err)
			}
			got, ok := Reachable(addrs)
			if ok != (c.want != "") || ok && got.String() != c.want {
				t.Errorf("got %v, want %q", got, c.want)
			}
		})
	}
	if _, err := ParseAddresses([]byte("IP: 10.0.0.1")); err == nil {
		t.Error("a line that is no address passes")
	}
}

// Written from the source: status.c of pve-cluster.
func TestParseVMList(t *testing.T) {
	got, err := ParseVMList([]byte("{\n\"version\": 5,\n\"ids\": {\n\"101\": { \"node\": \"pve1\", \"type\": \"lxc\", \"version\": 4 },\n\"9000\": { \"node\": \"pve2\", \"type\": \"qemu\", \"version\": 1 }}\n\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]ListedGuest{101: {"pve1", "lxc"}, 9000: {"pve2", "qemu"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := ParseVMList([]byte(`{"ids":{"x":{}}}`)); err == nil {
		t.Error("an id that is no number passes")
	}
}

func FuzzPveshJSON(f *testing.F) {
	for _, s := range []string{guestList, guestStatus, guestInterfaces, "null", `"100"`, `{"ids":{"1":{}}}`, webConfig} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if list, err := ParseGuestList(data); err == nil {
			for i, g := range list {
				if g.ID <= 0 || i > 0 && list[i-1].ID > g.ID {
					t.Errorf("list is %v", list)
				}
			}
		}
		_, _ = ParseAddresses(data)
		_, _ = ParseVMList(data)
		if c, err := ParseImageConfig(data); err == nil {
			_ = c.Check("amd64")
		}
		if m, err := ParseManifest(data); err == nil {
			_, _ = m.Pick("amd64")
		}
	})
}
