package lab

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// isDevice reports whether a file of the node is a device: what lies below /dev
// and is neither a directory nor in /dev/shm.
func (n *node) isDevice(name string) bool {
	to, err := n.resolve(name, true)
	return err == nil && n.deviceAt(to)
}

// deviceAt is isDevice for a path whose links are resolved.
func (n *node) deviceAt(to string) bool {
	if !within(to, "/dev") || within(to, "/dev/shm") {
		return false
	}
	fi, err := os.Stat(n.host(to))
	return err == nil && fi.Mode().IsRegular()
}

// fileType is what stat's %F says.
func (n *node) fileType(name string, fi fs.FileInfo) string {
	switch {
	case fi.IsDir():
		return "directory"
	case fi.Mode()&fs.ModeSymlink != 0:
		return "symbolic link"
	case n.isDevice(name):
		return "character special file"
	case fi.Size() == 0:
		return "regular empty file"
	}
	return "regular file"
}

// A fileStat is one file as stat and ls show it.
type fileStat struct {
	name  string // as the user wrote it
	at    string // absolute, links resolved
	info  fs.FileInfo
	owner owner
	kind  string
	mount func() string // tells where its file system is mounted
}

// look describes a file; links are followed if follow is set or if it is the
// lab's own link in place of a bind mount.
func (p *proc) look(name string, follow bool) (fileStat, error) {
	n := p.node
	at, err := n.resolve(p.abs(name), follow)
	if err != nil {
		return fileStat{}, err
	}
	if !follow && n.bound(at) {
		if at, err = n.resolve(at, true); err != nil {
			return fileStat{}, err
		}
	}
	fi, err := n.lstatAt(at, name)
	if err != nil {
		return fileStat{}, err
	}
	return fileStat{name: name, at: at, info: fi, owner: n.owner(at, fi), kind: n.fileType(at, fi), mount: func() string { return n.mountOf(at) }}, nil
}

// mode is the first column of ls -l.
func (f fileStat) mode() string {
	kind := map[string]string{"directory": "d", "symbolic link": "l", "character special file": "c"}[f.kind]
	if kind == "" {
		kind = "-"
	}
	bits := []byte("rwxrwxrwx")
	for i := range bits {
		if f.owner.Mode&(1<<(8-i)) == 0 {
			bits[i] = '-'
		}
	}
	for _, s := range []struct {
		bit     fs.FileMode
		at      int
		set, no byte
	}{{0o4000, 2, 's', 'S'}, {0o2000, 5, 's', 'S'}, {0o1000, 8, 't', 'T'}} {
		if f.owner.Mode&s.bit == 0 {
			continue
		}
		if bits[s.at] == 'x' {
			bits[s.at] = s.set
		} else {
			bits[s.at] = s.no
		}
	}
	return kind + string(bits)
}

// userName and groupName are from the node's passwd and group, as far as known.
func userName(id int) string  { return knownName(id, "UNKNOWN") }
func groupName(id int) string { return knownName(id, "UNKNOWN") }

func knownName(id int, other string) string {
	switch id {
	case 0:
		return "root"
	case wwwData:
		return "www-data"
	}
	return other
}

// format expands one format of stat -c.
func (f fileStat) format(format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		b.WriteString(f.directive(format[i]))
	}
	return b.String()
}

func (f fileStat) directive(c byte) string {
	switch c {
	case 'F':
		return f.kind
	case 'u':
		return strconv.Itoa(f.owner.UID)
	case 'g':
		return strconv.Itoa(f.owner.GID)
	case 'U':
		return userName(f.owner.UID)
	case 'G':
		return groupName(f.owner.GID)
	case 'a':
		return strconv.FormatUint(uint64(f.owner.Mode), 8)
	case 'A':
		return f.mode()
	case 'i':
		number, _ := identity(f.info)
		return strconv.FormatUint(number, 10)
	case 's':
		return strconv.FormatInt(f.info.Size(), 10)
	case 'n':
		return f.name
	case 'm':
		return f.mount()
	case 'y', 'z', 'x':
		return f.info.ModTime().UTC().Format("2006-01-02 15:04:05.000000000 -0700")
	case 'Y', 'Z', 'X':
		return strconv.FormatInt(f.info.ModTime().Unix(), 10)
	case 'h':
		return "1"
	case '%':
		return "%"
	}
	return "?"
}

func statProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "c: format: printf: L dereference f"}, 1)
	if !ok {
		return exit
	}
	format, end := o.last("c")+o.last("format"), "\n"
	if o.has("printf") {
		format, end = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\0`, "\x00").Replace(o.last("printf")), ""
	}
	if format == "" {
		return p.failf(1, "stat: only -c FORMAT is modelled")
	}
	for _, name := range names {
		if o.has("f") {
			if err := p.statFS(name, format+end); err != nil {
				exit = p.failf(1, "stat: cannot read file system information for '%s': %s", name, strerror(err))
			}
			continue
		}
		f, err := p.look(name, o.has("L") || o.has("dereference"))
		if err != nil {
			exit = p.failf(1, "stat: cannot statx '%s': %s", name, strerror(err))
			continue
		}
		fmt.Fprint(p.stdout, f.format(format), end)
	}
	return exit
}

// fsBlock is the block size of the file system of the node's root.
const fsBlock = 4096

// statFS prints what stat -f says of the file system of a file, in the format's
// %a, %f, %b, %S and %i. The node's root is as large as its directory storages, and
// what lies in /var/tmp fills it.
func (p *proc) statFS(name, format string) error {
	if _, err := p.look(name, true); err != nil {
		return err
	}
	free := int64(dirStorageSize)
	for _, e := range p.node.dirFiles("/var/tmp") {
		free -= e.size
	}
	blocks := strconv.FormatInt(max(free, 0)/fsBlock, 10)
	fmt.Fprint(p.stdout, strings.NewReplacer(
		"%a", blocks, "%f", blocks, "%b", strconv.FormatInt(dirStorageSize/fsBlock, 10), "%S", strconv.Itoa(fsBlock), "%n", name,
		"%i", "9f2c11d5a0b3e761",
	).Replace(format))
	return nil
}

func lsProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "1 l a A d n i all almost-all directory"}, 2)
	if !ok {
		return exit
	}
	if len(names) == 0 {
		names = []string{"."}
	}
	var files []fileStat
	var dirs []string
	for _, name := range names {
		f, err := p.look(name, !o.has("l") && !o.has("n") || strings.HasSuffix(name, "/"))
		if err != nil {
			exit = p.failf(2, "ls: cannot access '%s': %s", name, strerror(err))
			continue
		}
		if f.info.IsDir() && !o.has("d") && !o.has("directory") {
			dirs = append(dirs, name)
			continue
		}
		files = append(files, f)
	}
	p.list(files, o)
	for i, dir := range dirs {
		if len(names) > 1 {
			if i > 0 || len(files) > 0 {
				fmt.Fprintln(p.stdout)
			}
			fmt.Fprintf(p.stdout, "%s:\n", dir)
		}
		if status := p.listDir(dir, o); status != 0 {
			exit = status
		}
	}
	return exit
}

func (p *proc) listDir(dir string, o options) int {
	list, err := p.node.readDir(p.abs(dir))
	if err != nil {
		return p.failf(2, "ls: cannot open directory '%s': %s", dir, strerror(err))
	}
	var names []string
	all := o.has("a") || o.has("all")
	if all {
		names = append(names, ".", "..")
	}
	for _, e := range list {
		if all || o.has("A") || o.has("almost-all") || !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	if o.has("l") || o.has("n") {
		fmt.Fprintf(p.stdout, "total %d\n", len(names))
	}
	var files []fileStat
	for _, name := range names {
		f, err := p.look(path.Join(dir, name), name == ".")
		if err != nil {
			continue // removed meanwhile
		}
		f.name = name
		files = append(files, f)
	}
	p.list(files, o)
	return 0
}

// list prints files as ls does, with columns as wide as they need.
func (p *proc) list(files []fileStat, o options) {
	if !o.has("l") && !o.has("n") {
		for _, f := range files {
			fmt.Fprintln(p.stdout, f.name)
		}
		return
	}
	var rows [][]string
	width := make([]int, 6)
	for _, f := range files {
		user, group := knownName(f.owner.UID, strconv.Itoa(f.owner.UID)), knownName(f.owner.GID, strconv.Itoa(f.owner.GID))
		if o.has("n") {
			user, group = strconv.Itoa(f.owner.UID), strconv.Itoa(f.owner.GID)
		}
		name := f.name
		if f.kind == "symbolic link" {
			if to, err := os.Readlink(p.node.host(f.at)); err == nil {
				name += " -> " + to
			}
		}
		row := []string{inode(f.info), f.mode(), strconv.Itoa(p.node.links(f.at, f.info)), user, group, p.node.shownSize(f.at, f.info)}
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
		rows = append(rows, append(row, lsTime(f.info.ModTime()), name))
	}
	for _, row := range rows {
		if o.has("i") {
			fmt.Fprintf(p.stdout, "%*s ", width[0], row[0])
		}
		left := o.has("n") // numbers are on the right
		if left {
			fmt.Fprintf(p.stdout, "%s %*s %*s %*s", row[1], width[2], row[2], width[3], row[3], width[4], row[4])
		} else {
			fmt.Fprintf(p.stdout, "%s %*s %-*s %-*s", row[1], width[2], row[2], width[3], row[3], width[4], row[4])
		}
		fmt.Fprintf(p.stdout, " %*s %s %s\n", width[5], row[5], row[6], row[7])
	}
}

// lsTime is how ls -l shows a time: with the year if it is not of late.
func lsTime(t time.Time) string {
	if age := time.Since(t); age < 0 || age > 182*24*time.Hour {
		return t.UTC().Format("Jan _2  2006")
	}
	return t.UTC().Format("Jan _2 15:04")
}

// links returns the link count of a file: of a directory it tells how many
// directories are in it, except in pmxcfs.
func (n *node) links(at string, fi fs.FileInfo) int {
	if !fi.IsDir() {
		_, names := identity(fi)
		return names
	}
	count := 2
	list, _ := n.readDir(at) // it is there
	for _, e := range list {
		if (e.IsDir() || n.bound(path.Join(at, e.Name()))) && !inPmxcfs(at) {
			count++
		}
	}
	return count
}

// shownSize returns the size that ls -l shows: a directory of ZFS tells how many
// entries it has, a device its numbers.
func (n *node) shownSize(at string, fi fs.FileInfo) string {
	switch {
	case n.isDevice(at):
		return n.deviceNumbers(at)
	case !fi.IsDir():
		return strconv.FormatInt(fi.Size(), 10)
	case inPmxcfs(at):
		return "0"
	case !n.onZFS(at):
		return "4096"
	}
	list, _ := n.readDir(at) // it is there
	return strconv.Itoa(len(list) + 2)
}

// onZFS reports whether a path lies on a mounted dataset.
func (n *node) onZFS(at string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state.ZFS.holding(at) != nil
}

func inode(fi fs.FileInfo) string {
	number, _ := identity(fi)
	return strconv.FormatUint(number, 10)
}

// readlinkProgram is readlink with -f, -e and -m, and realpath.
func readlinkProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "f e m n q s canonicalize canonicalize-existing canonicalize-missing"}, 1)
	if !ok {
		return exit
	}
	canonical := path.Base(p.argv[0]) == "realpath" || len(o) > 0
	for _, name := range names {
		to, err := p.canonical(name, canonical, o)
		if err != nil {
			if exit = 1; path.Base(p.argv[0]) == "realpath" {
				p.failf(1, "realpath: %s: %s", name, strerror(err))
			}
			continue
		}
		fmt.Fprintln(p.stdout, to)
	}
	return exit
}

func (p *proc) canonical(name string, canonical bool, o options) (string, error) {
	if !canonical {
		return os.Readlink(p.node.host(p.abs(name)))
	}
	to, err := p.node.resolve(p.abs(name), true)
	shown := p.node.shownAt(p.abs(name), to)
	if err != nil || o.has("m") || o.has("canonicalize-missing") {
		return shown, err
	}
	must := path.Dir(to) // -f: all but the last element must exist
	if o.has("e") || o.has("canonicalize-existing") {
		must = to
	}
	_, err = p.node.lstat(must)
	return shown, err
}

// deviceNumbers returns major and minor number of a device as ls prints them.
func (n *node) deviceNumbers(at string) string {
	name := path.Base(at)
	switch { // below by-path, see drmFiles
	case strings.HasSuffix(name, "-card"):
		name = "card0"
	case strings.HasSuffix(name, "-render"):
		name = "renderD128"
	}
	if numbers, ok := map[string]string{
		"null": "1,   3", "zero": "1,   5", "fuse": "10, 229", "tun": "10, 200", "kfd": "234,   0",
	}[name]; ok {
		return numbers
	}
	for prefix, numbers := range map[string][2]int{"card": {226, 0}, "renderD": {226, 0}, "nvidia": {195, 0}} {
		if minor, err := strconv.Atoi(strings.TrimPrefix(name, prefix)); err == nil {
			return fmt.Sprintf("%d, %3d", numbers[0], numbers[1]+minor)
		}
	}
	return "0,   0"
}
