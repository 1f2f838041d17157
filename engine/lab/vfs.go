package lab

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/tengil/tengil/engine/pve"
)

// maxLinks is how many symbolic links a path may lead through, as in Linux.
const maxLinks = 40

// resolve follows the symbolic links in name, an absolute path of the node, as
// chroot(2) would: none leads out of the node. The last element need not exist;
// if it is a link it is followed only if last is set.
func (n *node) resolve(name string, last bool) (string, error) {
	name = absolute("/", name)
	if n.plain.has(path.Dir(name)) {
		if !last {
			return name, nil
		}
		if _, err := os.Readlink(n.host(name)); err != nil {
			return name, nil
		}
	}
	return n.follow(name, last)
}

// follow is resolve, element by element.
func (n *node) follow(name string, last bool) (string, error) {
	known := n.plain.age()
	done := "/"
	rest := strings.Split(strings.Trim(name, "/"), "/")
	for links := 0; len(rest) > 0; {
		elem := rest[0]
		rest = rest[1:]
		if elem == "" || elem == "." {
			continue
		}
		next := path.Join(done, elem)
		if len(rest) == 0 && !last {
			return next, nil
		}
		target, err := os.Readlink(n.host(next))
		if err != nil { // not a link, or not there: whoever opens it will say so
			done = next
			if len(rest) > 0 && !errors.Is(err, fs.ErrNotExist) {
				n.plain.add(next, known)
			}
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "open", Path: name, Err: syscall.ELOOP}
		}
		if path.IsAbs(target) {
			done = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return done, nil
}

// plainPaths are directories of the node that no symbolic link leads to: a path
// through one of them need not be looked at element by element. Whoever puts a
// link or another tree where one may be calls forget.
type plainPaths struct {
	mu    sync.Mutex
	known map[string]bool
	gen   int // grows with forget
}

// maxPlain bounds what is kept of directories that come and go.
const maxPlain = 4096

func (p *plainPaths) has(dir string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[dir]
}

// age returns what add is to be told by who looks from now on.
func (p *plainPaths) age() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gen
}

// add notes a directory that was looked at since age returned gen. Only those of
// the system are kept: containers' file systems change from outside the node's
// own programs.
func (p *plainPaths) add(dir string, gen int) {
	top, _, _ := strings.Cut(dir[1:], "/")
	switch top {
	case "etc", "run", "var", "tmp", "root", "proc", "sys", "dev", "usr":
	default:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if gen != p.gen || within(dir, "/var/lib/lxc") || within(dir, "/var/lib/vz/images") {
		return
	}
	if p.known == nil || len(p.known) >= maxPlain {
		p.known = map[string]bool{}
	}
	// A way to dir that has a link in it was followed from its target on, so that
	// what leads to dir is plain as well.
	p.known[dir] = true
}

// forget drops all that is known.
func (p *plainPaths) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gen++
	clear(p.known)
}

// symlink makes a symbolic link at a path of the node whose own links are
// resolved.
func (n *node) symlink(target, at string) error {
	defer n.plain.forget()
	if err := n.mayChange(at); err != nil {
		return &fs.PathError{Op: "symlink", Path: at, Err: err}
	}
	return os.Symlink(target, n.host(at))
}

// real returns where name lies on the lab's machine, all links followed.
func (n *node) real(name string) (string, error) {
	to, err := n.resolve(name, true)
	if err != nil {
		return "", err
	}
	return n.host(to), nil
}

// renamed puts the path of the node in place of the lab machine's in err.
func renamed(err error, op, name string) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return &fs.PathError{Op: op, Path: name, Err: pe.Err}
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		return &fs.PathError{Op: op, Path: name, Err: le.Err}
	}
	return err
}

// open opens a file of the node as open(2) would; errors are *fs.PathError with
// the node's path.
func (n *node) open(name string, flag int, perm fs.FileMode) (*os.File, error) {
	if name == os.DevNull {
		return os.OpenFile(os.DevNull, flag&^(os.O_CREATE|os.O_EXCL|os.O_TRUNC), 0)
	}
	to, err := n.resolve(name, true)
	if err != nil {
		return nil, err
	}
	if to == "/proc/self/mounts" {
		to = pve.MountsFile
	}
	if flag&(os.O_WRONLY|os.O_RDWR) != 0 {
		if err := n.mayChange(to); err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
	if flag&os.O_CREATE != 0 && inPmxcfs(to) {
		perm = 0o640
	}
	if err := n.madeUp(to); err != nil {
		return nil, err
	}
	if n.deviceAt(to) {
		return os.OpenFile(os.DevNull, flag&^(os.O_CREATE|os.O_EXCL|os.O_TRUNC), 0)
	}
	var missing error
	if flag&os.O_CREATE != 0 {
		_, missing = os.Lstat(n.host(to))
	}
	f, err := os.OpenFile(n.host(to), flag, perm|0o600)
	if err != nil {
		return nil, renamed(err, "open", name)
	}
	if missing != nil {
		n.noteMode(to, perm)
	}
	return f, nil
}

// readFile returns the content of a file of the node.
func (n *node) readFile(name string) ([]byte, error) {
	to, err := n.resolve(name, true)
	if err != nil {
		return nil, err
	}
	if err := n.madeUp(to); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(n.host(to))
	return data, renamed(err, "open", name)
}

// writeFile replaces a file of the node in one step, making its parents.
func (n *node) writeFile(name string, data []byte, perm fs.FileMode) error {
	to, err := n.resolve(name, true)
	if err != nil {
		return err
	}
	if err := n.mkdirAll(path.Dir(to)); err != nil {
		return err
	}
	if got, err := n.fill(to, len(data)); got < len(data) {
		return &fs.PathError{Op: "write", Path: name, Err: err}
	}
	if err := replaceFile(n.host(to), data, perm|0o600); err != nil {
		return renamed(err, "open", name)
	}
	n.noteMode(to, perm)
	return nil
}

// mkdirAll makes a directory of the node and its parents.
func (n *node) mkdirAll(name string) error {
	to, err := n.real(name)
	if err != nil {
		return err
	}
	return renamed(os.MkdirAll(to, 0o755), "mkdir", name)
}

// touch makes an empty file, and its parents, where there is none.
func (n *node) touch(name string) error {
	to, err := n.real(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return renamed(err, "open", name)
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return renamed(err, "open", name)
	}
	return f.Close()
}

// stat describes a file of the node, following links.
func (n *node) stat(name string) (fs.FileInfo, error) {
	if fi, err := n.lstat(name); err == nil && fi.Mode()&fs.ModeSymlink == 0 {
		return fi, nil
	}
	to, err := n.resolve(name, true)
	if err != nil {
		return nil, err
	}
	return n.lstatAt(to, name)
}

// lstat describes a file of the node; of a link, the link.
func (n *node) lstat(name string) (fs.FileInfo, error) {
	to, err := n.resolve(name, false)
	if err != nil {
		return nil, err
	}
	return n.lstatAt(to, name)
}

func (n *node) lstatAt(to, name string) (fs.FileInfo, error) {
	if err := n.madeUp(to); err != nil {
		return nil, err
	}
	fi, err := os.Lstat(n.host(to))
	if err != nil {
		return nil, renamed(err, "stat", name)
	}
	return fi, nil
}

// readDir lists a directory of the node, sorted by name.
func (n *node) readDir(name string) ([]fs.DirEntry, error) {
	to, err := n.real(name)
	if err != nil {
		return nil, err
	}
	list, err := os.ReadDir(to)
	return list, renamed(err, "open", name)
}

// removeAll removes a file or tree of the node and what is noted of its owners.
func (n *node) removeAll(name string) error {
	to, err := n.resolve(name, false)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(n.host(to)); err != nil {
		return renamed(err, "unlink", name)
	}
	n.forgetOwners(to)
	return nil
}

// rename moves a file or tree within the node, with what is noted of its owners.
func (n *node) rename(from, to string) error {
	from2, err := n.resolve(from, false)
	if err != nil {
		return err
	}
	to2, err := n.resolve(to, false)
	if err != nil {
		return err
	}
	for _, at := range []string{from2, to2} {
		if err := n.mayChange(at); err != nil {
			return &fs.PathError{Op: "rename", Path: from, Err: err}
		}
	}
	fi, err := os.Lstat(n.host(from2))
	if err != nil {
		return renamed(err, "rename", from)
	}
	if err := os.Rename(n.host(from2), n.host(to2)); err != nil {
		return renamed(err, "rename", from)
	}
	if !fi.Mode().IsRegular() {
		n.plain.forget()
	}
	n.moveOwners(from2, to2)
	return nil
}
