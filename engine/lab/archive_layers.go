package lab

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Names of whiteouts in a layer, as in the OCI image specification.
const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
)

// extractError returns an *ociError from the unpacking of layers.
func extractError(format string, a ...any) error {
	return &ociError{"extracting", fmt.Errorf(format, a...)}
}

var errDeflate = errors.New("IO error: corrupt deflate stream")

// openLayer returns the uncompressed tar of a layer; the caller closes it. ok is
// false for a media type that proxmox-oci does not know.
func (a *ociArchive) openLayer(d descriptor) (r io.ReadCloser, ok bool, err error) {
	kind := strings.Replace(d.MediaType, ".nondistributable", "", 1)
	if kind != mediaOCILayer && kind != mediaOCILayer+"+gzip" && kind != mediaOCILayer+"+zstd" {
		return nil, false, nil
	}
	blob, err := a.open(blobName(d.Digest))
	if err != nil {
		return nil, true, fmt.Errorf("IO error: %w", err)
	}
	switch kind {
	case mediaOCILayer + "+gzip":
		z, err := gzip.NewReader(blob)
		if err != nil {
			return nil, true, errors.Join(errDeflate, blob.Close())
		}
		return &sectionReader{z, blob}, true, nil
	case mediaOCILayer + "+zstd":
		z, err := zstd.NewReader(blob)
		if err != nil {
			return nil, true, errors.Join(fmt.Errorf("IO error: %w", err), blob.Close())
		}
		return &zstdReader{z, blob}, true, nil
	}
	return blob, true, nil
}

// A zstdReader closes the decoder and the blob below it.
type zstdReader struct {
	*zstd.Decoder
	blob io.Closer
}

func (z *zstdReader) Close() error { z.Decoder.Close(); return z.blob.Close() }

// A layer is one of the image, whose diff id was found to be right.
type layer struct {
	descriptor
	plain *section // of the archive's plain, with the layer's tar; nil: not kept
}

// maxKept is how many bytes of uncompressed layers an archive keeps, so that a
// bomb does not fill the disk; what is not kept is decompressed each time.
const maxKept = 1 << 30

// orderedLayers returns the layers in the order of the config's diff_ids, which
// are found by computing those of all layers (proxmox-oci lib.rs).
func (a *ociArchive) orderedLayers() ([]layer, error) {
	if a.ordered != nil {
		return a.ordered, nil
	}
	byDiffID := map[string]layer{}
	for _, d := range a.layers {
		id, l, err := a.identify(d)
		if err != nil {
			return nil, &ociError{"extracting", err}
		}
		if id != "" {
			byDiffID[id] = l
		}
	}
	var layers []layer
	for _, id := range a.diffIDs {
		l, ok := byDiffID[id]
		if !ok {
			return nil, extractError("Unknown layer digest %s found in rootfs.diff_ids", id)
		}
		layers = append(layers, l)
	}
	a.ordered = layers
	return layers, nil
}

// identify decompresses a layer, keeps what comes out if it can, and returns its
// diff id; "" for a media type that proxmox-oci does not know.
func (a *ociArchive) identify(d descriptor) (id string, l layer, err error) {
	r, ok, err := a.openLayer(d)
	if !ok || err != nil {
		return "", layer{}, err
	}
	defer r.Close()
	h := sha256.New()
	k := &keeper{archive: a, section: section{offset: a.kept}}
	if _, err := pour(io.MultiWriter(h, k), r); err != nil {
		return "", layer{}, layerReadError(err)
	}
	l = layer{descriptor: d}
	if !k.failed {
		l.plain = &k.section
		a.kept += k.size
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), l, nil
}

// A keeper appends a layer to the archive's plain, if there is room. Its writes
// never fail.
type keeper struct {
	archive *ociArchive
	section
	failed bool
}

func (k *keeper) Write(p []byte) (int, error) {
	if !k.failed {
		k.failed = k.keep(p) != nil
	}
	return len(p), nil
}

func (k *keeper) keep(p []byte) error {
	a := k.archive
	if a.plain == nil {
		f, err := os.CreateTemp(a.node.dir, newPrefix+"*")
		if err != nil {
			return err
		}
		a.plain = f
	}
	at, err := k.offset+k.size, errNoRoom
	if at+int64(len(p)) <= maxKept {
		_, err = a.plain.WriteAt(p, at)
	}
	if err != nil && k.size > 0 {
		err = errors.Join(err, a.plain.Truncate(k.offset))
	}
	k.size += int64(len(p))
	return err
}

var errNoRoom = errors.New("more than is kept")

// layerReadError puts an error of a decompressor into proxmox-oci's words.
func layerReadError(err error) error {
	var corrupt interface{ Error() string }
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader):
		return errDeflate
	case errors.As(err, &corrupt) && strings.HasPrefix(corrupt.Error(), "flate: "):
		return errDeflate
	}
	return fmt.Errorf("IO error: %w", err)
}

// eachEntry calls f with the entries of a layer in order. content is valid
// during the call.
func (a *ociArchive) eachEntry(l layer, f func(h *tar.Header, content io.Reader) error) error {
	var in io.Reader
	if l.plain != nil {
		in = io.NewSectionReader(a.plain, l.plain.offset, l.plain.size)
	} else {
		r, _, err := a.openLayer(l.descriptor)
		if err != nil {
			return &ociError{"extracting", err}
		}
		defer r.Close()
		in = r
	}
	tr := tar.NewReader(in)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return &ociError{"extracting", layerReadError(err)}
		}
		if err := f(h, tr); err != nil {
			return err
		}
	}
}

// layerName returns the path below the root that an entry's name means, "."
// for the root itself. A leading slash is dropped; ok is false for names with
// ".." in them, which tar-rs passes over.
func layerName(name string) (clean string, ok bool) {
	for elem := range strings.SplitSeq(name, "/") {
		if elem == ".." {
			return "", false
		}
	}
	return path.Join(".", strings.TrimLeft(name, "/")), true
}

// A whiteout is what a layer says about the layers below it: name is removed,
// or, if opaque, all that is in it.
type whiteout struct {
	name   string
	opaque bool
}

// parseWhiteout returns the whiteout that an entry of that name is.
func parseWhiteout(name string) (w whiteout, ok bool) {
	dir, base := path.Split(name)
	if base == opaqueMarker {
		return whiteout{path.Clean(dir), true}, true
	}
	if hidden, ok := strings.CutPrefix(base, whiteoutPrefix); ok && hidden != "" {
		return whiteout{path.Join(dir, hidden), false}, true
	}
	return whiteout{}, false
}
