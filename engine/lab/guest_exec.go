package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"github.com/tengil/tengil/engine/pve"
)

// A guestProc is a program that runs in a container: a small model for what
// probes and recipes call, on the container's real files.
type guestProc struct {
	ctx            context.Context
	node           *node
	id             int
	root           guestRoot
	argv, env      []string
	dir            string
	stdin          io.Reader
	stdout, stderr io.Writer
	// boot is set while the container's own command line runs.
	boot *boot
}

// with returns the process for another command line.
func (g guestProc) with(argv []string) *guestProc {
	g.argv = argv
	return &g
}

func (g *guestProc) failf(exit int, format string, a ...any) int {
	fmt.Fprintf(g.stderr, format+"\n", a...)
	return exit
}

// getenv returns a variable of the program's environment, "" if it is not set.
func (g *guestProc) getenv(name string) string {
	for _, kv := range slices.Backward(g.env) {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// run runs the program; found is false if the container does not have it.
func (g *guestProc) run() (exit int, found bool) {
	if len(g.argv) == 0 || !g.root.hasProgram(g.argv[0], g.getenv("PATH"), g.dir) {
		return exitNotFound, false
	}
	name := path.Base(g.argv[0])
	if g.boot != nil && g.boot.stays(g) {
		return 0, true
	}
	if tool, ok := guestTools()[name]; ok {
		return tool(g), true
	}
	if probe, ok := guestProbes()[name]; ok {
		return probe(g), true
	}
	if g.root.standIn() && g.known(name) {
		return 0, true // it does what it is called for, and says nothing
	}
	return exitNotFound, false
}

// known reports whether a stand-in image, which holds few files, would have a
// program: it is among the few, every distribution has it, or the container's
// own command line names it.
func (g *guestProc) known(name string) bool {
	if g.boot != nil || slices.Contains(usualPrograms(), name) || g.root.find(g.argv[0], g.getenv("PATH"), g.dir) {
		return true
	}
	conf, err := g.node.guestConfig(g.id)
	if err != nil {
		return false
	}
	for _, word := range pve.SplitEntrypoint(conf.Get("entrypoint")) {
		if path.Base(word) == name {
			return true
		}
	}
	return false
}

// usualPrograms are those of every distribution, interpreters and the tools that
// come with databases. The model takes them to have done their work.
func usualPrograms() []string {
	return strings.Fields("createdb createuser dropdb pg_dump pg_dumpall pg_restore mysql mariadb mysqldump mariadb-dump " +
		"php perl python python3 node npm ruby java openssl tini su-exec gosu setpriv " +
		"awk basename chmod chown chgrp cp cut date dd df dirname du egrep expr find grep gzip head install " +
		"kill ln mkfifo mktemp mv nproc od pwd readlink realpath rmdir sed seq sha256sum sort su sync tail tee timeout tr uname uniq wc whoami xargs")
}

// script runs a shell script in the container.
func (g *guestProc) script(text string, params []string) int {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(text), "")
	if err != nil {
		return g.failf(2, "sh: syntax error")
	}
	r, err := g.runner(params)
	if err != nil {
		return g.failf(2, "sh: %v", err)
	}
	err = r.Run(g.ctx, file)
	var status interp.ExitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, errGuestKilled):
		return exitKilled
	}
	return 2
}

// runner returns what interprets scripts in the container.
func (g *guestProc) runner(params []string) (*interp.Runner, error) {
	if len(params) > 0 {
		params = params[1:]
	}
	env := g.env
	if g.getenv("HOME") == "" {
		env = append(slices.Clone(env), "HOME=") // else the interpreter sets that of the lab's machine
	}
	r, err := interp.New(
		interp.Env(expand.ListEnviron(env...)),
		interp.Params(append([]string{"--"}, params...)...),
		interp.StdIO(g.stdin, g.stdout, g.stderr),
		interp.CallHandler(func(_ context.Context, args []string) ([]string, error) {
			if args[0] == "kill" { // a builtin of the shell that the interpreter has not
				return append([]string{"/bin/kill"}, args[1:]...), nil
			}
			return args, nil
		}),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return g.scriptExec }),
		interp.OpenHandler(g.scriptOpen),
		interp.ReadDirHandler2(g.scriptReadDir),
		interp.StatHandler(g.scriptStat),
		interp.AccessHandler(func(context.Context, string, interp.AccessMode) error { return nil }),
	)
	if err != nil {
		return nil, err
	}
	r.Dir = g.dir // set without interp.Dir, which looks for it on the lab's machine
	return r, nil
}

func (g *guestProc) scriptExec(ctx context.Context, args []string) error {
	if killsShell(args) {
		return errGuestKilled
	}
	hc := interp.HandlerCtx(ctx)
	p := g.with(args)
	p.ctx, p.dir, p.stdout, p.stderr = ctx, hc.Dir, hc.Stdout, hc.Stderr
	p.stdin = hc.Stdin
	if f, ok := hc.Stdin.(*os.File); hc.Stdin == nil || ok && f == nil {
		p.stdin = eofReader{}
	}
	p.env = nil
	for name, v := range hc.Env.Each {
		if v.Exported && v.Kind == expand.String {
			p.env = append(p.env, name+"="+v.Str)
		}
	}
	exit, found := p.run()
	if tool, small := guestTools()[args[0]]; !found && small && g.root.exists("/bin/busybox") {
		exit, found = tool(p), true // busybox's shell runs its applets without a link
	}
	if !found {
		fmt.Fprintf(hc.Stderr, "sh: %s: not found\n", args[0])
	}
	if g.boot != nil && g.boot.alive {
		return errStays
	}
	if exit != 0 {
		return interp.ExitStatus(exit & 0xff)
	}
	return nil
}

func (g *guestProc) scriptOpen(ctx context.Context, name string, flag int, _ fs.FileMode) (io.ReadWriteCloser, error) {
	name = path.Join("/", absolute(interp.HandlerCtx(ctx).Dir, name))
	if name == "/dev/null" {
		return os.OpenFile(os.DevNull, flag, 0)
	}
	if flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		data, err := g.readFile(name)
		if err != nil {
			return nil, &fs.PathError{Op: "sh: can't open", Path: name, Err: errors.New("no such file")}
		}
		return &readOnlyFile{strings.NewReader(string(data))}, nil
	}
	if err := g.mayWrite(name); err != nil {
		return nil, &fs.PathError{Op: "sh: can't create", Path: name, Err: errors.New(reason(err))}
	}
	at, err := g.root.real(name, true)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(g.node.host(at), flag, 0o644)
	if err != nil {
		return nil, &fs.PathError{Op: "sh: can't create", Path: name, Err: errors.New("nonexistent directory")}
	}
	g.own(name, at)
	return f, nil
}

type readOnlyFile struct{ *strings.Reader }

func (readOnlyFile) Write([]byte) (int, error) { return 0, fs.ErrPermission }
func (readOnlyFile) Close() error              { return nil }

func (g *guestProc) scriptReadDir(_ context.Context, name string) ([]fs.DirEntry, error) {
	at, err := g.root.real(name, true)
	if err != nil {
		return nil, err
	}
	return os.ReadDir(g.node.host(at))
}

func (g *guestProc) scriptStat(_ context.Context, name string, follow bool) (fs.FileInfo, error) {
	at, err := g.root.real(name, follow)
	if err != nil {
		return nil, err
	}
	return os.Lstat(g.node.host(at))
}

// own notes that root of the container made the file name, at of the node, unless
// it has an owner already.
func (g *guestProc) own(name, at string) {
	g.node.mu.Lock()
	known := g.node.state.Owners.has(at)
	g.node.mu.Unlock()
	if !known {
		uid, gid := g.root.rootOf(name)
		g.node.setOwner(at, owner{UID: uid, GID: gid, Mode: 0o644})
	}
}

// mayWrite refuses a new file where the container's root may not write: on a
// read-only mount, and in a directory of an id that the container does not map.
func (g *guestProc) mayWrite(name string) error {
	if g.root.readOnly(name) {
		return syscall.EROFS
	}
	dir, err := g.root.real(path.Dir(name), true)
	if err != nil {
		return err
	}
	fi, err := os.Lstat(g.node.host(dir))
	if err != nil {
		return nil // whoever opens it will say so
	}
	if o := g.node.owner(dir, fi); g.root.mount(name).shown("u", o.UID) == unmapped && o.Mode&0o002 == 0 {
		return syscall.EACCES
	}
	return nil
}

// readFile reads a file of the container, or what the kernel shows of PID 1.
func (g *guestProc) readFile(name string) ([]byte, error) {
	s := g.node.guest(g.id)
	switch name {
	case "/proc/1/cmdline":
		return []byte(strings.Join(s.Init, "\x00") + "\x00"), nil
	case "/proc/1/environ":
		env := append([]string{"TERM=linux"}, g.node.guestEnv(g.id)...)
		env = append(env, "container=lxc", "container_ttys=pts/1 pts/2")
		return []byte(strings.Join(env, "\x00") + "\x00"), nil
	case "/proc/1/status":
		return []byte(g.procStatus()), nil
	}
	return g.root.readFile(name)
}

// guestEnv returns the environment that a container's config gives PID 1.
func (n *node) guestEnv(id int) []string {
	conf, err := n.guestConfig(id)
	if err != nil {
		return nil
	}
	return conf.Env
}
