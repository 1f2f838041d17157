package pve

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/tengil/tengil/engine"
)

// A Manifest is an OCI or Docker (schema 2) image manifest, or an index of them.
// What "skopeo inspect --raw" prints is one.
type Manifest struct {
	MediaType string
	Config    Descriptor   // of a manifest
	Layers    []Descriptor // of a manifest, base first
	Entries   []Descriptor // of an index
}

// A Descriptor names a blob or, in an index, a manifest.
type Descriptor struct {
	MediaType string   `json:"mediaType"`
	Digest    string   `json:"digest"`
	Size      int64    `json:"size"`
	Platform  Platform `json:"platform"`
}

// A Platform says what an entry of an index is for.
type Platform struct {
	OS      string `json:"os"`
	Arch    string `json:"architecture"`
	Variant string `json:"variant"`
}

// IsIndex reports whether m lists manifests instead of layers.
func (m Manifest) IsIndex() bool { return len(m.Entries) > 0 }

// Size returns the sum of the layers' compressed sizes.
func (m Manifest) Size() int64 {
	var n int64
	for _, l := range m.Layers {
		n += l.Size
	}
	return n
}

// Bounds of what a node is given. An image beyond them is a mistake or a trick: its
// manifest only says the sizes, and the layers would have to be read to know better.
const (
	MaxManifest  = 4 << 20        // bytes of a manifest or a config
	MaxImageSize = 1 * engine.TiB // of all layers, compressed
	maxLayers    = 1000
)

// CheckLayers refuses an image whose layers Proxmox cannot unpack into the given
// number of diff_ids (proxmox-oci): it takes tar, also with gzip or zstd.
func (m Manifest) CheckLayers(diffIDs int) error {
	switch {
	case m.IsIndex():
		return errors.New("image is an index inside of an index, which Proxmox does not follow")
	case len(m.Layers) == 0:
		return errors.New("image has no layers, so nothing could be unpacked")
	case len(m.Layers) > maxLayers:
		return fmt.Errorf("image has %d layers; wanted at most %d", len(m.Layers), maxLayers)
	case len(m.Layers) != diffIDs:
		return fmt.Errorf("image has %d layers, but its config tells the digests of %d", len(m.Layers), diffIDs)
	}
	var total engine.Size
	for i, l := range m.Layers {
		if !layerType().MatchString(l.MediaType) {
			return fmt.Errorf("layer %d of the image has media type %q; Proxmox unpacks tar, tar+gzip and tar+zstd", i+1, l.MediaType)
		}
		if total += engine.Size(l.Size); l.Size > int64(MaxImageSize) || total > MaxImageSize {
			return fmt.Errorf("layers of the image have %d bytes or more, as its manifest says; wanted at most %s", total, MaxImageSize)
		}
	}
	return nil
}

// layerType matches the media types of layers that pct create unpacks, and those
// of Docker that skopeo turns into them.
var layerType = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^application/vnd\.oci\.image\.layer\.(nondistributable\.)?v1\.tar(\+gzip|\+zstd)?$|` +
		`^application/vnd\.docker\.image\.rootfs\.(foreign\.)?diff\.tar(\.gzip|\.zstd)?$`)
})

// Pick returns the entry of an index for linux on arch; among several the first.
func (m Manifest) Pick(arch string) (Descriptor, error) {
	var have []string
	for _, e := range m.Entries {
		if e.Platform.OS == "linux" && e.Platform.Arch == arch {
			if strings.Contains(e.MediaType, "index") || strings.Contains(e.MediaType, "manifest.list") {
				return Descriptor{}, fmt.Errorf("entry for linux/%s of the index is an index again, which Proxmox does not follow", arch)
			}
			return e, nil
		}
		if e.Platform.OS != "unknown" {
			have = append(have, strings.TrimSuffix(e.Platform.OS+"/"+e.Platform.Arch+"/"+e.Platform.Variant, "/"))
		}
	}
	return Descriptor{}, fmt.Errorf("image has no linux/%s; it has %s", arch, strings.Join(have, ", "))
}

// ParseManifest reads a manifest or an index and checks that all digests in it
// are well-formed.
func ParseManifest(data []byte) (Manifest, error) {
	var j struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        Descriptor   `json:"config"`
		Layers        []Descriptor `json:"layers"`
		Manifests     []Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return Manifest{}, fmt.Errorf("image manifest: %w", err)
	}
	m := Manifest{MediaType: j.MediaType, Config: j.Config, Layers: j.Layers, Entries: j.Manifests}
	if j.SchemaVersion == 1 {
		return Manifest{}, engine.WithHint(errors.New("image manifest has schemaVersion 1, a format that registries gave up in 2017; wanted 2"),
			"have the image pushed anew with a tool of today, or choose another tag")
	}
	if j.SchemaVersion != 2 {
		return Manifest{}, fmt.Errorf("image manifest has schemaVersion %d; wanted 2", j.SchemaVersion)
	}
	if !m.IsIndex() && m.Config.Digest == "" {
		return Manifest{}, errors.New("image manifest names neither a config nor other manifests")
	}
	all := append(append([]Descriptor(nil), m.Layers...), m.Entries...)
	if !m.IsIndex() {
		all = append(all, m.Config)
	}
	for _, d := range all {
		if err := CheckDigest(d.Digest); err != nil {
			return Manifest{}, fmt.Errorf("image manifest: %w", err)
		}
		if d.Size < 0 {
			return Manifest{}, fmt.Errorf("image manifest: %s has size %d", d.Digest, d.Size)
		}
	}
	return m, nil
}

// Digest returns "sha256:" and the sum of data in hex.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// CheckDigest refuses what is no sha256 digest.
func CheckDigest(s string) error {
	if !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(s) {
		return fmt.Errorf("%q is no digest; wanted sha256: and 64 hex digits", s)
	}
	return nil
}
