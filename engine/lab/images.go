package lab

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// StandInNotice says what the images of a lab are. A command that shows a lab's
// work to people prints it once.
const StandInNotice = "lab: stand-in images, nothing real runs"

// An ImageSpec is an image to be put into the lab's registry. The zero value is
// an image for linux/amd64 with no files.
type ImageSpec struct {
	Entrypoint, Cmd  []string
	Env              []string // K=V
	User, WorkingDir string
	Volumes          []string
	Ports            []string // "80/tcp"
	StopSignal       string
	Labels           map[string]string
	Arch, OS         string // "" is amd64, linux

	// Base, if set, is a distribution whose files are in the first layer too:
	// "debian12", "debian13", "ubuntu24", "alpine", "ubi" or, unknown to pct
	// create, "wolfi"; "busybox" has no os-release, "distroless" no shell.
	Base string
	// Files are the first layer: content by path without a leading slash. A path
	// that ends in a slash is a directory. Parents are made.
	Files map[string]string
	// Layers are further layers, entry by entry as they shall stand in the tar.
	Layers [][]LayerEntry

	// Docker gives the image Docker's media types (schema 2) instead of OCI's.
	Docker bool
	// Platforms, if set, makes a multi-platform index of one image for each
	// architecture; Arch does not count then.
	Platforms []string
	// Raw, if set, may change the image before its config and manifest are
	// written, into one that no honest tool would make.
	Raw func(*RawImage)
}

// A LayerEntry is an entry of a layer. Size follows from Content; a Typeflag of
// 0 is a file, a Mode of 0 is 0644 or 0755.
type LayerEntry struct {
	tar.Header
	Content string
}

// A RawImage is an image about to be put together.
type RawImage struct {
	Layers  []RawLayer
	Created *time.Time // nil leaves it out of the config
	// Config and Manifest, if set, return what is stored in place of the JSON that
	// they are given.
	Config, Manifest func(data []byte) []byte
}

// A RawLayer is a layer as it will be stored.
type RawLayer struct {
	MediaType string
	Blob      []byte
	DiffID    string
	// Digest is what the manifest says of Blob; "" is Blob's real one.
	Digest string
}

// AddImage puts an image into the lab's registry, where skopeo finds it as ref:
// "ghcr.io/x/y:v1". It returns the digest that the tag now has. Registries on
// localhost and 127.0.0.1 speak HTTP, others HTTPS.
func (l *Lab) AddImage(ref string, spec ImageSpec) (digest string, err error) {
	repo, tag, _, err := parseDockerRef(ref)
	if err == nil && tag == "" {
		err = errors.New("wanted a tag, got a digest")
	}
	if err != nil {
		return "", fmt.Errorf("add image %q: %w", ref, err)
	}
	p, err := buildImage(spec)
	if err != nil {
		return "", fmt.Errorf("add image %q: %w", ref, err)
	}
	p.tags = []string{tag}
	if err := l.node.registries().put(repo, p); err != nil {
		return "", fmt.Errorf("add image %q: %w", ref, err)
	}
	return p.digest(), nil
}

// imageTime is when every image of the lab was made, so that digests do not change.
func imageTime() time.Time { return time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC) }

// buildImage makes all that a registry stores of an image. Equal specs give
// equal bytes.
func buildImage(spec ImageSpec) (push, error) {
	p := push{blobs: map[string][]byte{}}
	if len(spec.Platforms) == 0 {
		_, err := p.addImage(spec)
		return p, err
	}
	index := manifest{SchemaVersion: 2, MediaType: mediaOCIIndex}
	if spec.Docker {
		index.MediaType = mediaDockerList
	}
	for _, arch := range spec.Platforms {
		one := spec
		one.Arch = arch
		d, err := p.addImage(one)
		if err != nil {
			return push{}, err
		}
		d.Platform = &platform{Architecture: arch, OS: orElse(spec.OS, "linux")}
		index.Manifests = append(index.Manifests, d)
	}
	_, err := p.addManifest(index, nil)
	return p, err
}

// addImage adds one image for one platform.
func (p *push) addImage(spec ImageSpec) (descriptor, error) {
	raw, err := rawImage(spec)
	if err != nil {
		return descriptor{}, err
	}
	if spec.Raw != nil {
		spec.Raw(raw)
	}
	m := manifest{SchemaVersion: 2, MediaType: mediaOCIManifest}
	configType := mediaOCIConfig
	if spec.Docker {
		m.MediaType, configType = mediaDockerManifest, mediaDockerConfig
	}
	config := spec.configFile()
	config.Created = raw.Created
	for _, l := range raw.Layers {
		digest := orElse(l.Digest, digestOf(l.Blob))
		p.blobs[digest] = l.Blob
		m.Layers = append(m.Layers, descriptor{MediaType: l.MediaType, Digest: digest, Size: int64(len(l.Blob))})
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.DiffID)
	}
	data, err := json.Marshal(config)
	if err != nil {
		return descriptor{}, err
	}
	if raw.Config != nil {
		data = raw.Config(data)
	}
	p.blobs[digestOf(data)] = data
	m.Config = &descriptor{MediaType: configType, Digest: digestOf(data), Size: int64(len(data))}
	return p.addManifest(m, raw.Manifest)
}

// addManifest adds a manifest, or what change makes of it.
func (p *push) addManifest(m manifest, change func([]byte) []byte) (descriptor, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return descriptor{}, err
	}
	if change != nil {
		data = change(data)
	}
	d := descriptor{MediaType: m.MediaType, Digest: digestOf(data), Size: int64(len(data))}
	p.manifests = append(p.manifests, storedManifest{Digest: d.Digest, MediaType: m.MediaType, Data: data})
	return d, nil
}

// configFile returns the config blob without its date and layers.
func (s ImageSpec) configFile() ociConfigFile {
	return ociConfigFile{
		Architecture: orElse(s.Arch, "amd64"), OS: orElse(s.OS, "linux"),
		Config: ociConfig{
			User: s.User, ExposedPorts: set(s.Ports), Env: s.Env, Entrypoint: s.Entrypoint, Cmd: s.Cmd,
			Volumes: set(s.Volumes), WorkingDir: s.WorkingDir, Labels: s.Labels, StopSignal: s.StopSignal,
		},
		RootFS: ociRootFS{Type: "layers", DiffIDs: []string{}},
	}
}

func set(names []string) map[string]struct{} {
	if len(names) == 0 {
		return nil
	}
	m := map[string]struct{}{}
	for _, n := range names {
		m[n] = struct{}{}
	}
	return m
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// rawImage packs the layers.
func rawImage(spec ImageSpec) (*RawImage, error) {
	files, err := spec.allFiles()
	if err != nil {
		return nil, err
	}
	layers := spec.Layers
	if len(files) > 0 {
		layers = slices.Insert(slices.Clone(layers), 0, fileEntries(files, orElse(spec.Arch, "amd64")))
	}
	made := imageTime()
	raw := &RawImage{Created: &made}
	for _, entries := range layers {
		data, err := packTar(entries)
		if err != nil {
			return nil, err
		}
		blob, err := store(data)
		if err != nil {
			return nil, err
		}
		l := RawLayer{MediaType: mediaOCILayer + "+gzip", Blob: blob, DiffID: digestOf(data)}
		if spec.Docker {
			l.MediaType = mediaDockerLayer
		}
		raw.Layers = append(raw.Layers, l)
	}
	return raw, nil
}

// allFiles returns Files and those of Base; Files win.
func (s ImageSpec) allFiles() (map[string]string, error) {
	if s.Base == "" {
		return s.Files, nil
	}
	d, ok := distributions()[s.Base]
	if !ok {
		return nil, fmt.Errorf("unknown base %q", s.Base)
	}
	files := maps.Clone(d.files)
	files["etc/passwd"], files["etc/group"] = d.passwd, d.group
	maps.Copy(files, s.Files)
	return files, nil
}

// fileEntries returns the entries of a layer that holds files and the
// directories that they need, sorted.
func fileEntries(files map[string]string, arch string) []LayerEntry {
	all := map[string]string{}
	for name, content := range files {
		for dir := path.Dir(strings.TrimSuffix(name, "/")); dir != "."; dir = path.Dir(dir) {
			all[dir+"/"] = ""
		}
		all[name] = content
	}
	var entries []LayerEntry
	for _, name := range slices.Sorted(maps.Keys(all)) {
		e := LayerEntry{Header: tar.Header{Name: name}, Content: all[name]}
		switch {
		case strings.HasSuffix(name, "/"):
			e.Typeflag = tar.TypeDir
		case e.Content == placeholder:
			e.Mode, e.Content = 0o755, elfHeader(arch)
		}
		entries = append(entries, e)
	}
	return entries
}

func packTar(entries []LayerEntry) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Header
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		h.Size = int64(len(e.Content))
		if h.Mode == 0 {
			h.Mode = 0o644
			if h.Typeflag == tar.TypeDir {
				h.Mode = 0o755
			}
		}
		if h.ModTime.IsZero() {
			h.ModTime = imageTime()
		}
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte(e.Content)); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// store wraps data as a gzip stream without compressing it: what a compressor
// makes of the same data changes with its version, and digests with it.
func store(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.NoCompression)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// placeholder as a file's content makes it an executable that is nothing but
// an ELF header: pct create reads the architecture out of that of /bin/sh.
const placeholder = "\x7fELF"

// elfHeader returns the header of a 64-bit little-endian executable.
func elfHeader(arch string) string {
	machine := map[string]uint16{"amd64": 62, "arm64": 183, "riscv64": 243}[arch]
	h := make([]byte, 64)
	copy(h, placeholder)
	h[4], h[5], h[6] = 2, 1, 1 // 64 bit, little-endian, version 1
	binary.LittleEndian.PutUint16(h[16:], 2)
	binary.LittleEndian.PutUint16(h[18:], machine)
	binary.LittleEndian.PutUint32(h[20:], 1)
	binary.LittleEndian.PutUint16(h[52:], 64)
	return string(h)
}
