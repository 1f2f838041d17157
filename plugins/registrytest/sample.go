package registrytest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/tengil/tengil/engine"
)

// SampleRef is the image that a Sample has.
const SampleRef = "sample/hello:1.0"

// A Sample is a registry in memory with one image, for tests of what uses
// registries: everything about it is right.
type Sample struct {
	Manifest engine.Manifest
	Blobs    map[string][]byte // by digest
	Layers   []engine.Descriptor
	Config   engine.Descriptor
}

// NewSample makes the image of files for arch; nil gives it one of its own.
func NewSample(arch string, files map[string][]byte) *Sample {
	if files == nil {
		files = map[string][]byte{"hello.txt": bytes.Repeat([]byte("hello "), 700_000)}
	}
	s := &Sample{Blobs: map[string][]byte{}}
	var diffs []string
	for _, layer := range []map[string][]byte{{"etc/hostname": []byte("sample\n")}, files} {
		unpacked := tarOf(layer)
		diffs = append(diffs, digestOf(unpacked))
		var packed bytes.Buffer
		z, _ := gzip.NewWriterLevel(&packed, gzip.NoCompression) // so that it is large
		_, _ = z.Write(unpacked)
		_ = z.Close()
		s.Layers = append(s.Layers, s.add("application/vnd.oci.image.layer.v1.tar+gzip", packed.Bytes()))
	}
	s.Config = s.add("application/vnd.oci.image.config.v1+json", asJSON(map[string]any{
		"architecture": arch, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/bin/hello"}, "Env": []string{"PATH=/bin"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	}))
	s.Manifest.MediaType = "application/vnd.oci.image.manifest.v1+json"
	s.Manifest.Data = asJSON(map[string]any{"schemaVersion": 2, "mediaType": s.Manifest.MediaType, "config": s.Config, "layers": s.Layers})
	s.Manifest.Digest = digestOf(s.Manifest.Data)
	return s
}

func (s *Sample) add(mediaType string, data []byte) engine.Descriptor {
	d := engine.Descriptor{MediaType: mediaType, Digest: digestOf(data), Size: int64(len(data))}
	s.Blobs[d.Digest] = data
	return d
}

func tarOf(files map[string][]byte) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, data := range files {
		_ = w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o755})
		_, _ = w.Write(data)
	}
	_ = w.Close()
	return b.Bytes()
}

func digestOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func asJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // all that is given marshals
	}
	return data
}

// Info implements engine.Registry.
func (s *Sample) Info(ctx context.Context) (engine.RegistryInfo, error) {
	return engine.RegistryInfo{
		Name: "sample", Version: "1.0.0", Scheme: "sample", Doc: "one image, in memory", Example: SampleRef,
		Can: []engine.RegistryPower{engine.CanTags, engine.CanSearch, engine.CanSource, engine.CanBlobs},
	}, ctx.Err()
}

// Resolve implements engine.Registry.
func (s *Sample) Resolve(ctx context.Context, ref, _ string) (engine.Manifest, error) {
	if err := ctx.Err(); err != nil {
		return engine.Manifest{}, err
	}
	if ref != SampleRef {
		return engine.Manifest{}, notThere(ref)
	}
	return s.Manifest, nil
}

func notThere(what string) error {
	return fmt.Errorf("there is no %q: %w", engine.Shown(what, 100), fs.ErrNotExist)
}

// Tags implements engine.Registry.
func (s *Sample) Tags(ctx context.Context, repository string) ([]string, error) {
	name, tag, _ := strings.Cut(SampleRef, ":")
	if repository != name {
		return nil, notThere(repository)
	}
	return []string{tag}, ctx.Err()
}

// Search implements engine.Registry.
func (s *Sample) Search(ctx context.Context, words string, limit int) ([]engine.FoundImage, error) {
	if !strings.Contains(SampleRef, words) || limit < 1 {
		return nil, ctx.Err()
	}
	return []engine.FoundImage{{Ref: SampleRef, Doc: "says hello"}}, ctx.Err()
}

// Source implements engine.Registry.
func (s *Sample) Source(ctx context.Context, ref string, _ engine.Manifest) (engine.ImageSource, error) {
	if ref != SampleRef {
		return engine.ImageSource{}, notThere(ref)
	}
	return engine.ImageSource{Reference: "registry.example/sample/hello", Username: "sample", Password: "sample-secret"}, ctx.Err()
}

// Blob implements engine.Registry.
func (s *Sample) Blob(ctx context.Context, _ string, d engine.Descriptor) (io.ReadCloser, error) {
	data, ok := s.Blobs[d.Digest]
	if !ok {
		return nil, notThere(d.Digest)
	}
	return &untilDone{ctx, bytes.NewReader(data)}, ctx.Err()
}

// An untilDone reads until its context ends.
type untilDone struct {
	ctx context.Context //nolint:containedctx // a stream belongs to one call
	r   *bytes.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}

func (u *untilDone) Close() error { return nil }
