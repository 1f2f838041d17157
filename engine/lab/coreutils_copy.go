package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"
)

// stamp sets a file's times to now.
func (n *node) stamp(name string) error {
	if err := n.mayWrite(name); err != nil {
		return err
	}
	to, err := n.real(name)
	if err != nil {
		return err
	}
	if err := n.mayChange(name); err != nil {
		return &fs.PathError{Op: "utimensat", Path: name, Err: err}
	}
	now := time.Now()
	return renamed(os.Chtimes(to, now, now), "utimensat", name)
}

// target returns where a file goes that is copied or moved to dst: into it, if
// it is a directory.
func (p *proc) target(src, dst string, inside bool) string {
	if fi, err := p.node.stat(p.abs(dst)); inside && err == nil && fi.IsDir() {
		return path.Join(dst, path.Base(p.abs(src)))
	}
	return dst
}

// sources splits the operands of cp and mv; ok is false if they make no sense,
// which it has said.
func (p *proc) sources(o options, names []string) (from []string, to string, ok bool) {
	me := path.Base(p.argv[0])
	if dir := o.last("t") + o.last("target-directory"); dir != "" {
		return names, dir, len(names) > 0
	}
	switch len(names) {
	case 0:
		p.failf(1, "%s: missing file operand\nTry '%[1]s --help' for more information.", me)
		return nil, "", false
	case 1:
		p.failf(1, "%s: missing destination file operand after '%s'\nTry '%[1]s --help' for more information.", me, names[0])
		return nil, "", false
	}
	from, to = names[:len(names)-1], names[len(names)-1]
	if fi, err := p.node.stat(p.abs(to)); len(from) > 1 && (err != nil || !fi.IsDir()) {
		p.failf(1, "%s: target '%s': %s", me, to, strerror(syscall.ENOTDIR))
		return nil, "", false
	}
	return from, to, true
}

func mvProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "f T n t: force no-target-directory no-clobber target-directory: v"}, 1)
	if !ok {
		return exit
	}
	from, to, ok := p.sources(o, names)
	if !ok {
		return 1
	}
	if err := p.checkpoint(); err != nil {
		exit, _ := p.ended(err)
		return exit
	}
	for _, src := range from {
		if _, err := p.node.lstat(p.abs(src)); err != nil {
			exit = p.failf(1, "mv: cannot stat '%s': %s", src, strerror(err))
			continue
		}
		dst := p.target(src, to, !o.has("T") && !o.has("no-target-directory"))
		if err := p.move(src, dst, o.has("n") || o.has("no-clobber")); err != nil {
			exit = p.failf(1, "mv: cannot move '%s' to '%s': %s", src, dst, strerror(err))
		}
	}
	p.node.save()
	return exit
}

func (p *proc) move(src, dst string, keep bool) error {
	n := p.node
	for _, name := range []string{src, dst} {
		at, err := n.resolve(p.abs(name), false)
		if err != nil {
			return err
		}
		if n.isMountpoint(at) {
			return syscall.EBUSY
		}
	}
	if err := n.mayWrite(p.abs(dst)); err != nil {
		return err
	}
	if _, err := n.lstat(p.abs(dst)); err == nil && keep {
		return nil
	}
	return n.rename(p.abs(src), p.abs(dst))
}

func cpProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{
		names: "a r R p f T n t: d archive recursive preserve force no-target-directory no-clobber target-directory: v",
	}, 1)
	if !ok {
		return exit
	}
	from, to, ok := p.sources(o, names)
	if !ok {
		return 1
	}
	c := copier{
		p:         p,
		recursive: o.has("a") || o.has("archive") || o.has("r") || o.has("R") || o.has("recursive"),
		preserve:  o.has("a") || o.has("archive") || o.has("p") || o.has("preserve"),
		keep:      o.has("n") || o.has("no-clobber"),
	}
	for _, src := range from {
		err := c.copy(p.abs(src), p.abs(p.target(src, to, !o.has("T") && !o.has("no-target-directory"))), src)
		if exit, ended := p.ended(err); ended {
			return exit
		}
		if err != nil {
			exit = p.failf(1, "cp: %v", err)
		}
	}
	p.node.save()
	return exit
}

// A copier is one run of cp.
type copier struct {
	p                         *proc
	recursive, preserve, keep bool
}

// copy copies src, which the user called name, to dst; errors are worded as cp
// does.
func (c copier) copy(src, dst, name string) error {
	n := c.p.node
	look := n.stat
	if c.recursive {
		look = n.lstat
	}
	fi, err := look(src)
	if err != nil {
		return fmt.Errorf("cannot stat '%s': %s", name, strerror(err))
	}
	if _, err := n.lstat(dst); err == nil && c.keep {
		return nil
	}
	if fi.IsDir() && !c.recursive {
		return fmt.Errorf("-r not specified; omitting directory '%s'", name)
	}
	switch {
	case fi.IsDir():
		err = c.directory(src, dst)
	case fi.Mode()&fs.ModeSymlink != 0:
		err = c.link(src, dst)
	default:
		err = c.file(src, dst)
	}
	var worded *copyError
	if _, ended := c.p.endedQuietly(err); err == nil || ended || errors.As(err, &worded) {
		return err
	}
	return &copyError{fmt.Sprintf("cannot create regular file '%s': %s", dst, strerror(err))}
}

// A copyError is worded already.
type copyError struct{ msg string }

func (e *copyError) Error() string { return e.msg }

// endedQuietly is ended without printing.
func (p *proc) endedQuietly(err error) (int, bool) {
	var killed *endedError
	var failed *faultError
	return 0, errors.As(err, &killed) || errors.As(err, &failed)
}

func (c copier) directory(src, dst string) error {
	n := c.p.node
	if err := n.mkdir(dst, 0o755, true); err != nil {
		return err
	}
	if err := c.owner(src, dst); err != nil {
		return err
	}
	list, err := n.readDir(src)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := c.copy(path.Join(src, e.Name()), path.Join(dst, e.Name()), path.Join(src, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (c copier) link(src, dst string) error {
	to, err := os.Readlink(c.p.node.host(src))
	if err != nil {
		return err
	}
	at, err := c.p.node.resolve(dst, false)
	if err != nil {
		return err
	}
	if inPmxcfs(at) {
		return syscall.EPERM
	}
	return c.p.node.symlink(to, at)
}

func (c copier) file(src, dst string) error {
	r, err := c.p.node.open(src, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := c.p.create(dst, os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = c.p.copy(w, r)
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	return c.owner(src, dst)
}

// owner carries over owner and mode, which pmxcfs refuses.
func (c copier) owner(src, dst string) error {
	n := c.p.node
	from, err := n.resolve(src, true)
	if err != nil {
		return err
	}
	to, err := n.resolve(dst, true)
	if err != nil {
		return err
	}
	fi, err := n.lstat(from)
	if err != nil {
		return err
	}
	have := n.owner(from, fi)
	switch {
	case inPmxcfs(to) && c.preserve:
		return &copyError{fmt.Sprintf("preserving permissions for ‘%s’: %s", dst, strerror(syscall.EPERM))}
	case inPmxcfs(to):
	case c.preserve:
		n.setOwner(to, have)
		return os.Chtimes(n.host(to), fi.ModTime(), fi.ModTime())
	default:
		n.noteMode(to, have.Mode&^maskOf(c.p.ctx).get())
	}
	return nil
}
