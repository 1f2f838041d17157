package pve

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every netN, mpN, devN, rootfs, features and startup value that PVE wrote
// itself must come out again as it was.
func TestCapturedValuesRoundTrip(t *testing.T) {
	seen := 0
	for file, data := range capturedConfigs(t) {
		c, err := ParseConfig(data)
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range c.Options {
			family, _ := Family(key)
			got, err := reprint(family, value)
			switch {
			case got == "" && err == nil:
				continue
			case err != nil:
				t.Errorf("%s: %s: %v", file, key, err)
			case got != value && !strings.Contains(value, "trunks"):
				t.Errorf("%s: %s is printed as %q, want %q", file, key, got, value)
			}
			seen++
		}
	}
	if seen < 100 {
		t.Errorf("only %d values were tried", seen)
	}
}

func reprint(family, value string) (string, error) {
	switch family {
	case "net[n]":
		v, err := ParseNet(value)
		return v.String(), err
	case "mp[n]", "rootfs":
		v, err := ParseMount(value)
		return v.String(), err
	case "dev[n]":
		v, err := ParseDevice(value)
		return v.String(), err
	case "features":
		v, err := ParseFeatures(value)
		return v.String(), err
	case "startup":
		v, err := ParseStartup(value)
		return v.String(), err
	case "tags":
		return NormalizeTags(ParseTags(value)), nil
	}
	return "", nil
}

func TestSameNet(t *testing.T) {
	const have = "name=eth0,bridge=vmbr0,gw=10.10.10.1,host-managed=1,hwaddr=BC:24:11:1A:05:D1,ip=10.10.10.21/24,type=veth"
	for _, c := range []struct {
		name, want string
		diff       []FieldDiff
	}{
		{"what PVE completes is ignored", "name=eth0,bridge=vmbr0,ip=10.10.10.21/24,gw=10.10.10.1,host-managed=1", nil},
		{"a wanted address is compared without case", "name=eth0,bridge=vmbr0,hwaddr=bc:24:11:1a:05:d1,ip=10.10.10.21/24,gw=10.10.10.1,host-managed=1,firewall=0", nil},
		{"another address", "name=eth0,bridge=vmbr1,ip=dhcp,host-managed=1", []FieldDiff{
			{"bridge", "vmbr1", "vmbr0"}, {"ip", "dhcp", "10.10.10.21/24"}, {"gw", "", "10.10.10.1"}}},
		{"a lost flag", "name=eth0,bridge=vmbr0,ip=10.10.10.21/24,gw=10.10.10.1", []FieldDiff{{"host-managed", "", "1"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, err1 := ParseNet(c.want)
			h, err2 := ParseNet(have)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			if diff := cmp.Diff(c.diff, SameNet(w, h)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSameMount(t *testing.T) {
	for _, c := range []struct {
		name, want, have string
		diff             []FieldDiff
	}{
		{"a size that PVE adds", "local-zfs:subvol-1-disk-1,mp=/vol", "local-zfs:subvol-1-disk-1,mp=/vol,size=1G", nil},
		{"defaults and order of options", "/tank/a/,mp=/a,ro=0,replicate=1,mountoptions=nosuid;noexec", "/tank/a,mp=/a/,mountoptions=noexec;nosuid", nil},
		{"read-only", "/tank/a,mp=/a,ro=1", "/tank/a,mp=/a", []FieldDiff{{"ro", "1", ""}}},
		{"replicate=0 counts", "/tank/a,mp=/a,replicate=0", "/tank/a,mp=/a", []FieldDiff{{"replicate", "0", ""}}},
		{"another source", "/tank/a,mp=/a", "/tank/b,mp=/a", []FieldDiff{{"volume", "/tank/a", "/tank/b"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, err1 := ParseMount(c.want)
			h, err2 := ParseMount(c.have)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			if diff := cmp.Diff(c.diff, SameMount(w, h)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMountKind(t *testing.T) {
	for volume, want := range map[string]MountKind{
		"/dev/sdb1": DeviceMount, "/tank/media": BindMount, "/devices": BindMount, "local-zfs:8": VolumeMount,
	} {
		if got := (Mount{Volume: volume}).Kind(); got != want {
			t.Errorf("%q is a %s, want %s", volume, got, want)
		}
	}
}

func TestCheckPath(t *testing.T) {
	for _, good := range []string{"/", "/a", "/tank/with blank/é", "/a..b/.c"} {
		if err := CheckPath(good); err != nil {
			t.Error(err)
		}
	}
	for bad, part := range map[string]string{
		"": "empty", "a": "relative", "-a": "relative", "/a,b": `","`, "/a=b": `"="`, "/a/../b": `".."`, "/a/.": `"."`, "/a\nb": "U+000A", "/a\x00": "U+0000",
	} {
		if err := CheckPath(bad); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("CheckPath(%q) is %v, want an error with %q", bad, err, part)
		}
	}
}

func TestDeviceDefaultsAreEqual(t *testing.T) {
	w, err := ParseDevice("path=/dev/dri/renderD128,mode=0660,uid=0,gid=104")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := w.String(), "/dev/dri/renderD128,gid=104,mode=0660"; got != want {
		t.Errorf("printed as %q, want %q", got, want)
	}
	h := Device{Path: "/dev/dri/renderD128", GID: 104}
	if d := SameDevice(w, h); d != nil {
		t.Errorf("differences %v, want none", d)
	}
	h.GID = 44
	if d := SameDevice(w, h); len(d) != 1 || d[0] != (FieldDiff{"gid", "104", "44"}) {
		t.Errorf("differences %v, want that of gid", d)
	}
}

// Captured: pve-container 6.1.10, 2026-11-23: --tags and the line it left.
func TestTagsAreStoredAsPVE(t *testing.T) {
	for given, want := range map[string]string{
		"B;a": "a;b", "b,a,b": "a;b", "c b a": "a;b;c", "Cell;cell": "cell", "_x": "_x", "x.y-z+1_": "x.y-z+1_", "1": "1", "": "", "a;;b": "a;b", " a ": "a",
	} {
		if got := NormalizeTags(ParseTags(given)); got != want {
			t.Errorf("%q is stored as %q, want %q", given, got, want)
		}
	}
	for _, bad := range []string{"x:y", "x/y", "x=y", "-x", "ä", ""} {
		if CheckTag(bad) == nil {
			t.Errorf("tag %q passes", bad)
		}
	}
}

func TestObjectsRefuseWhatIsNone(t *testing.T) {
	for _, c := range []struct {
		family, value, want string
	}{
		{"net[n]", "eth0", `"eth0" has no key`},
		{"net[n]", "name=eth0,tag=x", "tag: "},
		{"net[n]", "name=eth0,firewall=maybe", "firewall: type check ('boolean') failed - got 'maybe'"},
		{"mp[n]", "mp=/a", `"mp=/a" names no volume`},
		{"mp[n]", "/a,mp=/a,ro=x", "ro: type check"},
		{"dev[n]", "mode=0666", `"mode=0666" names no device`},
		{"dev[n]", "/dev/fuse,gid=video", "gid: "},
		{"dev[n]", "/dev/fuse,color=red", "color: unknown key"},
	} {
		if got, err := reprint(c.family, c.value); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %q is %q, %v, want an error with %q", c.family, c.value, got, err, c.want)
		}
	}
}

func TestCheckDevicePath(t *testing.T) {
	if err := CheckDevicePath("/dev/dri/by-path/pci-0000:00:02.0-render"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "/dev/", "/tank/file", "dev/fuse", "/dev/../etc/shadow", "/dev/a,mode=0666"} {
		if CheckDevicePath(bad) == nil {
			t.Errorf("%q passes", bad)
		}
	}
}
