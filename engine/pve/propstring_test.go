package pve

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseProps(t *testing.T) {
	for _, c := range []struct {
		name, in, defaultKey string
		want                 Props
		fails                bool
	}{
		{"keys and values", "name=eth0,ip=dhcp", "", Props{{"name", "eth0"}, {"ip", "dhcp"}}, false},
		{"default key", "/tank/a b,mp=/m m", "volume", Props{{"volume", "/tank/a b"}, {"mp", "/m m"}}, false},
		{"empty value", "a=", "", Props{{"a", ""}}, false},
		{"value with =", "mp=/a,x=b=c", "", Props{{"mp", "/a"}, {"x", "b=c"}}, false},
		{"empty text", "", "volume", nil, false},
		{"value without key", "eth0", "", nil, true},
		{"a path with a comma is two defaults", "/tank/a,b,mp=/m", "volume", nil, true},
		{"duplicate key", "name=a,name=b", "", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseProps(c.in, c.defaultKey)
			if (err != nil) != c.fails {
				t.Fatalf("error is %v, want error: %v", err, c.fails)
			}
			if diff := cmp.Diff(c.want, got); err == nil && diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCanonicalPutsDefaultAndRequiredKeysFirst(t *testing.T) {
	p, err := ParseProps("size=8G,backup=1,mp=/data,volume=local-zfs:subvol-1-disk-1,acl=1", "volume")
	if err != nil {
		t.Fatal(err)
	}
	want := "local-zfs:subvol-1-disk-1,mp=/data,acl=1,backup=1,size=8G"
	if got := p.Canonical("volume", "mp").String("volume"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzProps(f *testing.F) {
	for _, s := range []string{"local-zfs:8,mp=/data,ro=1", "volume=/a=b,mp=/x", "a=,b", ",,=", " =x", "volume= ,"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, withDefault bool) {
		key := ""
		if withDefault {
			key = "volume"
		}
		p, err := ParseProps(s, key)
		if err != nil {
			return
		}
		q, err := ParseProps(p.String(key), key)
		if err != nil {
			t.Fatalf("%q is printed as %q, which is refused: %v", s, p.String(key), err)
		}
		if !p.Equal(q) {
			t.Errorf("%q is printed as %q, which reads as %v, not %v", s, p.String(key), q, p)
		}
		if n, err := ParseNet(s); err == nil {
			again, err := ParseNet(n.String())
			if diff := SameNet(n, again); err != nil || len(diff) > 0 {
				t.Errorf("%q is printed as %q, which differs: %v, %v", s, n.String(), diff, err)
			}
		}
		if m, err := ParseMount(s); err == nil {
			again, err := ParseMount(m.String())
			if diff := SameMount(m, again); err != nil || len(diff) > 0 {
				t.Errorf("%q is printed as %q, which differs: %v, %v", s, m.String(), diff, err)
			}
		}
		_, _ = ParseDevice(s)
		_, _ = ParseFeatures(s)
		_, _ = ParseStartup(s)
	})
}
