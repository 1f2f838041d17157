package lab

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// guestTar is tar in a container, as far as files are copied with it: -cf - and
// -xf - with -C.
func guestTar(g *guestProc) int {
	o, names, err := grammar{names: "c x f: C: help"}.parse(g.argv[1:])
	switch {
	case err != nil:
		return g.failf(2, "tar: %v", err)
	case o.has("help"):
		fmt.Fprintln(g.stdout, "Usage: tar c|x -f FILE -C DIR [FILE]...")
		return 0
	case o.last("f") != "-" || o.has("c") == o.has("x"):
		return g.failf(2, "tar: the lab models -cf - and -xf - only")
	}
	dir, err := g.root.real(absolute(g.dir, o.last("C")), true)
	if fi, statErr := os.Stat(g.node.host(dir)); err != nil || statErr != nil || !fi.IsDir() {
		return g.failf(1, "tar: can't change directory to '%s': No such file or directory", o.last("C"))
	}
	if o.has("x") {
		err = g.untar(dir)
	} else {
		err = g.tar(dir, names)
	}
	if err != nil {
		return g.failf(1, "tar: %s", reason(err))
	}
	return 0
}

// tar writes members of a directory of the node.
func (g *guestProc) tar(dir string, names []string) error {
	w := tar.NewWriter(g.stdout)
	for _, name := range names {
		top := g.node.host(path.Join(dir, name))
		if _, err := os.Lstat(top); err != nil {
			g.failf(1, "tar: %s: No such file or directory", name)
			return errors.New("error exit delayed from previous errors")
		}
		err := filepath.WalkDir(top, func(at string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(top, at)
			if err != nil {
				return err
			}
			return tarMember(w, at, strings.TrimSuffix(name+"/"+filepath.ToSlash(rel), "/."))
		})
		if err != nil {
			return err
		}
	}
	return w.Close()
}

func tarMember(w *tar.Writer, at, name string) error {
	fi, err := os.Lstat(at)
	if err != nil {
		return err
	}
	link, _ := os.Readlink(at) // "" for what is no link
	h, err := tar.FileInfoHeader(fi, link)
	if err != nil {
		return err
	}
	h.Name, h.Uid, h.Gid, h.Uname, h.Gname = name, 0, 0, "root", "root"
	if err := w.WriteHeader(h); err != nil || !fi.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(at)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// untar unpacks into a directory of the node, which nothing leaves.
func (g *guestProc) untar(dir string) error {
	root, err := os.OpenRoot(g.node.host(dir))
	if err != nil {
		return err
	}
	defer root.Close()
	for r := tar.NewReader(g.stdin); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(name, 0o755)
		case tar.TypeSymlink:
			err = root.Symlink(h.Linkname, name)
		case tar.TypeReg:
			err = unpackFile(root, name, r)
		}
		if err != nil {
			return err
		}
		g.node.setOwner(path.Join(dir, name), owner{UID: mappedRoot + h.Uid, GID: mappedRoot + h.Gid, Mode: fs.FileMode(h.Mode).Perm()})
	}
}

func unpackFile(root *os.Root, name string, r io.Reader) error {
	_ = root.Remove(name) // as tar does; a directory stays, and is an error below
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
