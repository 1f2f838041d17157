package lab

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// guestTools are the small programs that most distributions have.
func guestTools() map[string]func(g *guestProc) int {
	return map[string]func(g *guestProc) int{
		"sh": guestSh, "bash": guestSh, "ash": guestSh,
		"true":     func(*guestProc) int { return 0 },
		"false":    func(*guestProc) int { return 1 },
		"cat":      guestCat,
		"env":      guestEnviron,
		"printenv": guestEnviron,
		"hostname": func(g *guestProc) int {
			fmt.Fprintln(g.stdout, g.node.guest(g.id).Hostname)
			return 0
		},
		"id": func(g *guestProc) int {
			fmt.Fprintln(g.stdout, "uid=0(root) gid=0(root)")
			return 0
		},
		"echo": func(g *guestProc) int {
			fmt.Fprintln(g.stdout, strings.Join(g.argv[1:], " "))
			return 0
		},
		"sleep": guestSleep,
		"tar":   guestTar,
		"stty":  guestStty,
		"tty":   guestTty,
		"ls":    guestLs,
		"test":  guestTest,
		"[":     guestTest,
		"touch": func(g *guestProc) int { return g.each(g.touch) },
		"mkdir": func(g *guestProc) int { return g.each(g.mkdir) },
		"rm":    func(g *guestProc) int { return g.each(g.remove) },
		"stat":  func(g *guestProc) int { return 0 },
		"kill":  guestKill,
		"grep":  guestGrep,
		"ps":    func(g *guestProc) int { return 0 },
		"ip":    guestIP,
		"httpd": func(g *guestProc) int { return 0 },
	}
}

func guestSh(g *guestProc) int {
	if len(g.argv) == 2 && g.argv[1] == "-c" {
		return g.failf(2, "sh: -c requires an argument")
	}
	if len(g.argv) == 1 && g.onTerminal() {
		return g.talk()
	}
	if len(g.argv) < 3 || g.argv[1] != "-c" {
		script, err := io.ReadAll(g.stdin)
		if err != nil {
			return 2
		}
		return g.script(string(script), nil)
	}
	if g.boot != nil && g.boot.shell == nil {
		g.boot.shell = g.argv
	}
	return g.script(g.argv[2], g.argv[3:])
}

func guestCat(g *guestProc) int {
	exit := 0
	names := g.operands()
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		if name == "-" {
			_, _ = io.Copy(g.stdout, g.stdin) // a reader that went away ends cat
			continue
		}
		data, err := g.readFile(absolute(g.dir, name))
		if err != nil {
			exit = g.failf(1, "cat: can't open '%s': %s", name, reason(err))
			continue
		}
		_, _ = g.stdout.Write(data) // as above
	}
	return exit
}

// operands returns the arguments that are no options.
func (g *guestProc) operands() []string {
	return slices.DeleteFunc(slices.Clone(g.argv[1:]), func(a string) bool { return len(a) > 1 && a[0] == '-' })
}

// reason words an error as the C library does.
func reason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "No such file or directory"
	case errors.Is(err, fs.ErrExist):
		return "File exists"
	case errors.Is(err, syscall.EISDIR):
		return "Is a directory"
	case errors.Is(err, syscall.EROFS):
		return "Read-only file system"
	case errors.Is(err, syscall.EACCES):
		return "Permission denied"
	}
	return err.Error()
}

func guestEnviron(g *guestProc) int {
	args := g.argv[1:]
	env := slices.Clone(g.env)
	for len(args) > 0 && strings.Contains(args[0], "=") {
		env = append(env, args[0])
		args = args[1:]
	}
	if len(args) > 0 && path.Base(g.argv[0]) == "printenv" {
		if v := g.getenv(args[0]); v != "" {
			fmt.Fprintln(g.stdout, v)
			return 0
		}
		return 1
	}
	if len(args) > 0 {
		p := g.with(args)
		p.env = env
		exit, found := p.run()
		if !found {
			return g.failf(exitNotFound, "env: can't execute '%s': No such file or directory", args[0])
		}
		return exit
	}
	for _, kv := range env {
		fmt.Fprintln(g.stdout, kv)
	}
	return 0
}

// guestSleep does not wait: nothing in a model takes time.
func guestSleep(*guestProc) int { return 0 }

// guestTest is test(1) with one file or string.
func guestTest(g *guestProc) int {
	args := slices.DeleteFunc(slices.Clone(g.argv[1:]), func(a string) bool { return a == "]" })
	if len(args) == 3 {
		if (args[1] == "=") == (args[0] == args[2]) {
			return 0
		}
		return 1
	}
	if len(args) != 2 {
		return 1
	}
	at, err := g.root.real(absolute(g.dir, args[1]), true)
	if err != nil {
		return 1
	}
	fi, err := os.Lstat(g.node.host(at))
	ok := err == nil
	switch args[0] {
	case "-n":
		ok = args[1] != ""
	case "-z":
		ok = args[1] == ""
	case "-d":
		ok = ok && fi.IsDir()
	case "-f":
		ok = ok && fi.Mode().IsRegular()
	case "-s":
		ok = ok && fi.Size() > 0
	}
	if ok {
		return 0
	}
	return 1
}

// each calls f for each operand and prints its errors.
func (g *guestProc) each(f func(name string) error) int {
	exit := 0
	for _, name := range g.operands() {
		if err := f(absolute(g.dir, name)); err != nil {
			exit = g.failf(1, "%s: %s: %s", path.Base(g.argv[0]), name, reason(err))
		}
	}
	return exit
}

func (g *guestProc) touch(name string) error {
	if err := g.mayWrite(name); err != nil {
		return err
	}
	at, err := g.root.real(name, true)
	if err != nil {
		return err
	}
	if fi, err := os.Lstat(g.node.host(at)); err == nil {
		if o := g.node.owner(at, fi); g.root.mount(name).shown("u", o.UID) == unmapped && o.Mode&0o002 == 0 {
			return syscall.EACCES
		}
	}
	f, err := os.OpenFile(g.node.host(at), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	g.own(name, at)
	return f.Close()
}

func (g *guestProc) mkdir(name string) error {
	if err := g.mayWrite(name); err != nil {
		return err
	}
	at, err := g.root.real(name, true)
	if err != nil {
		return err
	}
	if slices.Contains(g.argv, "-p") {
		err = os.MkdirAll(g.node.host(at), 0o755)
	} else {
		err = os.Mkdir(g.node.host(at), 0o755)
	}
	if err == nil {
		uid, gid := g.root.rootOf(name)
		g.node.setOwner(at, owner{UID: uid, GID: gid, Mode: 0o755})
	}
	return err
}

func (g *guestProc) remove(name string) error {
	if err := g.mayWrite(name); err != nil {
		return err
	}
	at, err := g.root.real(name, false)
	if err != nil {
		return err
	}
	return g.node.removeAll(at)
}
