package archive

import (
	"archive/tar"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/tengil/tengil/engine"
)

// A Target is where Unpack puts what it reads.
type Target struct {
	// Name is the file or directory that is made.
	Name string
	// Force lets a file take the place of one that is there, once it is whole.
	Force bool
}

// Unpack reads an archive whose members are all called name, or lie below it, and
// makes target of them. Nothing is written outside of target: not by a name, not
// through a link, not over what is there. Devices are left out, and so are links
// that lead out; set-user-ID bits are not taken over.
func Unpack(r io.Reader, name string, target Target) (Summary, error) {
	u := &unpacker{in: tar.NewReader(r), name: name, target: target, made: map[string]bool{}}
	defer u.close()
	for {
		h, err := u.in.Next()
		if errors.Is(err, io.EOF) {
			if len(u.made) == 0 && len(u.sum.LeftOut) == 0 {
				return u.sum, errors.New("the archive is empty")
			}
			_, err := io.Copy(io.Discard, r) // what tar fills its last block with
			return u.sum, err
		}
		if err != nil {
			return u.sum, fmt.Errorf("read the archive: %w", err)
		}
		if err := u.member(h); err != nil {
			return u.sum, err
		}
	}
}

// Content reads the one file of an archive to w.
func Content(r io.Reader, w io.Writer) (Summary, error) {
	in := tar.NewReader(r)
	h, err := in.Next()
	if err != nil {
		return Summary{}, fmt.Errorf("read the archive: %w", err)
	}
	switch h.Typeflag {
	case tar.TypeReg:
	case tar.TypeSymlink:
		return Summary{}, notCopied(h)
	default:
		return Summary{}, fmt.Errorf("%q is no file; only a file goes to standard output", path.Clean(h.Name))
	}
	n, err := io.Copy(w, in)
	if err != nil {
		return Summary{}, err
	}
	_, err = io.Copy(io.Discard, r)
	return Summary{Files: 1, Bytes: n}, err
}

type unpacker struct {
	in     *tar.Reader
	name   string
	target Target
	root   *os.Root        // of a directory that is copied; nil before its member
	made   map[string]bool // what this run made, by path below root; "." is the target
	sum    Summary
}

func (u *unpacker) close() {
	if u.root != nil {
		_ = u.root.Close() // it was only held
	}
}

func (u *unpacker) member(h *tar.Header) error {
	name := path.Clean(h.Name)
	rel, ok := ".", name == u.name
	if !ok {
		rel, ok = strings.CutPrefix(name, u.name+"/")
	}
	if !ok || !filepath.IsLocal(filepath.FromSlash(rel)) {
		return fmt.Errorf("the archive holds %q, which was not asked for", h.Name)
	}
	switch {
	case rel == "." && u.made["."]:
		return fmt.Errorf("the archive holds %q twice", h.Name)
	case rel == ".":
		return u.top(h)
	case u.root == nil:
		return fmt.Errorf("the archive holds %q, which is below no directory", h.Name)
	}
	return u.below(h, rel)
}

// top makes the target itself.
func (u *unpacker) top(h *tar.Header) error {
	u.made["."] = true
	dir, err := os.OpenRoot(filepath.Dir(u.target.Name))
	if err != nil {
		return err
	}
	defer dir.Close()
	base := filepath.Base(u.target.Name)
	switch h.Typeflag {
	case tar.TypeDir:
		if err := dir.Mkdir(base, fs.FileMode(h.Mode).Perm()|0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		u.root, err = os.OpenRoot(u.target.Name)
		return err
	case tar.TypeReg:
		return u.file(dir, base, h)
	}
	return notCopied(h)
}

// notCopied says why an archive that was asked for one thing has nothing to copy.
func notCopied(h *tar.Header) error {
	name := path.Clean(h.Name)
	if h.Typeflag != tar.TypeSymlink {
		return fmt.Errorf("%q is neither a file nor a directory", name)
	}
	return engine.WithHint(fmt.Errorf("%q is a link to %q", name, h.Linkname), "copy what it leads to")
}

// below makes what lies in a directory that is copied.
func (u *unpacker) below(h *tar.Header, rel string) error {
	if err := u.plainParents(rel); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeDir && u.made[rel] {
		return fmt.Errorf("the archive holds %q twice", h.Name)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if fi, err := u.root.Lstat(rel); err == nil && fi.IsDir() {
			break
		}
		if err := u.root.Mkdir(rel, fs.FileMode(h.Mode).Perm()|0o700); err != nil {
			return err
		}
	case tar.TypeReg:
		if err := u.file(u.root, rel, h); err != nil {
			return err
		}
	case tar.TypeSymlink:
		if !staysInside(rel, h.Linkname) {
			u.leaveOut(h)
			return nil
		}
		err := u.put(u.root, rel, func(at string) error { return u.root.Symlink(filepath.FromSlash(h.Linkname), at) })
		if err != nil {
			return err
		}
	case tar.TypeLink:
		return u.hardLink(h, rel)
	default:
		u.leaveOut(h)
		return nil
	}
	u.made[rel] = true
	return nil
}

// plainParents refuses a member below a link: it would not be where it says.
func (u *unpacker) plainParents(rel string) error {
	for dir := path.Dir(rel); dir != "."; dir = path.Dir(dir) {
		fi, err := u.root.Lstat(dir)
		if err != nil {
			return err
		}
		if !fi.IsDir() {
			return fmt.Errorf("%q is no directory, but the archive has something below it", filepath.Join(u.target.Name, dir))
		}
	}
	return nil
}

// staysInside reports whether a link leads to what lies in the copied directory,
// by its text alone: up first, then down, and no further up than it lies deep.
func staysInside(rel, target string) bool {
	if target == "" || path.IsAbs(target) || filepath.IsAbs(filepath.FromSlash(target)) || filepath.VolumeName(target) != "" {
		return false
	}
	up, down := 0, false
	for elem := range strings.SplitSeq(filepath.ToSlash(target), "/") {
		switch elem {
		case "", ".":
		case "..":
			if down {
				return false
			}
			up++
		default:
			down = true
		}
	}
	return up <= strings.Count(rel, "/")
}

// hardLink makes a second name of a file that this run has made; of a link it would
// lead elsewhere.
func (u *unpacker) hardLink(h *tar.Header, rel string) error {
	of, ok := strings.CutPrefix(path.Clean(h.Linkname), u.name+"/")
	if !ok || !u.made[of] {
		return fmt.Errorf("the archive holds %q as another name of %q, which it does not have", h.Name, h.Linkname)
	}
	if fi, err := u.root.Lstat(of); err != nil || !fi.Mode().IsRegular() {
		return errors.Join(fmt.Errorf("the archive holds %q as another name of %q, which is no file", h.Name, h.Linkname), err)
	}
	if err := u.put(u.root, rel, func(at string) error { return u.root.Link(of, at) }); err != nil {
		return err
	}
	u.made[rel] = true
	return nil
}

// file makes a file; one that is cut off goes.
func (u *unpacker) file(root *os.Root, name string, h *tar.Header) error {
	return u.put(root, name, func(at string) error {
		f, err := root.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(h.Mode).Perm())
		if err != nil {
			return err
		}
		n, err := io.Copy(f, u.in)
		if err = errors.Join(err, f.Close()); err != nil {
			return errors.Join(fmt.Errorf("write %q: %w", name, err), root.Remove(at))
		}
		u.sum.Files, u.sum.Bytes = u.sum.Files+1, u.sum.Bytes+n
		if when := h.ModTime; !when.IsZero() {
			return root.Chtimes(at, time.Time{}, when)
		}
		return nil
	})
}

// put lets create make name, or what takes its place once it is whole: until then it
// has a name beside it.
func (u *unpacker) put(root *os.Root, name string, create func(at string) error) error {
	there, err := u.replaces(root, name)
	if err != nil {
		return err
	}
	if !there {
		return create(name)
	}
	at := path.Join(path.Dir(name), ".tg-"+rand.Text())
	if err := create(at); err != nil {
		return err
	}
	if err := root.Rename(at, name); err != nil {
		return errors.Join(err, root.Remove(at))
	}
	return nil
}

// replaces reports whether a file or a link takes the place of what is there, which
// is an error unless it may. A directory never is replaced.
func (u *unpacker) replaces(root *os.Root, name string) (bool, error) {
	fi, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	shown := filepath.Join(root.Name(), name)
	switch {
	case fi.IsDir():
		return false, fmt.Errorf("%q is a directory; it is not replaced by a file", shown)
	case !u.target.Force:
		return false, engine.WithHint(fmt.Errorf("%q is there already", shown), "to replace it, add --force")
	}
	return true, nil
}

func (u *unpacker) leaveOut(h *tar.Header) {
	what := path.Clean(h.Name)
	if h.Typeflag == tar.TypeSymlink {
		what += " → " + h.Linkname
	}
	u.sum.LeftOut = append(u.sum.LeftOut, what)
}
