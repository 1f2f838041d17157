package lab

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A blob is the content behind a digest, as a registry holds it. Nobody has
// checked it: a registry is not to be trusted, and a test may put a wrong one
// there.
type blob struct {
	io.ReadCloser
	size int64
}

// blob opens a blob; the error wraps fs.ErrNotExist if there is none. The caller
// closes it.
func (r *registries) blob(repo dockerRepo, digest string) (blob, error) {
	f, err := os.Open(filepath.Join(r.dir, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:")))
	if errors.Is(err, fs.ErrNotExist) {
		return r.standInBlob(repo, digest)
	}
	if err != nil {
		return blob{}, err
	}
	fi, err := f.Stat()
	if err != nil {
		return blob{}, errors.Join(err, f.Close())
	}
	return blob{f, fi.Size()}, nil
}
