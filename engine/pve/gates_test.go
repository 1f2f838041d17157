package pve

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tengil/tengil/engine"
)

func TestGatesOf(t *testing.T) {
	all := Gates{IDMap: true, ImageUser: true, DevShm: true}
	for _, c := range []struct {
		version string
		want    Gates
	}{
		{"6.0.18", Gates{}},
		{"6.0.19", Gates{UnmanagedBroken: true, InheritsAttrs: true}},
		{"6.1.0", Gates{UnmanagedBroken: true, InheritsAttrs: true, ImageUser: true}},
		{"6.1.1", Gates{InheritsAttrs: true, ImageUser: true}},
		{"6.1.2", Gates{ImageUser: true}},
		{"6.1.6", Gates{ImageUser: true, IDMap: true}},
		{"6.1.8", Gates{ImageUser: true, IDMap: true}},
		{"6.1.10", all},
		{"6.1.10+deb13u1", all},
	} {
		got, err := GatesOf(map[string]string{"pve-container": c.version})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.version, diff)
		}
	}
	if _, err := GatesOf(nil); err == nil {
		t.Error("no pve-container passes")
	}
}

func TestSupported(t *testing.T) {
	f := &engine.Facts{Node: "pve1", Packages: map[string]string{"pve-container": "6.0.17", "libpve-storage-perl": "9.1.1", "skopeo": "1.18.0+ds1-1"}}
	err := Supported(f)
	if err == nil || !strings.Contains(err.Error(), "pve-container is 6.0.17, wanted at least 6.0.18") {
		t.Errorf("error is %v", err)
	}
	f.Packages["pve-container"] = "6.0.18"
	if err := Supported(f); err != nil {
		t.Error(err)
	}
	delete(f.Packages, "skopeo")
	if err := Supported(f); err == nil || !strings.Contains(err.Error(), "skopeo is not installed") {
		t.Errorf("error is %v", err)
	}
}

// Written from deb-version(7).
func TestCompareVersions(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"6.1.10", "6.1.9", 1}, {"6.1.10", "6.1.10", 0}, {"6.1", "6.1.0", -1}, {"1:1.0", "2.0", 1},
		{"1.0~rc1", "1.0", -1}, {"1.0-1", "1.0-2", -1}, {"1.0", "1.0-0", 0}, {"1.0+b1", "1.0", 1},
		{"1.0a", "1.0+", -1}, {"2.3.9-0+deb13u1", "2.3.10-1", -1}, {"007", "7", 0}, {"", "0", 0}, {"", "1", -1},
	} {
		got := CompareVersions(c.a, c.b)
		if sign(got) != c.want || sign(CompareVersions(c.b, c.a)) != -c.want {
			t.Errorf("CompareVersions(%q, %q) is %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func sign(n int) int { return min(1, max(-1, n)) }
