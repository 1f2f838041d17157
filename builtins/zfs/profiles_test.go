package zfs

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCanonical(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"recordsize", "128K", "131072"},
		{"recordsize", "131072", "131072"},
		{"quota", "none", "0"},
		{"quota", "1.5G", "1610612736"},
		{"acltype", "posixacl", "posix"},
		{"acltype", "posix", "posix"},
		{"xattr", "sa", "on"},
		{"compression", "zstd", "zstd"},
	} {
		if got := canonical(tt.name, tt.value); got != tt.want {
			t.Errorf("%s=%s: want %q, got %q", tt.name, tt.value, tt.want, got)
		}
	}
}

func TestExplicitPropertiesWin(t *testing.T) {
	got := map[string]string{}
	for _, p := range wanted("postgres", []property{{"recordsize", "8K", "the recipe sets it"}, {"sync", "always", "the recipe sets it"}}) {
		got[p.name] = p.value
	}
	want := map[string]string{
		"acltype": "posix", "atime": "off", "compression": "lz4", "logbias": "latency",
		"recordsize": "8K", "redundant_metadata": "most", "sync": "always", "xattr": "sa",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
}

func TestEveryProfileSaysWhy(t *testing.T) {
	for name, props := range profiles() {
		for _, p := range props {
			if p.why == "" {
				t.Errorf("profile %s: %s has no reason", name, p.name)
			}
			if !slices.Contains(columns(), p.name) {
				t.Errorf("profile %s: %s is not among the columns that every plan asks for, so each dataset costs a command more", name, p.name)
			}
		}
	}
}

func TestMountpoint(t *testing.T) {
	all := map[string]map[string]string{
		"tank": {"mountpoint": "/tank"}, "tank/srv": {"mountpoint": "/srv/data"}, "rpool": {"mountpoint": "/rpool"},
		"tank/hidden": {"mountpoint": "none"},
	}
	for _, tt := range []struct{ name, dataset, want string }{
		{"a dataset that exists is where it says", "tank/srv", "/srv/data"},
		{"a missing one is below its parent", "tank/srv/a/b", "/srv/data/a/b"},
		{"a missing one below the pool is below the pool's mountpoint", "tank/x", "/tank/x"},
		{"without any knowledge it is the name", "other/x", "/other/x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Mountpoint(all, tt.dataset)
			if err != nil || got != tt.want {
				t.Errorf("want %q, got %q, %v", tt.want, got, err)
			}
		})
	}
	if got, err := Mountpoint(all, "tank/hidden/x"); err == nil {
		t.Errorf("a dataset below one without mountpoint: wanted an error, got %q", got)
	}
}

func TestParents(t *testing.T) {
	if got, want := parents("tank/a/b/c"), []string{"tank/a", "tank/a/b"}; !slices.Equal(got, want) {
		t.Errorf("want %q, got %q", want, got)
	}
	if got := parents("tank/a"); len(got) != 0 {
		t.Errorf("a dataset of the pool has no parents to make, got %q", got)
	}
}
