package lab

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// guestLs is busybox's ls with -1, -l, -a, -A, -n and -d. Files come first, then
// directories, both sorted.
func guestLs(g *guestProc) int {
	exit := 0
	names := g.operands()
	if len(names) == 0 {
		names = []string{"."}
	}
	slices.Sort(names)
	var dirs []string
	listed := false
	for _, name := range names {
		f, err := g.look(name, !g.flag('l') && !g.flag('n'))
		switch {
		case err != nil:
			exit = g.failf(1, "ls: %s: %s", name, reason(err))
		case f.info.IsDir() && !g.flag('d'):
			dirs = append(dirs, name)
		default:
			f.name = name
			g.list(f)
			listed = true
		}
	}
	for _, dir := range dirs {
		if len(names) > 1 {
			if listed {
				fmt.Fprintln(g.stdout)
			}
			listed = true
			fmt.Fprintf(g.stdout, "%s:\n", dir)
		}
		g.listDir(dir)
	}
	return exit
}

// flag reports whether an option of one letter was given.
func (g *guestProc) flag(letter byte) bool {
	return slices.ContainsFunc(g.argv[1:], func(a string) bool {
		return len(a) > 1 && a[0] == '-' && a[1] != '-' && strings.IndexByte(a, letter) > 0
	})
}

func (g *guestProc) listDir(dir string) {
	at, err := g.root.real(absolute(g.dir, dir), true)
	if err != nil {
		return
	}
	list, _ := g.node.readDir(at) // it is there
	var names []string
	if g.flag('a') {
		names = append(names, ".", "..")
	}
	for _, e := range list {
		if g.flag('a') || g.flag('A') || !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	if g.flag('l') || g.flag('n') {
		fmt.Fprintf(g.stdout, "total %d\n", len(names))
	}
	for _, name := range names {
		f, err := g.look(path.Join(absolute(g.dir, dir), name), false)
		if err != nil {
			continue // removed meanwhile
		}
		f.name = name
		g.list(f)
	}
}

// look describes a file of the container, with the ids that it shows.
func (g *guestProc) look(name string, follow bool) (fileStat, error) {
	at, err := g.root.real(absolute(g.dir, name), follow)
	if err != nil {
		return fileStat{}, err
	}
	if d, ok := g.device(absolute(g.dir, name)); ok {
		return d, nil
	}
	fi, err := os.Lstat(g.node.host(at))
	if err != nil {
		return fileStat{}, err
	}
	o := g.node.owner(at, fi)
	m := g.root.mount(absolute(g.dir, name))
	o.UID, o.GID = m.shown("u", o.UID), m.shown("g", o.GID)
	switch absolute(g.dir, name) {
	case "/dev":
		o = owner{Mode: 0o755}
	case "/proc", "/sys":
		o = owner{UID: unmapped, GID: unmapped, Mode: 0o555}
	}
	return fileStat{name: name, at: at, info: fi, owner: o, kind: g.node.fileType(at, fi)}, nil
}

// device describes a device that an option devN brings into the container.
func (g *guestProc) device(name string) (fileStat, bool) {
	conf, err := g.node.guestConfig(g.id)
	if err != nil || !within(name, "/dev") {
		return fileStat{}, false
	}
	for _, i := range conf.Indexed("dev") {
		d, err := pve.ParseDevice(conf.Get(fmt.Sprintf("dev%d", i)))
		if err != nil || d.Path != name {
			continue
		}
		fi, err := g.node.stat(d.Path)
		if err != nil {
			return fileStat{}, false
		}
		mode, err := strconv.ParseUint(d.Mode, 8, 32)
		if err != nil {
			mode = 0o660
		}
		return fileStat{name: name, at: d.Path, info: fi, owner: owner{UID: d.UID, GID: d.GID, Mode: fs.FileMode(mode)}, kind: g.node.fileType(d.Path, fi)}, true
	}
	return fileStat{}, false
}

// list prints one file as busybox's ls does.
func (g *guestProc) list(f fileStat) {
	if !g.flag('l') && !g.flag('n') {
		fmt.Fprintln(g.stdout, f.name)
		return
	}
	user, group := strconv.Itoa(f.owner.UID), strconv.Itoa(f.owner.GID)
	if !g.flag('n') {
		user, group = g.nameOf("/etc/passwd", user), g.nameOf("/etc/group", group)
	}
	line := fmt.Sprintf("%s %4d %-8s %-8s %9s %s %s", f.mode(), g.node.links(f.at, f.info), user, group,
		g.node.shownSize(f.at, f.info), lsTime(f.info.ModTime()), f.name)
	if f.info.Mode()&fs.ModeSymlink != 0 {
		if to, err := os.Readlink(g.node.host(f.at)); err == nil {
			line += " -> " + to
		}
	}
	fmt.Fprintln(g.stdout, line)
}

// nameOf finds the name of an id in passwd or group; without one it is the id.
func (g *guestProc) nameOf(file, id string) string {
	data, err := g.root.readFile(file)
	if err != nil {
		return id
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Split(line, ":"); len(f) > 2 && strings.TrimSpace(f[2]) == id {
			return f[0]
		}
	}
	return id
}
