package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tengil/tengil/plugins/launch"
	"github.com/tengil/tengil/plugins/registrytest"
	"github.com/tengil/tengil/plugins/sdk"
)

// layout writes an OCI layout with the image of a sample under a tag.
func layout(t *testing.T, s *registrytest.Sample, tag string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{map[string]any{
		"mediaType": s.Manifest.MediaType, "digest": s.Manifest.Digest, "size": len(s.Manifest.Data),
		"annotations": map[string]string{"org.opencontainers.image.ref.name": tag},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	files["index.json"] = index
	for digest, data := range s.Blobs {
		files["blobs/sha256/"+strings.TrimPrefix(digest, "sha256:")] = data
	}
	files["blobs/sha256/"+strings.TrimPrefix(s.Manifest.Digest, "sha256:")] = s.Manifest.Data
	return files
}

// saved is what docker save writes of an image with that layer.
func saved(t *testing.T, tags ...string) map[string][]byte {
	t.Helper()
	layer := tarOf(t, map[string][]byte{"hello.txt": []byte("hello\n")})
	config, err := json.Marshal(map[string]any{"architecture": "amd64", "os": "linux",
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digestOf(layer)}}})
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := json.Marshal([]any{map[string]any{"Config": "c.json", "RepoTags": tags, "Layers": []string{"l/layer.tar"}}})
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"c.json": config, "l/layer.tar": layer, "manifest.json": manifest}
}

func tarOf(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, data := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t *testing.T, root string, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConformance(t *testing.T) {
	root := t.TempDir()
	s := registrytest.NewSample("amd64", nil)
	write(t, filepath.Join(root, "photos/app"), layout(t, s, "1.0"))
	write(t, root, map[string][]byte{
		"tars/app.tar":     tarOf(t, layout(t, s, "registry.lan/tars/app:2.0")),
		"docker/app.tar":   tarOf(t, saved(t, "docker/app:3.0", "docker/app:latest")),
		"named/my-app.tar": tarOf(t, saved(t)), // without a tag: what the file is called
	})
	for _, ref := range []string{"photos/app:1.0", "photos/app", "tars/app:2.0", "docker/app:3.0", "docker/app:latest", "named/my:app"} {
		t.Run(ref, func(t *testing.T) {
			report := registrytest.Run(t.Context(), sdk.Adapt(registry{root}), registrytest.Options{Ref: ref})
			if err := report.Err(); err != nil {
				t.Error(err)
			}
			if passed, _, _ := report.Count(); passed < 13 {
				t.Errorf("%d checks passed: %+v", passed, report)
			}
		})
	}
}

func TestConformanceThroughAProcess(t *testing.T) {
	program := filepath.Join(t.TempDir(), "registry-dir")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	root := t.TempDir()
	write(t, root, map[string][]byte{"tars/app.tar": tarOf(t, layout(t, registrytest.NewSample("amd64", nil), "2.0"))})
	o := launch.Options{Getenv: func(string) string { return root }}
	info, err := launch.Probe(t.Context(), program, o)
	if err != nil {
		t.Fatal(err)
	}
	p := launch.Program(program, info, nil, o)
	report := registrytest.Run(t.Context(), p, registrytest.Options{Ref: "tars/app:2.0"})
	if err := errors.Join(report.Err(), p.Close()); err != nil {
		t.Error(err)
	}
}

func TestNothingOutsideOfTheFolderIsReached(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), layout(t, registrytest.NewSample("amd64", nil), "1.0"))
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../secret", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"../secret:1.0", "link:1.0", "x/../../secret:1.0", filepath.Join(dir, "secret") + ":1.0"} {
		if m, err := (registry{root}).Resolve(t.Context(), ref, "amd64"); err == nil {
			t.Errorf("%s: %s was reached", ref, m.Digest)
		}
	}
}

func TestBrokenFiles(t *testing.T) {
	root := t.TempDir()
	s := registrytest.NewSample("amd64", nil)
	lying := layout(t, s, "1.0")
	lying["blobs/sha256/"+strings.TrimPrefix(s.Manifest.Digest, "sha256:")] = []byte("{}")
	half := layout(t, s, "1.0")
	delete(half, "blobs/sha256/"+strings.TrimPrefix(s.Manifest.Digest, "sha256:"))
	write(t, filepath.Join(root, "lying"), lying)
	write(t, filepath.Join(root, "half"), half)
	whole := tarOf(t, layout(t, s, "1.0"))
	write(t, root, map[string][]byte{
		"gz.tar":    append([]byte{0x1f, 0x8b}, whole[2:]...),
		"cut.tar":   whole[:2000],
		"other.tar": tarOf(t, map[string][]byte{"x": nil}),
		"text.tar":  []byte("not a tar"),
	})
	for ref, want := range map[string]string{
		"lying:1.0": "wrong content", "half:1.0": "manifest " + s.Manifest.Digest,
		"gz:1.0": "no tar, or it is compressed", "cut:1.0": "", "other:1.0": "neither index.json nor manifest.json", "text:1.0": "no tar",
	} {
		_, err := (registry{root}).Resolve(t.Context(), ref, "amd64")
		if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: wanted an error with %q that is not that it is missing, got %v", ref, want, err)
		}
	}
	if _, err := (registry{filepath.Join(root, "gone")}).Resolve(t.Context(), "a:1", "amd64"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a share that is gone: %v", err)
	}
}

func digestOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }
