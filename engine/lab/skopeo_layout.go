package lab

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"strconv"
	"strings"
)

// refName is the annotation that names an image within a layout.
const refName = "org.opencontainers.image.ref.name"

// A layoutSource is an image of an OCI layout, in a directory or an archive.
type layoutSource struct {
	open func(name string) (io.ReadCloser, error) // members by name
	top  descriptor
}

// archiveSource opens an image of an OCI archive, which may be named in it.
func (s *skopeoRun) archiveSource(n imageName) (imageSource, error) {
	file := s.abs(n.path)
	if _, err := s.node.stat(file); err != nil {
		return nil, fmt.Errorf("creating temp directory: archive file not found: %q", n.path)
	}
	members, err := s.node.tarMembers(file)
	if err != nil {
		return nil, fmt.Errorf("creating temp directory: untarring file %q: unexpected EOF", s.tempName("container_images_oci"))
	}
	a := &ociArchive{node: s.node, path: file, members: members}
	return newLayoutSource(a.open, n.image)
}

// layoutSource opens an image of an OCI layout in a directory.
func (s *skopeoRun) layoutSource(n imageName) (imageSource, error) {
	dir := s.abs(n.path)
	return newLayoutSource(func(name string) (io.ReadCloser, error) {
		return s.node.open(path.Join(dir, name), os.O_RDONLY, 0)
	}, n.image)
}

func newLayoutSource(open func(string) (io.ReadCloser, error), image string) (imageSource, error) {
	l := &layoutSource{open: open}
	data, err := l.read("index.json")
	if err != nil {
		return nil, err
	}
	var index manifest
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, err
	}
	if image == "" {
		if len(index.Manifests) != 1 {
			return nil, errors.New("more than one image in oci, choose an image")
		}
		l.top = index.Manifests[0]
		return l, nil
	}
	for _, d := range index.Manifests {
		if d.Annotations[refName] == image {
			l.top = d
			return l, nil
		}
	}
	return nil, fmt.Errorf("no descriptor found for reference %q", image)
}

func (l *layoutSource) read(name string) ([]byte, error) {
	r, err := l.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func (l *layoutSource) manifest(_ context.Context, digest string) (rawManifest, error) {
	data, err := l.read(blobName(orElse(digest, l.top.Digest)))
	if err != nil || digest == "" {
		return rawManifest{data, l.top.MediaType}, err
	}
	m := rawManifest{data: data, mediaType: mediaOCIManifest}
	if parsed, err := m.parse(); err == nil && parsed.MediaType != "" {
		m.mediaType = parsed.MediaType
	}
	return m, nil
}

func (l *layoutSource) blob(_ context.Context, digest string) (io.ReadCloser, error) {
	return l.open(blobName(digest))
}

// A layoutDir is an OCI layout in a directory of the node that is written to.
type layoutDir struct {
	node  *node
	path  string
	blobs string // where its blobs are: path/blobs, or what --dest-shared-blob-dir says
}

// layoutAt returns the layout in a directory of the node, with its blobs in it.
func (n *node) layoutAt(dir string) layoutDir { return layoutDir{n, dir, path.Join(dir, "blobs")} }

// blob returns the path of a blob.
func (l layoutDir) blob(digest string) string {
	return path.Join(l.blobs, strings.TrimPrefix(blobName(digest), "blobs/"))
}

// has reports whether the layout has a blob.
func (l layoutDir) has(digest string) bool {
	_, err := l.node.stat(l.blob(digest))
	return err == nil
}

// putBlob copies a blob into the layout and checks its digest.
func (l layoutDir) putBlob(ctx context.Context, digest string, from io.Reader) error {
	name := l.blob(digest)
	if err := errors.Join(l.node.mkdirAll(path.Dir(name)), l.node.mkdirAll(l.path)); err != nil {
		return err
	}
	part := path.Join(l.path, "oci-put-blob"+strconv.FormatUint(rand.Uint64(), 10)) // as os.CreateTemp names it
	f, err := l.node.create(part, os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	err = copyBlob(ctx, f, from, digest)
	err = errors.Join(err, f.Close())
	var ended *endedError
	switch {
	case errors.As(err, &ended):
		return err // killed: what it has of the blob stays
	case err != nil:
		return errors.Join(err, l.node.removeAll(part))
	}
	return l.node.rename(part, name)
}

// putData stores small data under its digest.
func (l layoutDir) putData(data []byte) error {
	return l.node.writeFile(l.blob(digestOf(data)), data, 0o644)
}

// name puts a manifest into the index in place of the one of the same name.
func (l layoutDir) name(d descriptor) error {
	index := manifest{SchemaVersion: 2}
	data, err := l.node.readFile(path.Join(l.path, "index.json"))
	if err == nil {
		err = json.Unmarshal(data, &index)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	kept := index.Manifests[:0]
	for _, old := range index.Manifests {
		if old.Annotations[refName] != d.Annotations[refName] {
			kept = append(kept, old)
		}
	}
	index.Manifests = append(kept, d)
	if data, err = json.Marshal(index); err != nil {
		return err
	}
	if err := l.node.writeFile(path.Join(l.path, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644); err != nil {
		return err
	}
	return l.node.writeFile(path.Join(l.path, "index.json"), data, 0o644)
}

// writeTar writes the layout as an uncompressed tar into a file of the node,
// which is there, and half of it, from the beginning. step is called half way.
func (l layoutDir) writeTar(file string, step func() error) (err error) {
	members, err := l.list("")
	if err != nil {
		return err
	}
	out, err := l.node.create(file, os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w := tar.NewWriter(out)
	half := len(members) / 2
	for i, m := range members {
		if i == half {
			if err := step(); err != nil {
				return err
			}
		}
		if err := l.writeMember(w, m); err != nil {
			return err
		}
	}
	return w.Close()
}

// list returns the names below dir in the order of the archive: sorted, a
// directory with a slash before what is in it.
func (l layoutDir) list(dir string) ([]string, error) {
	entries, err := l.node.readDir(path.Join(l.path, dir))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if !e.IsDir() {
			names = append(names, name)
			continue
		}
		below, err := l.list(name)
		if err != nil {
			return nil, err
		}
		names = append(append(names, name+"/"), below...)
	}
	return names, nil
}

// writeMember writes one member of the archive.
func (l layoutDir) writeMember(w *tar.Writer, name string) error {
	full := path.Join(l.path, name)
	fi, err := l.node.stat(full)
	if err != nil {
		return err
	}
	h := &tar.Header{Name: name, ModTime: fi.ModTime(), Mode: 0o644, Typeflag: tar.TypeReg, Size: fi.Size()}
	if fi.IsDir() {
		h.Mode, h.Typeflag, h.Size = 0o755, tar.TypeDir, 0
	}
	if err := w.WriteHeader(h); err != nil || fi.IsDir() {
		return err
	}
	f, err := l.node.open(full, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = pour(w, f)
	return err
}
