package pct

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

func wantMounts(targets ...string) []mountWant {
	slices.Sort(targets)
	out := make([]mountWant, len(targets))
	for i, t := range targets {
		out[i].target = t
	}
	return out
}

func TestMountsKeepTheirIndexAndParentsComeFirst(t *testing.T) {
	bind, volume := pve.Mount{Volume: "/tank/x"}, pve.Mount{Volume: "local-zfs:subvol-101-disk-1"}
	for _, c := range []struct {
		name  string
		mount []string
		old   map[string]int
		taken map[int]pve.Mount
		want  []int
	}{
		{"a new container", []string{"/a", "/b"}, nil, nil, []int{0, 1}},
		{"one more goes behind", []string{"/a", "/b", "/c"}, map[string]int{"/a": 0, "/c": 1}, map[int]pve.Mount{0: bind, 1: bind}, []int{0, 2, 1}},
		{"a child goes above its parent", []string{"/a", "/a/b"}, map[string]int{"/a": 3}, map[int]pve.Mount{3: bind}, []int{3, 4}},
		{"a parent below its child makes all of them anew", []string{"/a", "/a/b"}, map[string]int{"/a/b": 0}, map[int]pve.Mount{0: bind}, []int{0, 1}},
		{"what somebody else attached keeps its place", []string{"/a", "/b"}, map[string]int{"/b": 1}, map[int]pve.Mount{0: volume, 1: bind}, []int{2, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := placeMounts(wantMounts(c.mount...), c.old, c.taken)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("indexes (-want +got):\n%s", diff)
			}
		})
	}
}

// PVE re-orders and completes what it is told; none of that is a change.
func TestWhatProxmoxPrintsAnotherWayIsNoChange(t *testing.T) {
	c := &container{app: "a", name: "c", hostname: "a-c", memory: 512 * engine.MiB, swap: 512 * engine.MiB, disk: 8 * engine.GiB,
		onboot: true, tags: []string{"tengil", "a", "Photos"}, nameserver: "1.1.1.1 9.9.9.9",
		net: pve.Net{Name: "eth0", Bridge: "vmbr0", IP: "dhcp", HostManaged: pve.On}}
	conf, err := pve.ParseConfig([]byte("hostname: a-c\nmemory: 512\nswap: 512\nonboot: 1\ntags: a;photos;tengil\nnameserver: 1.1.1.1 9.9.9.9\n" +
		"net0: name=eth0,bridge=vmbr0,host-managed=1,hwaddr=BC:24:11:1A:05:D1,ip=dhcp,type=veth\nrootfs: local-zfs:subvol-101-disk-0,size=8G\n"))
	if err != nil {
		t.Fatal(err)
	}
	w := wants{}
	w.fields = append(c.plainFields(conf), c.netField(conf))
	if grow := c.growth(conf, &w); grow != 0 {
		t.Errorf("grows to %s", grow)
	}
	for _, f := range w.changed() {
		t.Errorf("%s: %q → %q", f.name, f.have, f.set)
	}
}

func TestTheFullInterfaceIsSentWithTheAddressItHas(t *testing.T) {
	c := &container{net: pve.Net{Name: "eth0", Bridge: "vmbr1", IP: "dhcp", HostManaged: pve.On}}
	conf, err := pve.ParseConfig([]byte("net0: name=eth0,bridge=vmbr0,host-managed=1,hwaddr=BC:24:11:1A:05:D1,ip=dhcp,type=veth\n"))
	if err != nil {
		t.Fatal(err)
	}
	f := c.netField(conf)
	n, err := pve.ParseNet(f.set)
	if err != nil || f.same || n.HWAddr != "BC:24:11:1A:05:D1" || n.Bridge != "vmbr1" || !n.HostManaged.True() {
		t.Errorf("sent: %q (same %v, %v)", f.set, f.same, err)
	}
}

func TestIdsOfOneRunDiffer(t *testing.T) {
	ids := &idChooser{}
	guests := &Guests{Used: map[int]bool{100: true, 102: true}, Lowest: 100, Highest: 104}
	for _, want := range []int{101, 103, 104} {
		if got, err := ids.next(guests); got != want || err != nil {
			t.Errorf("got id %d, %v; want %d", got, err, want)
		}
	}
	if id, err := ids.next(guests); err == nil {
		t.Errorf("got id %d beyond the range", id)
	}
}

// What a plan does not show of a value it seals, so that a plan in a file does not fit another one.
func TestWhatIsHiddenIsSealed(t *testing.T) {
	c := &container{id: "pct_create/c", app: "a", name: "c", sealKey: engine.NewSealKey(), env: []engine.Entry{{Key: "N", Value: engine.Lit("1")}}}
	hidden := func(conf string) map[string]string {
		t.Helper()
		have, err := pve.ParseConfig([]byte("hostname: a-c\n" + conf))
		if err != nil {
			t.Fatal(err)
		}
		var w wants
		in := engine.Inputs{Value: func(engine.Ref) engine.Value { return engine.Unknown("later") }}
		if err := errors.Join(c.envFields(&w, have, pve.ImageConfig{}, true, in), c.rawFields(&w, have, pve.ImageConfig{}, true, in)); err != nil {
			t.Fatal(err)
		}
		seals := map[string]string{}
		for _, f := range w.changed() {
			if f.have == otherValue {
				seals[f.name] = f.seal
			}
		}
		return seals
	}
	const runtime = "lxc.environment.runtime: "
	for name, field := range map[string]struct{ field, one, other string }{
		"a value of the recipe":                 {"env.N", runtime + "N=2\n", runtime + "N=3\n"},
		"a value that the recipe does not have": {"env.OLD", runtime + "OLD=2\n", runtime + "OLD=3\n"},
		"a raw line":                            {"lxc.environment", "lxc.environment: A=2\n", "lxc.environment: A=3\n"},
		"a value for the next start": {"env.N", runtime + "N=2\n\n[pct:pending]\n" + runtime + "N=7\n",
			runtime + "N=2\n\n[pct:pending]\n" + runtime + "N=8\n"},
	} {
		one, again, other := hidden(field.one)[field.field], hidden(field.one)[field.field], hidden(field.other)[field.field]
		if one == "" || !engine.Lasts(one) || one != again {
			t.Errorf("%s: seals are %q and %q, want the same", name, one, again)
		}
		if other == "" || other == one {
			t.Errorf("%s: seals of another value are %q and %q, want others", name, one, other)
		}
	}
}
