// Package imagefile reads images out of files: OCI layouts, in a folder or in a tar,
// and what docker save writes. Nothing is unpacked; a blob is read where it lies.
package imagefile

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/tengil/tengil/engine"
)

// A File holds images.
type File struct {
	images []image
	source source
	blobs  map[string]string // of docker save: digest → member
}

// An image is an entry of an index, or what docker save says of one.
type image struct {
	names    []string // tags
	platform string   // architecture; "" if nobody says
	manifest engine.Manifest
	index    bool // manifest lists others, which are to be read
}

// A source opens members by name; the error wraps fs.ErrNotExist if there is none.
type source interface {
	open(name string) (io.ReadCloser, int64, error)
}

// Limits of what is read into memory, and of how many members a tar has.
const (
	maxJSON    = engine.MaxManifest
	maxMembers = 200_000
)

// Folder reads an OCI layout in a folder.
func Folder(dir fs.FS) (*File, error) { return read(folder{dir}) }

type folder struct{ fs.FS }

func (f folder) open(name string) (io.ReadCloser, int64, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, 0, err
	}
	st, err := file.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, st.Size(), nil
}

// Tar reads an OCI layout or what docker save wrote, in a tar that is not
// compressed. It reads the headers of its members and what they name alone.
func Tar(r io.ReaderAt, size int64) (*File, error) {
	members := map[string]member{}
	at := io.NewSectionReader(r, 0, size)
	for t := tar.NewReader(at); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("this is no tar, or it is compressed: %w", err)
		}
		if len(members) == maxMembers {
			return nil, fmt.Errorf("it has more than %d members", maxMembers)
		}
		name := path.Clean(strings.TrimPrefix(h.Name, "/"))
		switch h.Typeflag {
		case tar.TypeReg:
			offset, err := at.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, err
			}
			members[name] = member{offset: offset, size: h.Size}
		case tar.TypeSymlink: // docker save, for layers that images share
			members[name] = member{link: path.Join(path.Dir(name), h.Linkname)}
		case tar.TypeLink:
			members[name] = member{link: path.Clean(h.Linkname)}
		}
	}
	return read(tarFile{r, members})
}

type member struct {
	offset, size int64
	link         string
}

type tarFile struct {
	r       io.ReaderAt
	members map[string]member
}

func (f tarFile) open(name string) (io.ReadCloser, int64, error) {
	m, ok := f.members[name]
	if ok && m.link != "" {
		m, ok = f.members[m.link]
	}
	if !ok || m.link != "" {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(io.NewSectionReader(f.r, m.offset, m.size)), m.size, nil
}

func slurp(s source, name string) ([]byte, error) {
	r, size, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > maxJSON {
		return nil, fmt.Errorf("%s has %d bytes; at most %d are taken", name, size, maxJSON)
	}
	return io.ReadAll(io.LimitReader(r, maxJSON))
}

func slurpJSON(s source, name string, v any) error {
	data, err := slurp(s, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func read(s source) (*File, error) {
	f := &File{source: s, blobs: map[string]string{}}
	err := f.readIndex()
	if errors.Is(err, fs.ErrNotExist) {
		err = f.readDocker()
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("it holds neither index.json nor manifest.json, so it is no image")
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

type descriptor struct {
	engine.Descriptor
	Platform struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
	} `json:"platform"`
	Annotations map[string]string `json:"annotations"`
}

// readIndex reads an OCI layout.
func (f *File) readIndex() error {
	var index struct {
		Manifests []descriptor `json:"manifests"`
	}
	if err := slurpJSON(f.source, "index.json", &index); err != nil {
		return err
	}
	for _, d := range index.Manifests {
		im, err := f.described(d)
		if err != nil {
			return err
		}
		for _, key := range []string{"org.opencontainers.image.ref.name", "io.containerd.image.name"} {
			if name := d.Annotations[key]; name != "" {
				im.names = append(im.names, tagOf(name))
			}
		}
		f.images = append(f.images, im)
	}
	return nil
}

// tagOf returns the tag of "1.0" or of "registry.lan/app:1.0".
func tagOf(name string) string {
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		return name[i+1:]
	}
	return name
}

func blobName(digest string) string { return "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:") }

func (f *File) described(d descriptor) (image, error) {
	m := engine.Manifest{Digest: d.Digest, MediaType: d.MediaType}
	if err := m.Check(); err != nil {
		return image{}, err
	}
	data, err := slurp(f.source, blobName(d.Digest))
	if err != nil {
		return image{}, fmt.Errorf("manifest %s: %w", d.Digest, hide(err))
	}
	m.Data = data
	if err := m.Check(); err != nil {
		return image{}, err
	}
	return image{platform: d.Platform.Architecture, manifest: m, index: strings.Contains(d.MediaType, "index") || strings.Contains(d.MediaType, "manifest.list")}, nil
}

// hide keeps that a part of an image is missing from being taken for a missing image.
func hide(err error) error { return errors.New(err.Error()) }

// readDocker reads what docker save writes without an index.
func (f *File) readDocker() error {
	var list []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := slurpJSON(f.source, "manifest.json", &list); err != nil {
		return err
	}
	for _, l := range list {
		config, err := slurp(f.source, path.Clean(l.Config))
		if err != nil {
			return fmt.Errorf("config: %w", hide(err))
		}
		var c struct {
			Architecture string
			RootFS       struct {
				DiffIDs []string `json:"diff_ids"`
			}
		}
		if err := json.Unmarshal(config, &c); err != nil {
			return fmt.Errorf("%s: %w", l.Config, err)
		}
		if len(c.RootFS.DiffIDs) != len(l.Layers) {
			return fmt.Errorf("manifest.json names %d layers; the config has %d", len(l.Layers), len(c.RootFS.DiffIDs))
		}
		const oci = "application/vnd.oci.image."
		of := engine.Descriptor{MediaType: oci + "config.v1+json", Digest: digestOf(config), Size: int64(len(config))}
		f.blobs[of.Digest] = path.Clean(l.Config)
		layers := make([]engine.Descriptor, len(l.Layers))
		for i, name := range l.Layers {
			name = path.Clean(name)
			r, size, err := f.source.open(name)
			if err != nil {
				return fmt.Errorf("layer %s: %w", name, hide(err))
			}
			_ = r.Close()
			// Layers are not compressed here, so their digests are those of the config.
			layers[i] = engine.Descriptor{MediaType: oci + "layer.v1.tar", Digest: c.RootFS.DiffIDs[i], Size: size}
			f.blobs[layers[i].Digest] = name
		}
		m := engine.Manifest{MediaType: oci + "manifest.v1+json"}
		if m.Data, err = json.Marshal(struct {
			SchemaVersion int                 `json:"schemaVersion"`
			MediaType     string              `json:"mediaType"`
			Config        engine.Descriptor   `json:"config"`
			Layers        []engine.Descriptor `json:"layers"`
		}{2, m.MediaType, of, layers}); err != nil {
			return err
		}
		m.Digest = digestOf(m.Data)
		im := image{platform: c.Architecture, manifest: m}
		for _, name := range l.RepoTags {
			im.names = append(im.names, tagOf(name))
		}
		f.images = append(f.images, im)
	}
	return nil
}

func digestOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// Tags returns the tags of the images.
func (f *File) Tags() []string {
	var tags []string
	for _, im := range f.images {
		tags = append(tags, im.names...)
	}
	return tags
}

// Image returns the manifest of the image with that tag, or digest, for an
// architecture. Without either it returns the only one for the architecture. The
// error wraps fs.ErrNotExist if there is none.
func (f *File) Image(tag, digest, arch string) (engine.Manifest, error) {
	var found []engine.Manifest
	for _, im := range f.images {
		if tag != "" && !contains(im.names, tag) {
			continue
		}
		for m, err := range f.platforms(im, arch) {
			if err != nil {
				return engine.Manifest{}, err
			}
			if digest == "" || m.Digest == digest || im.manifest.Digest == digest {
				found = append(found, m)
			}
		}
	}
	switch {
	case len(found) == 0:
		return engine.Manifest{}, fmt.Errorf("it has no image %s for %s: %w", strings.Trim(tag+"@"+digest, "@"), arch, fs.ErrNotExist)
	case len(found) > 1 && found[0].Digest != found[len(found)-1].Digest:
		return engine.Manifest{}, fmt.Errorf("it has %d images for %s, so that a tag is needed; there are %s", len(found), arch, strings.Join(f.Tags(), ", "))
	}
	return found[0], nil
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// platforms yields the manifests of an image for an architecture.
func (f *File) platforms(im image, arch string) func(yield func(engine.Manifest, error) bool) {
	return func(yield func(engine.Manifest, error) bool) {
		if !im.index {
			a, err := f.architecture(im)
			if err != nil || a == arch {
				yield(im.manifest, err)
			}
			return
		}
		var index struct {
			Manifests []descriptor `json:"manifests"`
		}
		if err := json.Unmarshal(im.manifest.Data, &index); err != nil {
			yield(engine.Manifest{}, fmt.Errorf("index %s: %w", im.manifest.Digest, err))
			return
		}
		for _, d := range index.Manifests {
			if d.Platform.Architecture != arch {
				continue
			}
			inner, err := f.described(d)
			if err == nil && inner.index {
				err = errors.New("it has an index within an index")
			}
			if !yield(inner.manifest, err) {
				return
			}
		}
	}
}

// architecture returns what an image is for, of its config if the index does not say.
func (f *File) architecture(im image) (string, error) {
	if im.platform != "" {
		return im.platform, nil
	}
	var m struct{ Config engine.Descriptor }
	if err := json.Unmarshal(im.manifest.Data, &m); err != nil {
		return "", fmt.Errorf("manifest %s: %w", im.manifest.Digest, err)
	}
	if err := (engine.Manifest{Digest: m.Config.Digest}).Check(); err != nil {
		return "", fmt.Errorf("manifest %s: config: %w", im.manifest.Digest, err)
	}
	var c struct{ Architecture string }
	if err := slurpJSON(f.source, blobName(m.Config.Digest), &c); err != nil {
		return "", fmt.Errorf("config %s: %w", m.Config.Digest, hide(err))
	}
	return c.Architecture, nil
}

// Blob opens a blob. The error wraps fs.ErrNotExist if there is none.
func (f *File) Blob(digest string) (io.ReadCloser, error) {
	if err := (engine.Manifest{Digest: digest}).Check(); err != nil {
		return nil, err
	}
	name, ok := f.blobs[digest]
	if !ok {
		name = blobName(digest)
	}
	r, _, err := f.source.open(name)
	if err != nil {
		return nil, err
	}
	return r, nil
}
