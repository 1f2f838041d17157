package oci

import "testing"

func TestPartialApp(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"its own name", partialOf("/var/lib/vz/template/cache/ghcr.io_a_b_12.tar", "immich"), "immich"},
		{"an archive", "/var/lib/vz/template/cache/ghcr.io_a_b_12.tar", ""},
		{"a file of somebody else", "/srv/x.partial", ""},
		{"nothing", "", ""},
	} {
		if got := partialApp(tt.file); got != tt.want {
			t.Errorf("%s: want %q, got %q", tt.name, tt.want, got)
		}
	}
}
