package oci

import (
	"strings"
	"testing"
)

const someDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParseReference(t *testing.T) {
	for _, tt := range []struct{ name, in, want, source string }{
		{"a short name is in Docker's library", "alpine", "docker.io/library/alpine:latest", "docker://docker.io/library/alpine:latest"},
		{"a name with a namespace is on Docker Hub", "valkey/valkey:8", "docker.io/valkey/valkey:8", "docker://docker.io/valkey/valkey:8"},
		{"docker.io without a namespace means the library", "docker.io/nginx:1.27", "docker.io/library/nginx:1.27", "docker://docker.io/library/nginx:1.27"},
		{"the old name of Docker Hub is the same registry", "index.docker.io/nginx:1", "docker.io/library/nginx:1", "docker://docker.io/library/nginx:1"},
		{"a dot makes a registry", "ghcr.io/immich-app/postgres:14-v0.4.3", "ghcr.io/immich-app/postgres:14-v0.4.3", "docker://ghcr.io/immich-app/postgres:14-v0.4.3"},
		{"a port is no tag", "localhost:5000/web", "localhost:5000/web:latest", "docker://localhost:5000/web:latest"},
		{"a digest needs no tag", "alpine@" + someDigest, "docker.io/library/alpine@" + someDigest, "docker://docker.io/library/alpine@" + someDigest},
		{"with both the digest decides", "alpine:3.22@" + someDigest, "docker.io/library/alpine:3.22@" + someDigest, "docker://docker.io/library/alpine@" + someDigest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ParseReference(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if r.String() != tt.want {
				t.Errorf("String: want %q, got %q", tt.want, r)
			}
			if got := r.source(); got != tt.source {
				t.Errorf("source: want %q, got %q", tt.source, got)
			}
		})
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	for _, in := range []string{
		"", "-alpine", "Alpine", "alpine:", "alpine:-x", "alpine:a b", "alpine@sha256:12", "a//b", "/alpine", "alpine/",
		"docker://alpine", "ghcr.io/-x/y", "al\npine", "alpine:3\n", "alpine$(id)", "reg.example:port/x", "../../etc/passwd", strings.Repeat("a", 300),
	} {
		if r, err := ParseReference(in); err == nil {
			t.Errorf("%q: wanted an error, got %q", in, r)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"alpine", "ghcr.io/a/b:c", "localhost:5000/x@" + someDigest} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		again, err := ParseReference(r.String())
		if err != nil || again != r {
			t.Errorf("%q: %+v printed and read again is %+v, %v", s, r, again, err)
		}
		if strings.ContainsAny(r.source(), " \n\x00'\"$;,") || !strings.HasPrefix(r.source(), "docker://") {
			t.Errorf("%q: source is %q", s, r.source())
		}
	})
}
