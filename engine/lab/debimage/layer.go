package debimage

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// merged are the directories that Debian has below usr, with links to them;
// packages may still name the links.
var merged = []string{"bin", "lib", "lib64", "sbin"}

// leftOut is what nobody reads in a container.
var leftOut = []string{
	"usr/share/bug", "usr/share/doc", "usr/share/i18n", "usr/share/info", "usr/share/lintian", "usr/share/locale", "usr/share/man",
	"usr/lib/postgresql/*/lib/bitcode", "usr/lib/postgresql/*/lib/llvmjit*",
}

// A layerWriter writes a layer.
type layerWriter struct {
	tar   *tar.Writer
	made  map[string]bool
	links string // pattern, see description.Programs
}

// writeLayer writes what the image adds, compressed.
func (i *image) writeLayer(ctx context.Context, debs []string, to string) (err error) {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	packed, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return err
	}
	w := &layerWriter{tar: tar.NewWriter(packed), made: map[string]bool{}, links: i.Programs}
	if i.from == nil {
		if err := w.skeleton(); err != nil {
			return err
		}
	}
	for _, file := range debs {
		err := stream(ctx, func(r io.Reader) error { return w.unpack(tar.NewReader(r)) }, "dpkg-deb", "--fsys-tarfile", file)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
	}
	if err := i.accounts(w); err != nil {
		return err
	}
	if err := w.tree(filepath.Join(i.dir, "root")); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(i.Owned)) {
		id, ok := i.Users[i.Owned[name]]
		if !ok {
			return fmt.Errorf("directory %s belongs to %q, who is no user of the image", name, i.Owned[name])
		}
		if err := w.add(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, Uid: id, Gid: id}, nil); err != nil {
			return err
		}
	}
	return errors.Join(w.tar.Close(), packed.Close())
}

// skeleton is what scripts of packages would make.
func (w *layerWriter) skeleton() error {
	links := map[string]string{"var/run": "/run", "var/lock": "/run/lock"}
	for _, dir := range merged {
		links[dir] = "usr/" + dir
		if err := w.add(&tar.Header{Typeflag: tar.TypeDir, Name: "usr/" + dir, Mode: 0o755}, nil); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(links)) {
		if err := w.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: links[name], Mode: 0o777}, nil); err != nil {
			return err
		}
	}
	return w.file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
}

// accounts writes root, nobody and the image's own users.
func (i *image) accounts(w *layerWriter) error {
	passwd, group := "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n", "root:x:0:\nnogroup:x:65534:\n"
	for _, name := range slices.Sorted(maps.Keys(i.Users)) {
		id := i.Users[name]
		passwd += fmt.Sprintf("%s:x:%d:%d::/nonexistent:/usr/sbin/nologin\n", name, id, id)
		group += fmt.Sprintf("%s:x:%d:\n", name, id)
	}
	for _, name := range slices.Sorted(maps.Keys(i.Groups)) {
		group += fmt.Sprintf("%s:x:%d:\n", name, i.Groups[name])
	}
	return errors.Join(w.file("etc/passwd", passwd), w.file("etc/group", group))
}

// unpack adds the files of a package.
func (w *layerWriter) unpack(r *tar.Reader) error {
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		h.Name = moved(h.Name)
		if h.Typeflag == tar.TypeLink {
			h.Linkname = moved(h.Linkname)
		}
		if h.Name == "." || h.Typeflag == tar.TypeDir && slices.Contains(merged, h.Name) || unwanted(h.Name) {
			continue
		}
		if err := w.add(h, r); err != nil {
			return err
		}
		if ok, _ := path.Match(w.links, path.Dir(h.Name)); ok && h.Typeflag == tar.TypeReg {
			link := &tar.Header{Typeflag: tar.TypeSymlink, Name: "usr/local/bin/" + path.Base(h.Name), Linkname: "/" + h.Name, Mode: 0o777}
			if err := w.add(link, nil); err != nil {
				return err
			}
		}
	}
}

// moved is where a package's file lies in a system with a merged /usr.
func moved(name string) string {
	name = path.Clean(strings.TrimPrefix(name, "./"))
	if top, _, below := strings.Cut(name, "/"); below && slices.Contains(merged, top) {
		return "usr/" + name
	}
	return name
}

func unwanted(name string) bool {
	return slices.ContainsFunc(leftOut, func(pattern string) bool {
		for at := name; at != "."; at = path.Dir(at) {
			if ok, _ := path.Match(pattern, at); ok {
				return true
			}
		}
		return false
	})
}

// tree adds all below a directory, as root's.
func (w *layerWriter) tree(dir string) error {
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		mode := int64(0o644)
		if executable(fi) {
			mode = 0o755
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: filepath.ToSlash(rel), Mode: mode, Size: int64(len(data))}
		return w.add(h, strings.NewReader(string(data)))
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (w *layerWriter) file(name, text string) error {
	return w.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))}, strings.NewReader(text))
}

// add adds one entry; directories that several packages ship come once.
func (w *layerWriter) add(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeDir && w.made[h.Name] {
		return nil
	}
	w.made[h.Name] = true
	h.Format, h.Uname, h.Gname = tar.FormatPAX, "", ""
	if h.ModTime.IsZero() {
		h.ModTime = time.Unix(0, 0)
	}
	if err := w.tar.WriteHeader(h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	_, err := io.Copy(w.tar, content)
	return err
}
