package lab

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// maxID is the highest user and group id that the id map of a container has.
const maxID = 65535

// An unpacking says where an image is unpacked and who is told. Only dir must be set.
type unpacking struct {
	dir string // of the lab's machine; it exists
	// shown is the directory's name in error texts: on a node
	// "/var/lib/lxc/101/rootfs". Empty is dir.
	shown string
	// limit is how many bytes of files fit; 0 is no limit.
	limit int64
	full  bool // none fits, whatever limit says
	// own is told whose each entry is, with ids as in the container. name is
	// relative to dir and clean.
	own func(name string, o owner)
	// owned is set if own gives the entry to its owner; else the entry keeps the
	// lab's, which must be able to read, change and remove it.
	owned bool
	// attr is told an extended attribute of an entry; nil leaves them out.
	attr func(name, attr, value string) error
	// step is called between two entries; its error ends the unpacking as it is.
	step func() error
}

// Unpack unpacks the image into a directory of the lab's machine, which exists.
// See unpack.
func (a *ociArchive) Unpack(hostDir string) error {
	return a.unpack(unpacking{dir: hostDir})
}

// unpack unpacks all layers in order: first a layer's whiteouts and opaque
// directories, then its entries. Nothing is written outside u.dir, whatever the
// archive holds; device nodes and pipes become empty files. Errors have the
// texts of proxmox-oci: "Error while extracting OCI image: …".
func (a *ociArchive) unpack(u unpacking) error {
	if u.shown == "" {
		u.shown = u.dir
	}
	layers, err := a.orderedLayers()
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(u.dir)
	if err != nil {
		return extractError("IO error: %v", err)
	}
	defer root.Close()
	x := &extractor{unpacking: u, root: root}
	for _, l := range layers {
		if err := x.layer(a, l); err != nil {
			return err
		}
	}
	return nil
}

// An extractor unpacks layers below root, which lets no path lead out of it.
type extractor struct {
	unpacking
	root    *os.Root
	dirs    []*tar.Header // of the layer at hand; made when all else is there
	written int64
	begun   bool // something was unpacked
}

func (x *extractor) layer(a *ociArchive, l layer) error {
	if err := a.eachEntry(l, x.remove); err != nil {
		return err
	}
	x.dirs = nil
	if err := a.eachEntry(l, x.entry); err != nil {
		return err
	}
	for _, h := range x.dirs {
		if err := x.makeDir(h); err != nil {
			return err
		}
	}
	// Deepest first, so that a closed directory does not lock its own tree out.
	for i := len(x.dirs) - 1; i >= 0; i-- {
		if err := x.finish(x.dirs[i]); err != nil {
			return err
		}
	}
	return nil
}

// remove applies the entry if it is a whiteout.
func (x *extractor) remove(h *tar.Header, _ io.Reader) error {
	name, ok := layerName(h.Name)
	if !ok {
		return nil
	}
	w, ok := parseWhiteout(name)
	if !ok {
		return nil
	}
	if !w.opaque {
		// What leads outside is not removed, and is no error.
		_ = x.root.RemoveAll(w.name)
		return nil
	}
	dir, err := x.root.Open(w.name)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	for _, name := range names {
		_ = x.root.RemoveAll(path.Join(w.name, name))
	}
	return nil
}

// entry unpacks one entry that is no whiteout. Directories wait until the rest
// of the layer is there, as in tar-rs.
func (x *extractor) entry(h *tar.Header, content io.Reader) error {
	name, ok := layerName(h.Name)
	if !ok {
		return nil
	}
	if _, ok := parseWhiteout(name); ok {
		return nil
	}
	if x.step != nil && x.begun {
		if err := x.step(); err != nil {
			return err
		}
	}
	h.Name = name
	if h.Typeflag == tar.TypeDir {
		x.dirs = append(x.dirs, h)
		return nil
	}
	if err := x.makeParents(path.Dir(name)); err != nil {
		return err
	}
	if err := x.write(h, content); err != nil {
		return err
	}
	x.begun = true
	return x.finish(h)
}

// write puts a file or link in place of whatever is there.
func (x *extractor) write(h *tar.Header, content io.Reader) error {
	if name, _ := layerName(h.Linkname); h.Typeflag != tar.TypeLink || name != h.Name {
		if err := x.root.RemoveAll(h.Name); err != nil {
			return x.failed("unpack", h.Name)
		}
	}
	var err error
	switch h.Typeflag {
	case tar.TypeSymlink:
		err = x.root.Symlink(h.Linkname, h.Name)
	case tar.TypeLink:
		err = x.link(h)
	default:
		err = x.writeFile(h, content)
	}
	var broken *ociError
	if errors.As(err, &broken) {
		return err
	}
	if err != nil {
		return x.failed("unpack", h.Name)
	}
	return nil
}

// link makes a hard link to what is inside already.
func (x *extractor) link(h *tar.Header) error {
	target, ok := layerName(h.Linkname)
	if !ok {
		return fs.ErrInvalid
	}
	if target == h.Name {
		return nil
	}
	return x.root.Link(target, h.Name)
}

func (x *extractor) writeFile(h *tar.Header, content io.Reader) error {
	if x.written += h.Size; x.limit > 0 && x.written > x.limit || x.full && h.Size > 0 {
		return syscall.ENOSPC
	}
	f, err := x.root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	in := &sourceReader{r: content}
	_, err = pour(f, in)
	err = errors.Join(err, f.Close())
	if in.err != nil {
		return &ociError{"extracting", layerReadError(in.err)}
	}
	return err
}

// A sourceReader keeps the error of reading, to tell it from one of writing.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// makeDir makes a directory. One that is there stays, also behind a link.
func (x *extractor) makeDir(h *tar.Header) error {
	if h.Name == "." {
		return nil
	}
	if err := x.makeParents(path.Dir(h.Name)); err != nil {
		return err
	}
	err := x.root.Mkdir(h.Name, 0o755)
	if errors.Is(err, fs.ErrExist) {
		if fi, err := x.root.Stat(h.Name); err == nil && fi.IsDir() {
			return nil
		}
	}
	if err != nil {
		return x.failed("unpack", h.Name)
	}
	return nil
}

// makeParents makes dir and what is missing above it, and checks that it does
// not lie outside.
func (x *extractor) makeParents(dir string) error {
	if dir == "." {
		return nil
	}
	if _, err := x.root.Lstat(dir); err != nil {
		if err := x.makeParents(path.Dir(dir)); err != nil {
			return x.parentError(err, dir)
		}
		if err := x.root.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return x.failed("create", dir)
		}
		return nil
	}
	if _, err := x.root.Stat(dir); escapes(err) {
		return extractError("IO error: trying to unpack outside of destination path: %s", x.shown)
	}
	return nil
}

// parentError is what is said when dir cannot be made since a parent lies
// outside: it is dir that could not be created.
func (x *extractor) parentError(err error, dir string) error {
	if _, e := x.root.Lstat(path.Dir(dir)); e == nil {
		return x.failed("create", dir)
	}
	return err
}

// escapes reports whether os.Root refused a path that leads out of it: it has no
// exported error for that, but every other refusal is the kernel's.
func escapes(err error) bool {
	var errno syscall.Errno
	return err != nil && !errors.As(err, &errno)
}

// finish sets mode and owner.
func (x *extractor) finish(h *tar.Header) error {
	if h.Uid > maxID || h.Gid > maxID {
		return x.failed("unpack", h.Name)
	}
	if x.own != nil {
		x.own(filepath.ToSlash(h.Name), owner{UID: h.Uid, GID: h.Gid, Mode: fs.FileMode(h.Mode) & 0o7777})
	}
	if h.Typeflag == tar.TypeSymlink || h.Typeflag == tar.TypeLink {
		return nil
	}
	if err := x.setAttrs(h); err != nil {
		return x.failed("unpack", h.Name)
	}
	if !h.ModTime.IsZero() {
		if err := x.root.Chtimes(h.Name, h.ModTime, h.ModTime); err != nil {
			return x.failed("unpack", h.Name)
		}
	}
	if x.owned {
		return nil
	}
	perm := fs.FileMode(h.Mode) & 0o777
	perm |= 0o600
	if h.Typeflag == tar.TypeDir {
		perm |= 0o700
	}
	if err := x.root.Chmod(h.Name, perm); err != nil {
		return x.failed("unpack", h.Name)
	}
	return nil
}

// setAttrs sets the extended attributes of an entry.
func (x *extractor) setAttrs(h *tar.Header) error {
	if x.attr == nil {
		return nil
	}
	for key, value := range h.PAXRecords {
		if attr, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
			if err := x.attr(filepath.ToSlash(h.Name), attr, value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *extractor) failed(what, name string) error {
	return extractError("IO error: failed to %s `%s`", what, path.Join(x.shown, name))
}
