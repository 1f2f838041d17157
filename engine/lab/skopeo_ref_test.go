package lab

import (
	"strings"
	"testing"
)

func TestParseDockerRef(t *testing.T) {
	d := "sha256:" + strings.Repeat("a", 64)
	tests := []struct {
		ref, repo, familiar, tag, digest string
		err                              string
	}{
		{ref: "alpine", repo: "docker.io/library/alpine", familiar: "alpine", tag: "latest"},
		{ref: "jellyfin/jellyfin:10", repo: "docker.io/jellyfin/jellyfin", familiar: "jellyfin/jellyfin", tag: "10"},
		{ref: "ghcr.io/a/b/c:v1.2_3-x", repo: "ghcr.io/a/b/c", familiar: "ghcr.io/a/b/c", tag: "v1.2_3-x"},
		{ref: "localhost/x", repo: "localhost/x", familiar: "localhost/x", tag: "latest"},
		{ref: "host:5000/x@" + d, repo: "host:5000/x", familiar: "host:5000/x", digest: d},
		{ref: "index.docker.io/redis", repo: "docker.io/library/redis", familiar: "redis", tag: "latest"},
		{ref: "a/../b", err: "invalid reference format"},
		{ref: "a//b", err: "invalid reference format"},
		{ref: "a:b c", err: "invalid reference format"},
		{ref: "a@sha256:12", err: "invalid reference format"},
		{ref: "", err: "invalid reference format"},
		{ref: "-a", err: "invalid reference format"},
	}
	for _, tt := range tests {
		t.Run(tt.ref, func(t *testing.T) {
			repo, tag, digest, err := parseDockerRef(tt.ref)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("error = %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || repo.String() != tt.repo || repo.familiar() != tt.familiar || tag != tt.tag || digest != tt.digest {
				t.Errorf("= %v (%s), %q, %q, %v; want %s (%s), %q, %q", repo, repo.familiar(), tag, digest, err, tt.repo, tt.familiar, tt.tag, tt.digest)
			}
		})
	}
}

func FuzzParseDockerRef(f *testing.F) {
	f.Add("alpine")
	f.Add("ghcr.io/a/b:v1")
	f.Add("localhost:5000/x@sha256:" + strings.Repeat("a", 64))
	f.Fuzz(func(t *testing.T, ref string) {
		repo, tag, digest, err := parseDockerRef(ref)
		if err != nil {
			return
		}
		if strings.Contains(repo.String(), "..") && strings.Contains("/"+repo.path+"/", "/../") || strings.HasPrefix(repo.path, "/") {
			t.Errorf("%q gives the path %q", ref, repo.path)
		}
		again, tag2, digest2, err := parseDockerRef(imageName{transport: "docker", repo: repo, tag: tag, digest: digest}.shown()[len("docker://"):])
		if tag != "" && (err != nil || again != repo || tag2 != tag || digest2 != digest) {
			t.Errorf("%q gives %v %q %q, and that %v %q %q %v", ref, repo, tag, digest, again, tag2, digest2, err)
		}
	})
}
