// Package archive moves files between this machine and an archive of tar: what
// Pack writes any tar unpacks, and what Unpack reads may come from a container that
// nobody trusts.
package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

// A Summary tells what was copied.
type Summary struct {
	Files int   `json:"files"` // regular ones
	Bytes int64 `json:"bytes"`
	// LeftOut are what is neither file nor directory, and links that lead out.
	LeftOut []string `json:"left_out,omitempty"`
}

// Size returns how many bytes of files Pack would copy.
func Size(src string) (int64, error) {
	var total int64
	err := walk(src, func(_, _ string, fi fs.FileInfo) error {
		if fi.Mode().IsRegular() {
			total += fi.Size()
		}
		return nil
	})
	return total, err
}

// Pack writes the file or directory src to w, called name in the archive and with
// the mode perm. All of it belongs to root there; what lies below a directory keeps
// its mode.
func Pack(w io.Writer, src, name string, perm fs.FileMode) (Summary, error) {
	var s Summary
	t := tar.NewWriter(w)
	err := walk(src, func(at, rel string, fi fs.FileInfo) error {
		member := path.Join(name, rel)
		mode := fi.Mode()
		if rel == "." {
			mode = mode.Type() | perm.Perm()
		}
		h := &tar.Header{Name: member, Mode: int64(mode.Perm()), ModTime: fi.ModTime().Truncate(time.Second)}
		h.Format = tar.FormatGNU // busybox takes its long names, and not those of PAX
		switch {
		case mode.IsDir():
			h.Typeflag, h.Name = tar.TypeDir, member+"/"
		case mode.IsRegular():
			h.Typeflag, h.Size = tar.TypeReg, fi.Size()
		case mode&fs.ModeSymlink != 0:
			target, err := os.Readlink(at)
			if err != nil {
				return err
			}
			h.Typeflag, h.Linkname = tar.TypeSymlink, filepath.ToSlash(target)
		default:
			s.LeftOut = append(s.LeftOut, at)
			return nil
		}
		if err := t.WriteHeader(h); err != nil || !mode.IsRegular() {
			return err
		}
		n, err := packFile(t, at, fi.Size())
		s.Files, s.Bytes = s.Files+1, s.Bytes+n
		return err
	})
	return s, errors.Join(err, closeIf(err == nil, t))
}

// closeIf ends an archive only if it is whole, so that none looks as if it were.
func closeIf(whole bool, t *tar.Writer) error {
	if !whole {
		return nil
	}
	return t.Close()
}

func packFile(w io.Writer, name string, size int64) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := io.CopyN(w, f, size)
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%q became shorter while it was copied", name)
	}
	return n, err
}

// walk calls do for src and all below it; a link is followed only if it is src
// itself.
func walk(src string, do func(at, rel string, fi fs.FileInfo) error) error {
	src, err := filepath.EvalSymlinks(src)
	if err != nil {
		return err
	}
	return filepath.WalkDir(src, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, at)
		if err != nil {
			return err
		}
		return do(at, filepath.ToSlash(rel), fi)
	})
}
