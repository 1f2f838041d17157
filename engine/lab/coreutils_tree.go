package lab

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// mayWrite refuses what the model's file systems do not let even root write.
func (n *node) mayWrite(name string) error {
	to, err := n.resolve(name, true)
	if err != nil {
		return err
	}
	if within(to, "/proc") || within(to, "/sys") || to == vmlistPath {
		return &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
	}
	return nil
}

// isMountpoint reports whether something is mounted at name, whose links are
// resolved.
func (n *node) isMountpoint(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state.Mounts.has(name) || name == "/" || name == "/etc/pve" || name == "/proc" || name == "/sys" || name == "/run" {
		return true
	}
	return n.state.ZFS.mountedAt(name) != nil
}

// remove removes a tree as rm -r does: all but what something is mounted at,
// which keeps its directory. With oneFS it does not go into what is mounted below.
// The error is that of the first thing left.
func (n *node) remove(name string, oneFS bool) error {
	at, err := n.resolve(name, false)
	if err != nil {
		return err
	}
	fi, err := n.lstat(at)
	if err != nil {
		return err
	}
	n.mu.Lock()
	bound := n.state.Mounts.has(at)
	n.mu.Unlock()
	if err := n.mayChange(at); err != nil {
		return &fs.PathError{Op: "unlink", Path: name, Err: err}
	}
	if bound { // the lab's own link, in place of a mounted directory
		return &fs.PathError{Op: "unlink", Path: name, Err: syscall.EBUSY}
	}
	var first error
	if fi.IsDir() {
		list, err := n.readDir(at)
		if err != nil {
			return err
		}
		for _, e := range list {
			below := path.Join(at, e.Name())
			if oneFS && n.isMountpoint(below) {
				if first == nil {
					first = &fs.PathError{Op: "unlink", Path: below, Err: syscall.EXDEV}
				}
				continue
			}
			if err := n.remove(below, oneFS); err != nil && first == nil {
				first = err
			}
		}
	}
	if first == nil && n.isMountpoint(at) {
		return &fs.PathError{Op: "unlink", Path: name, Err: syscall.EBUSY}
	}
	if first != nil {
		return first
	}
	if err := os.Remove(n.host(at)); err != nil {
		return renamed(err, "unlink", name)
	}
	n.forgetOwners(at)
	return nil
}

func rmProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "r R f recursive force v d one-file-system"}, 1)
	if !ok {
		return exit
	}
	force := o.has("f") || o.has("force")
	if len(names) == 0 && !force {
		return p.failf(1, "rm: missing operand\nTry 'rm --help' for more information.")
	}
	recursive := o.has("r") || o.has("R") || o.has("recursive")
	for _, name := range names {
		fi, err := p.node.lstat(p.abs(name))
		if force && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && fi.IsDir() && !recursive {
			err = &fs.PathError{Op: "unlink", Path: name, Err: syscall.EISDIR}
		}
		if err == nil {
			err = p.node.remove(p.abs(name), o.has("one-file-system"))
		}
		if errors.Is(err, syscall.EXDEV) {
			exit = p.failf(1, "rm: skipping '%s', since it's on a different device", blamed(err, p.abs(name), name))
		} else if err != nil {
			exit = p.failf(1, "rm: cannot remove '%s': %s", blamed(err, p.abs(name), name), strerror(err))
		}
	}
	return exit
}

// blamed returns the path that err is about, as one below the operand name.
func blamed(err error, abs, name string) string {
	var pe *fs.PathError
	if errors.As(err, &pe) && strings.HasPrefix(pe.Path, abs+"/") {
		return name + strings.TrimPrefix(pe.Path, abs)
	}
	return name
}

func rmdirProgram(p *proc) int {
	_, names, exit, ok := p.options(grammar{names: "ignore-fail-on-non-empty"}, 1)
	if !ok {
		return exit
	}
	for _, name := range names {
		at, err := p.node.resolve(p.abs(name), false)
		if err == nil && p.node.isMountpoint(at) {
			err = syscall.EBUSY
		}
		if err == nil {
			err = syscall.Rmdir(p.node.host(at))
		}
		if err != nil {
			exit = p.failf(1, "rmdir: failed to remove '%s': %s", name, strerror(err))
			continue
		}
		p.node.forgetOwners(at)
	}
	return exit
}

func mkdirProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "p parents m: mode: v"}, 1)
	if !ok {
		return exit
	}
	parents := o.has("p") || o.has("parents")
	mode := 0o777 &^ maskOf(p.ctx).get()
	if text := o.last("m") + o.last("mode"); text != "" {
		var err error
		if mode, err = changeMode(0o777, text, true); err != nil {
			return p.failf(1, "mkdir: invalid mode ‘%s’", text)
		}
	}
	for _, name := range names {
		if err := p.node.mkdir(p.abs(name), mode, parents); err != nil {
			exit = p.failf(1, "mkdir: cannot create directory ‘%s’: %s", name, strerror(err))
		}
	}
	if len(names) == 0 {
		return p.failf(1, "mkdir: missing operand\nTry 'mkdir --help' for more information.")
	}
	return exit
}

// mkdir makes one directory, or with parents what is missing of a path.
func (n *node) mkdir(name string, mode fs.FileMode, parents bool) error {
	if err := n.mayWrite(name); err != nil {
		return err
	}
	at, err := n.resolve(name, true)
	if err != nil {
		return err
	}
	if fi, err := os.Stat(n.host(at)); err == nil {
		if parents && fi.IsDir() {
			return nil
		}
		return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.EEXIST}
	}
	if parents && at != "/" { // which is gone when somebody has removed the lab's directory
		if err := n.mkdir(path.Dir(at), 0o755, true); err != nil {
			return err
		}
	}
	if _, err := n.fill(at, dirSize); err != nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: err}
	}
	err = os.Mkdir(n.host(at), 0o755)
	if parents && errors.Is(err, fs.ErrExist) {
		return nil // another mkdir -p was faster, which is just as well
	}
	if err != nil {
		return renamed(err, "mkdir", name)
	}
	if !inPmxcfs(at) && mode != 0o755 {
		n.setOwner(at, owner{Mode: mode})
	}
	n.save()
	return nil
}

func touchProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "c a m no-create"}, 1)
	if !ok {
		return exit
	}
	for _, name := range names {
		abs := p.abs(name)
		_, err := p.node.stat(abs)
		if errors.Is(err, fs.ErrNotExist) {
			if o.has("c") || o.has("no-create") {
				continue
			}
			var f *written
			if f, err = p.create(name, 0); err == nil {
				err = f.Close()
			}
		} else if err == nil {
			err = p.node.stamp(abs)
		}
		if err != nil {
			exit = p.failf(1, "touch: cannot touch '%s': %s", name, strerror(err))
		}
	}
	p.node.save()
	return exit
}

func lnProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "s f n T symbolic force no-dereference"}, 1)
	if !ok {
		return exit
	}
	if len(names) != 2 || !o.has("s") && !o.has("symbolic") {
		return p.failf(1, "ln: only ln -s TARGET NAME is modelled")
	}
	at, err := p.node.resolve(p.abs(names[1]), false)
	if err == nil && inPmxcfs(at) {
		err = syscall.ENOSYS
	}
	if err == nil && (o.has("f") || o.has("force")) {
		if err = os.Remove(p.node.host(at)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err == nil {
		err = p.node.symlink(names[0], at)
	}
	if err != nil {
		return p.failf(1, "ln: failed to create symbolic link '%s': %s", names[1], strerror(err))
	}
	return 0
}

func mktempProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "d directory p: tmpdir: t q u"}, 1)
	if !ok {
		return exit
	}
	template := "tmp.XXXXXXXXXX"
	dir := ""
	if len(names) == 0 || o.has("p") || o.has("tmpdir") || o.has("t") {
		if dir = o.last("p") + o.last("tmpdir"); dir == "" {
			dir = "/tmp"
		}
	}
	if len(names) > 0 {
		template = names[0]
	}
	stem := strings.TrimRight(template, "X")
	if len(template)-len(stem) < 3 {
		return p.failf(1, "mktemp: too few X's in template ‘%s’", template)
	}
	name := path.Join(dir, stem+rand.Text()[:len(template)-len(stem)])
	what := "file"
	var err error
	if o.has("d") || o.has("directory") {
		what = "directory"
		err = p.node.mkdir(p.abs(name), 0o700, false)
	} else {
		var f *os.File
		if f, err = p.node.open(p.abs(name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		return p.failf(1, "mktemp: failed to create %s via template ‘%s’: %s", what, path.Join(dir, template), strerror(err))
	}
	p.node.save()
	fmt.Fprintln(p.stdout, name)
	return 0
}
