package lab

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A service is a daemon of Debian that a node may have besides what Proxmox brings:
// as much of it as step kinds written in Starlark use. It is there when its package
// was installed, and runs while its pid file is there.
type service struct {
	pkg, version string
	binary       string            // whose presence tells that the package is installed
	programs     []string          // that come with it
	files        map[string]string // of the fresh package
	unit, pid    string
}

func services() []service {
	return []service{
		{
			pkg: "samba", version: "2:4.22.6+dfsg-0+deb13u1", binary: "/usr/sbin/smbd", programs: []string{"testparm"},
			files: map[string]string{smbConf: "[global]\n   workgroup = WORKGROUP\n   server role = standalone server\n   map to guest = bad user\n"},
			unit:  "smbd.service", pid: "/run/samba/smbd.pid",
		},
		{
			pkg: "nfs-kernel-server", version: "1:2.8.3-1", binary: "/usr/sbin/exportfs", programs: []string{"exportfs"},
			files: map[string]string{exportsFile: "# /etc/exports: the access control list for filesystems which may be exported\n", etabFile: ""},
			unit:  "nfs-server.service", pid: "/run/nfs-server.pid",
		},
	}
}

const (
	smbConf     = "/etc/samba/smb.conf"
	exportsFile = "/etc/exports"
	exportsDir  = "/etc/exports.d"
	etabFile    = "/var/lib/nfs/etab"
)

func servicePrograms() map[string]program {
	return map[string]program{"apt-get": aptGetProgram, "testparm": testparmProgram, "exportfs": exportfsProgram}
}

func (n *node) exists(name string) bool {
	_, err := n.stat(name)
	return err == nil
}

// lacks reports whether a program belongs to a package that is not installed.
func (n *node) lacks(name string) bool {
	for _, s := range services() {
		if slices.Contains(s.programs, name) {
			return !n.exists(s.binary)
		}
	}
	return false
}

// serviceOf returns the service that a unit runs, if its package is installed.
func (n *node) serviceOf(unit string) (service, bool) {
	for _, s := range services() {
		if s.unit == serviceName(unit) && n.exists(s.binary) {
			return s, true
		}
	}
	return service{}, false
}

// asUnit is the service as systemd shows it.
func (n *node) asUnit(s service) unit {
	u := unit{Name: s.unit, Type: "notify", Active: "inactive", Sub: "dead", Result: "success", Description: s.pkg}
	if pid, err := n.readFile(s.pid); err == nil {
		u.PID, _ = strconv.Atoi(strings.TrimSpace(string(pid)))
		u.Active, u.Sub = "active", "running"
	}
	return u
}

// setService starts or stops a service.
func (n *node) setService(s service, running bool) error {
	if !running {
		return n.removeAll(s.pid)
	}
	if err := n.mkdirAll(path.Dir(s.pid)); err != nil || n.exists(s.pid) {
		return err
	}
	return n.writeFile(s.pid, []byte("1204\n"), 0o644)
}

// controlUnits is systemctl start, restart and reload in their forms.
func (p *proc) controlUnits(verb string, names []string) int {
	for _, name := range names {
		s, ok := p.node.serviceOf(name)
		if !ok {
			return p.failf(5, "Failed to %s %s: Unit %[2]s not found.", verb, serviceName(name))
		}
		if verb == "reload" && !p.node.exists(s.pid) {
			return p.failf(1, "%s is not active, cannot reload.", s.unit)
		}
		if err := p.node.setService(s, true); err != nil {
			return p.failf(1, "Failed to %s %s: %v", verb, s.unit, err)
		}
	}
	return 0
}

// aptGetProgram is apt-get install of the packages of services.
func aptGetProgram(p *proc) int {
	_, args, err := grammar{names: "y yes assume-yes q quiet"}.parse(p.argv[1:])
	if err != nil {
		return p.failf(100, "E: Command line option is not understood: %v", err)
	}
	if len(args) == 0 || args[0] != "install" {
		return p.failf(100, "E: Invalid operation; the lab knows apt-get install of packages that bring a service")
	}
	all := services()
	for _, name := range args[1:] {
		i := slices.IndexFunc(all, func(s service) bool { return s.pkg == name })
		if i < 0 {
			return p.failf(100, "E: Unable to locate package %s", name)
		}
		if err := p.node.install(all[i]); err != nil {
			return p.failf(100, "E: %v", err)
		}
		fmt.Fprintf(p.stdout, "Setting up %s (%s) ...\n", name, all[i].version)
	}
	return 0
}

func (n *node) install(s service) error {
	files := map[string]string{s.binary: ""}
	for name, text := range s.files {
		if !n.exists(name) {
			files[name] = text
		}
	}
	for name, text := range files {
		if err := n.mkdirAll(path.Dir(name)); err != nil {
			return err
		}
		if err := n.writeFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return n.setService(s, true)
}

// testparmProgram is testparm -s: it reads a configuration of Samba with what that
// includes, and prints its sections.
func testparmProgram(p *proc) int {
	_, args, exit, ok := p.options(grammar{names: "s suppress-prompt v verbose"}, 1)
	if !ok {
		return exit
	}
	file := smbConf
	if len(args) > 0 {
		file = args[0]
	}
	var out strings.Builder
	if err := p.node.readSamba(file, &out, 0); err != nil {
		return p.failf(1, "Load smb config files from %s\n%v\nError loading services.", file, err)
	}
	fmt.Fprintf(p.stderr, "Load smb config files from %s\nLoaded services file OK.\n", file)
	fmt.Fprint(p.stdout, out.String())
	return 0
}

// maxIncludes is how deep files of Samba may include one another.
const maxIncludes = 10

func (n *node) readSamba(file string, out *strings.Builder, depth int) error {
	data, err := n.readFile(file)
	if err != nil {
		return saidf("Can't find include file %s", file)
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		key, value, isParam := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[' && strings.HasSuffix(line, "]"):
			fmt.Fprintf(out, "\n%s\n", line)
		case !isParam:
			return fmt.Errorf("params.c:Parameter() - Ignoring badly formed line in configuration file: %s", line)
		case strings.TrimSpace(key) == "include" && depth < maxIncludes:
			if err := n.readSamba(strings.TrimSpace(value), out, depth+1); err != nil {
				return err
			}
		default:
			fmt.Fprintf(out, "\t%s = %s\n", strings.TrimSpace(key), strings.TrimSpace(value))
		}
	}
	return nil
}

// exportfsProgram is exportfs -ra, -s and -v.
func exportfsProgram(p *proc) int {
	o, args, exit, ok := p.options(grammar{names: "r a s v"}, 1)
	switch {
	case !ok:
		return exit
	case len(args) > 0:
		return p.failf(1, "exportfs: the lab models -ra, -s and -v only")
	case o.has("r") || o.has("a"):
		return p.reexport()
	}
	table, err := p.node.readFile(etabFile)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(table)) {
		dir, client, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if o.has("s") {
			fmt.Fprintf(p.stdout, "%s  %s\n", dir, client)
			continue
		}
		if dir, err = url.PathUnescape(strings.ReplaceAll(dir, `\040`, "%20")); err != nil {
			return p.failf(1, "exportfs: %v", err)
		}
		if len(dir) > 14 {
			dir += "\n\t"
		}
		fmt.Fprintf(p.stdout, "%-14s\t%s\n", dir, client)
	}
	return 0
}

// reexport makes the table of exports of the files: of those in exports.d that end
// in .exports, and do not begin with a dot.
func (p *proc) reexport() int {
	files := []string{exportsFile}
	entries, _ := p.node.readDir(exportsDir) // there need not be one
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".exports") && name[0] != '.' {
			files = append(files, path.Join(exportsDir, name))
		}
	}
	var table strings.Builder
	exit := 0
	for _, file := range files {
		data, err := p.node.readFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' {
				continue
			}
			dir, clients := cutExport(line)
			if !p.node.exists(dir) {
				exit = p.failf(1, "exportfs: Failed to stat %s: No such file or directory", dir)
				continue
			}
			for client := range strings.FieldsSeq(clients) {
				fmt.Fprintf(&table, "%s\t%s\n", strings.ReplaceAll(dir, " ", `\040`), client)
			}
		}
	}
	if err := p.node.writeFile(etabFile, []byte(table.String()), 0o644); err != nil {
		return p.failf(1, "exportfs: %v", err)
	}
	return exit
}

// cutExport parts the directory of a line, which may be quoted, from its clients.
func cutExport(line string) (dir, clients string) {
	if quoted, ok := strings.CutPrefix(line, `"`); ok {
		dir, clients, _ = strings.Cut(quoted, `"`)
		return dir, clients
	}
	dir, clients, _ = strings.Cut(line, " ")
	return dir, clients
}
