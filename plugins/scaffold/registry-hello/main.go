// Command registry-hello is a registry plugin of tengil: one image, made in memory.
// Recipes write hello://hello:1.0.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"

	"github.com/tengil/tengil/plugins/sdk"
)

func main() { sdk.Serve(registry{"amd64": newImage("amd64"), "arm64": newImage("arm64")}) }

// A registry has one image for each architecture. Implement sdk.Tagger and
// sdk.Searcher too if yours can list tags and search, and sdk.Sourcer in place of
// sdk.Blobber if skopeo can pull what you have found.
type registry map[string]image

// Info says what the plugin is. It connects to nothing.
func (r registry) Info() sdk.Info {
	return sdk.Info{
		Name: "registry-hello", Version: "0.1.0", Scheme: "hello", Doc: "one image, made in memory",
		Example: "hello:1.0", // an image that is there, for tg plugins test
	}
}

// Resolve returns the manifest of an image.
func (r registry) Resolve(_ context.Context, ref, arch string) (sdk.Manifest, error) {
	image, ok := r[arch]
	if ref != "hello:1.0" || !ok {
		return sdk.Manifest{}, sdk.NotFound("there is no %q for %s", ref, arch)
	}
	return image.manifest, nil
}

// Blob opens a layer, or the config.
func (r registry) Blob(_ context.Context, _ string, d sdk.Descriptor) (io.ReadCloser, error) {
	for _, image := range r {
		if data, ok := image.blobs[d.Digest]; ok {
			return io.NopCloser(bytes.NewReader(data)), nil
		}
	}
	return nil, sdk.NotFound("there is no blob %s", d.Digest)
}

// An image is a manifest, and the config and the layers that it names.
type image struct {
	manifest sdk.Manifest
	blobs    map[string][]byte // by digest
}

func newImage(arch string) image {
	var unpacked, packed bytes.Buffer
	t := tar.NewWriter(&unpacked)
	_ = t.WriteHeader(&tar.Header{Name: "hello.txt", Size: 6, Mode: 0o644})
	_, _ = t.Write([]byte("hello\n"))
	_ = t.Close()
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(unpacked.Bytes())
	_ = z.Close()

	im := image{blobs: map[string][]byte{}}
	add := func(mediaType string, data []byte) sdk.Descriptor {
		d := sdk.Descriptor{MediaType: "application/vnd.oci.image." + mediaType, Digest: digest(data), Size: int64(len(data))}
		im.blobs[d.Digest] = data
		return d
	}
	config := add("config.v1+json", fmt.Appendf(nil,
		`{"architecture":%q,"os":"linux","config":{"Entrypoint":["/bin/sh"]},"rootfs":{"type":"layers","diff_ids":[%q]}}`, arch, digest(unpacked.Bytes())))
	layer := add("layer.v1.tar+gzip", packed.Bytes())

	const mediaType = "application/vnd.oci.image.manifest.v1+json"
	data, _ := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": mediaType, "config": config, "layers": []sdk.Descriptor{layer}})
	im.manifest = sdk.Manifest{Digest: digest(data), MediaType: mediaType, Data: data}
	return im
}

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }
