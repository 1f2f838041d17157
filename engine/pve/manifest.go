package pve

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
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

// Pick returns the entry of an index for linux on arch; among several the first.
func (m Manifest) Pick(arch string) (Descriptor, error) {
	var have []string
	for _, e := range m.Entries {
		if e.Platform.OS == "linux" && e.Platform.Arch == arch {
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
	if j.SchemaVersion != 2 {
		return Manifest{}, fmt.Errorf("image manifest has schemaVersion %d; wanted 2", j.SchemaVersion)
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
