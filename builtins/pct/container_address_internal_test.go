package pct

import (
	"fmt"
	"net/netip"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// A neighbourhood is a cluster's configs and files, by path.
type neighbourhood map[string]string

// ours is the config of a container of the app "a".
func ours(vmid int, name, ip string) string {
	return oursOf("a", vmid, name, ip)
}

func oursOf(app string, vmid int, name, ip string) string {
	id := record.Description("", record.Identity{App: app, Name: name, VMID: vmid, Image: "x@sha256:0"})
	c := pve.NewConfig()
	c.Description = id
	c.Options["net0"] = "name=eth0,bridge=vmbr0,ip=" + ip
	return string(c.Bytes())
}

func (n neighbourhood) answers() *engine.Answers {
	m := map[string]engine.Answer{}
	for _, ask := range append(guestAsks(), addressAsks()...) {
		ans := engine.NothingThere(ask)
		for name, data := range n {
			if ask.File() == name {
				ans = engine.Answer{Data: []byte(data)}
			}
			if ok, err := path.Match(ask.Glob(), name); err == nil && ok {
				ans.Files[name] = []byte(data)
			}
		}
		m[ask.Key()] = ans
	}
	m[listAsk("pve1").Key()] = engine.NothingThere(listAsk("pve1"))
	return engine.NewAnswers(m)
}

func TestAddressesOfTheRange(t *testing.T) {
	const dir, vm = "/etc/pve/nodes/pve1/lxc/", "/etc/pve/nodes/pve2/qemu-server/"
	for _, c := range []struct {
		name    string
		cluster neighbourhood
		recipe  []string // names, or NAME=ADDRESS where the recipe fixes it
		want    map[string]string
	}{
		{"new ones get the lowest free ones in recipe order", nil, []string{"b", "a"}, map[string]string{"b": "10.0.0.10", "a": "10.0.0.11"}},
		{"each keeps what it has", neighbourhood{dir + "100.conf": ours(100, "a", "10.0.0.12/24")}, []string{"b", "a"}, map[string]string{"b": "10.0.0.10", "a": "10.0.0.12"}},
		{"a new container takes over from the one that it replaces", neighbourhood{dir + "100.conf": ours(100, "a", "10.0.0.11/24"), dir + "101.conf": ours(101, "a", "dhcp")},
			[]string{"a"}, map[string]string{"a": "10.0.0.11"}},
		{"what others have is passed over", neighbourhood{
			dir + "100.conf":              "net0: name=eth0,ip=10.0.0.10/24\n",
			vm + "101.conf":               "ipconfig0: ip=10.0.0.11/24,gw=10.0.0.1\n",
			pve.InterfacesFile:            "iface vmbr0 inet static\n\taddress 10.0.0.12/24\n",
			record.IntentPath("z", "x/y"): `{"format":1,"step":"x/y","vmid":104,"archive":"","unit":"tengil-z-x.service","address":"10.0.0.13"}`,
		}, []string{"a"}, map[string]string{"a": "10.0.0.14"}},
		{"an address outside of the range is not kept", neighbourhood{dir + "100.conf": ours(100, "a", "10.0.0.99/24")}, []string{"a"}, map[string]string{"a": "10.0.0.10"}},
		{"one that a stranger has is not kept", neighbourhood{dir + "100.conf": ours(100, "a", "10.0.0.10/24"), dir + "101.conf": "net0: name=eth0,ip=10.0.0.10/24\n"},
			[]string{"a"}, map[string]string{"a": "10.0.0.11"}},
		{"of two of tengil's the one with the lower id keeps it", neighbourhood{dir + "100.conf": ours(100, "a", "10.0.0.10/24"), dir + "101.conf": oursOf("z", 101, "a", "10.0.0.10/24")},
			[]string{"a"}, map[string]string{"a": "10.0.0.10"}},
		{"and the other gives way", neighbourhood{dir + "102.conf": ours(102, "a", "10.0.0.10/24"), dir + "101.conf": oursOf("z", 101, "a", "10.0.0.10/24")},
			[]string{"a"}, map[string]string{"a": "10.0.0.11"}},
		{"what the recipe names comes first", nil, []string{"a", "b=10.0.0.10"}, map[string]string{"a": "10.0.0.11", "b": "10.0.0.10"}},
		{"named twice", nil, []string{"a=10.0.0.10", "b=10.0.0.10"}, map[string]string{"a": "10.0.0.10", "b": "refused: container a of this recipe has the address 10.0.0.10"}},
		{"named and taken", neighbourhood{dir + "100.conf": "hostname: nas\nnet0: name=eth0,ip=10.0.0.77/24\n"}, []string{"a=10.0.0.77"},
			map[string]string{"a": "refused: CT 100 (nas) has the address 10.0.0.77"}},
		{"more than there are", nil, []string{"a", "b", "c", "d", "e", "f"}, map[string]string{"a": "10.0.0.10", "b": "10.0.0.11", "c": "10.0.0.12", "d": "10.0.0.13", "e": "10.0.0.14",
			"f": "refused: all 5 addresses of the host's range 10.0.0.10-10.0.0.14/24 are taken"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			pool, err := pve.ParseRange("10.0.0.10-10.0.0.14/24", "10.0.0.1")
			if err != nil {
				t.Fatal(err)
			}
			flock := &fleet{}
			var some *container
			for _, text := range c.recipe {
				name, ip, named := strings.Cut(text, "=")
				some = &container{app: "a", name: name, facts: &engine.Facts{Node: "pve1"}, fleet: flock, auto: !named, pool: pool}
				if named {
					some.net.IP = ip + "/24"
				}
				flock.join(some)
			}
			a := c.cluster.answers()
			guests, err := GuestsOf(a, "pve1")
			if err != nil {
				t.Fatal(err)
			}
			all, err := some.addresses(a, guests)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for name, g := range all {
				got[name] = g.ip.String()
				if g.refused != "" {
					got[name] = "refused: " + g.refused
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheAddressOfTheRangeIsThatOfTheInterface(t *testing.T) {
	pool, err := pve.ParseRange("10.0.0.10-10.0.0.14/24", "10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	c := &container{auto: true, pool: pool, net: pve.Net{Name: "eth0", Bridge: "vmbr0"}}
	c = c.at(&found{given: given{ip: netip.MustParseAddr("10.0.0.12")}})
	addr, ok := c.fixedAddress()
	if want := "name=eth0,bridge=vmbr0,gw=10.0.0.1,ip=10.0.0.12/24"; c.net.String() != want || addr != "10.0.0.12" || !ok {
		t.Errorf("interface is %s, address %s", fmt.Sprint(c.net), addr)
	}
}
