package lab

import (
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// A guestRoot is the file system that a container sees: directories of the node
// that are mounted over each other.
type guestRoot struct {
	node   *node
	mounts []guestMount // the root first
}

// real returns the path of the node that holds a path of the container. Links
// are followed as inside the container; the last element need not exist, and is
// itself followed only if last is set.
func (r guestRoot) real(name string, last bool) (string, error) {
	done := "/"
	rest := strings.Split(path.Clean("/"+name), "/")
	for links := 0; len(rest) > 0; {
		elem := rest[0]
		rest = rest[1:]
		if elem == "" || elem == "." {
			continue
		}
		next := path.Join(done, elem)
		at := r.source(next)
		target, err := os.Readlink(r.node.host(at))
		if err != nil || len(rest) == 0 && !last {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", syscall.ELOOP
		}
		if path.IsAbs(target) {
			done = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return r.source(done), nil
}

// source maps a path without links to the node. A later mount covers an earlier.
func (r guestRoot) source(name string) string {
	for _, m := range slices.Backward(r.mounts) {
		if within(name, m.Path) {
			return path.Join(m.Source, strings.TrimPrefix(name, m.Path))
		}
	}
	return name
}

// readOnly reports whether a path lies on a read-only mount.
func (r guestRoot) readOnly(name string) bool {
	for _, m := range slices.Backward(r.mounts) {
		if within(path.Clean("/"+name), m.Path) {
			return m.RO
		}
	}
	return false
}

// readFile returns the content of a file of the container.
func (r guestRoot) readFile(name string) ([]byte, error) {
	at, err := r.real(name, true)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(r.node.host(at))
}

// exists reports whether the container has a file of that name.
func (r guestRoot) exists(name string) bool {
	at, err := r.real(name, true)
	if err != nil {
		return false
	}
	_, err = os.Lstat(r.node.host(at))
	return err == nil
}

// binDirs are where a container's programs lie.
func binDirs() []string {
	return []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}
}

// bare reports whether the root holds no programs at all, as the small images
// that stand in for large ones. Any program is taken to be there then.
func (r guestRoot) bare() bool {
	for _, dir := range binDirs() {
		at, err := r.real(dir, true)
		if err != nil {
			continue
		}
		if list, err := os.ReadDir(r.node.host(at)); err == nil && len(list) > 0 {
			return false
		}
	}
	return true
}

// standIn reports whether the root is that of a stand-in image, which holds the
// files that a distribution is known by but not its programs.
func (r guestRoot) standIn() bool { return r.exists("/usr/share/stand-in") || r.bare() }

// hasProgram reports whether a name leads to a program of the container, by way
// of PATH if it has no slash. A stand-in has the small programs of its
// distribution if it has a shell, and any other program.
func (r guestRoot) hasProgram(name, pathVar, dir string) bool {
	if r.standIn() {
		if path.Base(name) == "bash" && r.exists("/etc/alpine-release") {
			return r.find(name, pathVar, dir) // busybox has no bash
		}
		_, small := guestTools()[path.Base(name)]
		return !small || r.bare() || r.exists("/bin/sh")
	}
	return r.find(name, pathVar, dir)
}

// find reports whether a name leads to a file of the container as a program's does.
func (r guestRoot) find(name, pathVar, dir string) bool {
	if path.IsAbs(name) {
		return r.exists(name)
	}
	if strings.Contains(name, "/") {
		return r.exists(path.Join("/", dir, name))
	}
	if pathVar == "" {
		pathVar = strings.Join(binDirs(), ":")
	}
	for _, d := range strings.Split(pathVar, ":") {
		if d != "" && r.exists(path.Join(d, name)) {
			return true
		}
	}
	return false
}
