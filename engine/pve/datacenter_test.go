package pve

import (
	"slices"
	"testing"
)

func TestNextIDRange(t *testing.T) {
	for text, want := range map[string][2]int{
		"":                               {100, 999999},
		"keyboard: en-us\n":              {100, 999999},
		"next-id: lower=200,upper=299\n": {200, 299},
		"x: y\nnext-id: upper=5000\n":    {100, 5000},
	} {
		low, high, err := ParseNextIDRange([]byte(text))
		if err != nil || low != want[0] || high != want[1] {
			t.Errorf("%q: %d to %d, %v; want %v", text, low, high, err, want)
		}
	}
	for _, bad := range []string{"next-id: lower=x", "next-id: upper=1"} {
		if _, _, err := ParseNextIDRange([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestVolumeList(t *testing.T) {
	got, err := ParseVolumeList([]byte("Volid                         Format  Type            Size VMID\nlocal-zfs:subvol-101-disk-0   subvol  rootdir   1073741824 101\n"))
	if err != nil || !slices.Equal(got, []Volume{{"local-zfs:subvol-101-disk-0", 1073741824}}) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := ParseVolumeList([]byte("junk line\n")); err == nil {
		t.Errorf("junk is taken: %v", got)
	}
}
