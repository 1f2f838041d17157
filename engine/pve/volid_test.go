package pve

import (
	"regexp"
	"strings"
	"testing"
)

var archiveName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*\.tar$`)

func TestArchiveName(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	for _, c := range []struct{ name, registry, repository, want string }{
		{"plain", "ghcr.io", "immich-app/immich-server", "ghcr.io_immich-app_immich-server_" + strings.Repeat("0a", 32) + ".tar"},
		{"port", "127.0.0.1:5000", "web", "127.0.0.1-5000_web_" + strings.Repeat("0a", 32) + ".tar"},
	} {
		if got := ArchiveName(c.registry, c.repository, digest); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	names := map[string]bool{}
	for _, repository := range []string{"linuxserver/jellyfin", "jellyfin/jellyfin", strings.Repeat("a/", 200) + "x", strings.Repeat("a/", 200) + "y", "-x", "../x"} {
		for _, registry := range []string{"docker.io", "../etc", ""} {
			name := ArchiveName(registry, repository, digest)
			// What a storage lists as a template and pct create takes for an image.
			if !archiveName.MatchString(name) || len(name) > maxArchiveName {
				t.Errorf("name is %q", name)
			}
			if names[name] {
				t.Errorf("%q names two images", name)
			}
			names[name] = true
		}
	}
}

func TestParseVolID(t *testing.T) {
	for _, c := range []struct {
		in, storage, name string
		owner             int
	}{
		{"local-zfs:subvol-101-disk-0", "local-zfs", "subvol-101-disk-0", 101},
		{"local:104/vm-104-disk-2.raw", "local", "104/vm-104-disk-2.raw", 104},
		{"local:vztmpl/x.tar", "local", "vztmpl/x.tar", 0},
	} {
		v, err := ParseVolID(c.in)
		if err != nil {
			t.Fatal(err)
		}
		if v.Storage != c.storage || v.Name != c.name || v.Owner() != c.owner || v.String() != c.in {
			t.Errorf("%q is %+v of %d", c.in, v, v.Owner())
		}
	}
	for _, bad := range []string{"local-zfs", "", ":x", "a:", "-a:x", "a b:x"} {
		if _, err := ParseVolID(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}
