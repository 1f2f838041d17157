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
		"cat":      taking("u", guestCat),
		"env":      guestEnviron,
		"printenv": guestEnviron,
		"hostname": taking("s f", guestHostname),
		"id":       taking("u g n", guestID),
		"getent":   taking("", guestGetent),
		"echo": func(g *guestProc) int {
			fmt.Fprintln(g.stdout, strings.Join(g.argv[1:], " "))
			return 0
		},
		"sleep": taking("", guestSleep),
		"tar":   guestTar,
		"stty":  guestStty,
		"tty":   guestTty,
		"ls":    taking("1 l a A n d", guestLs),
		"test":  guestTest,
		"[":     guestTest,
		"touch": taking("", func(g *guestProc) int { return g.each("%s", g.touch) }),
		"mkdir": taking("p", func(g *guestProc) int { return g.each("can't create directory '%s'", g.mkdir) }),
		"rm":    taking("r R f", func(g *guestProc) int { return g.each("can't remove '%s'", g.remove) }),
		"stat":  guestStat,
		"kill":  guestKill,
		"grep":  taking("E q v c", guestGrep),
		"ps":    taking("", guestPs),
		"ip":    guestIP,
		"httpd": func(g *guestProc) int { return 0 },
	}
}

// taking returns a tool that refuses, as the real one does, every option but those.
func taking(names string, tool func(g *guestProc) int) func(g *guestProc) int {
	return func(g *guestProc) int {
		if _, _, err := (grammar{names: names}).parse(g.argv[1:]); err != nil {
			return g.failf(1, "%s: %v", path.Base(g.argv[0]), err)
		}
		return tool(g)
	}
}

func guestHostname(g *guestProc) int {
	if len(g.operands()) > 0 {
		return g.failf(1, "hostname: sethostname: Operation not permitted")
	}
	fmt.Fprintln(g.stdout, g.node.guest(g.id).Hostname)
	return 0
}

func guestID(g *guestProc) int {
	switch {
	case !g.flag('u') && !g.flag('g'):
		fmt.Fprintln(g.stdout, "uid=0(root) gid=0(root)")
	case g.flag('n'):
		fmt.Fprintln(g.stdout, "root")
	default:
		fmt.Fprintln(g.stdout, "0")
	}
	return 0
}

// guestGetent is getent of passwd, group and hosts, all of it or by keys; what
// only a resolver knows is not found.
func guestGetent(g *guestProc) int {
	args := g.operands()
	if len(args) == 0 {
		return g.failf(1, "getent: wrong number of arguments")
	}
	parts := strings.Fields
	switch args[0] {
	case "passwd", "group":
		parts = func(line string) []string { return strings.Split(line, ":") }
	case "hosts":
	default:
		return g.failf(1, "getent: Unknown database: %s", args[0])
	}
	data, err := g.readFile("/etc/" + args[0])
	if err != nil {
		data = nil
	}
	exit := 0
	lines := slices.Collect(strings.Lines(string(data)))
	for _, key := range args[1:] {
		found := false
		for _, line := range lines {
			words := parts(strings.TrimSpace(line))
			if args[0] != "hosts" && len(words) > 3 {
				words = []string{words[0], words[2]} // name and number
			}
			if !strings.HasPrefix(line, "#") && slices.Contains(words, key) {
				fmt.Fprintln(g.stdout, strings.TrimSpace(line))
				found = true
				break
			}
		}
		if !found {
			exit = 2
		}
	}
	if len(args) == 1 {
		_, _ = g.stdout.Write(data) // a reader that went away is none of its business
	}
	return exit
}

// guestStat is stat -c FORMAT.
func guestStat(g *guestProc) int {
	o, names, err := grammar{names: "c: L"}.parse(g.argv[1:])
	switch {
	case err != nil:
		return g.failf(1, "stat: %v", err)
	case !o.has("c"):
		return g.failf(1, "stat: the lab models stat -c FORMAT only")
	}
	exit := 0
	for _, name := range names {
		f, err := g.look(name, o.has("L"))
		if err != nil {
			exit = g.failf(1, "stat: can't stat '%s': %s", name, reason(err))
			continue
		}
		f.mount = func() string { return path.Join("/", g.root.mount(absolute(g.dir, name)).Path) }
		fmt.Fprintln(g.stdout, f.format(o.last("c")))
	}
	return exit
}

// guestPs shows the first process, the only one that is modelled.
func guestPs(g *guestProc) int {
	fmt.Fprintf(g.stdout, "PID   USER     TIME  COMMAND\n    1 root      0:00 %s\n", strings.Join(g.node.guest(g.id).Init, " "))
	return 0
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

// guestTest is test(1) of one file or string, or of two strings.
func guestTest(g *guestProc) int {
	args := slices.DeleteFunc(slices.Clone(g.argv[1:]), func(a string) bool { return a == "]" })
	not := len(args) > 1 && args[0] == "!"
	if not {
		args = args[1:]
	}
	is, known := g.test(args)
	switch {
	case !known:
		return g.failf(2, "sh: %s: unknown operand", args[0])
	case is != not:
		return 0
	}
	return 1
}

// test evaluates one expression; known is false for one that is not modelled.
func (g *guestProc) test(args []string) (is, known bool) {
	switch {
	case len(args) == 0:
		return false, true
	case len(args) == 1:
		return args[0] != "", true
	case len(args) == 3 && (args[1] == "=" || args[1] == "!="):
		return (args[1] == "=") == (args[0] == args[2]), true
	case len(args) != 2:
		return false, false
	}
	link := args[0] == "-L" || args[0] == "-h"
	var fi fs.FileInfo
	at, err := g.root.real(absolute(g.dir, args[1]), !link)
	if err == nil {
		fi, err = os.Lstat(g.node.host(at))
	}
	ok := err == nil
	switch args[0] {
	case "-e", "-r", "-w", "-x":
	case "-L", "-h":
		ok = ok && fi.Mode()&fs.ModeSymlink != 0
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
	default:
		return false, false
	}
	return ok, true
}

// each calls f for each operand and prints its errors, with what failed before
// them.
func (g *guestProc) each(failed string, f func(name string) error) int {
	exit := 0
	for _, name := range g.operands() {
		if err := f(absolute(g.dir, name)); err != nil {
			exit = g.failf(1, "%s: "+failed+": %s", path.Base(g.argv[0]), name, reason(err))
		}
	}
	return exit
}

func (g *guestProc) touch(name string) error {
	at, err := g.root.real(name, true)
	if err != nil {
		return err
	}
	if fi, err := os.Lstat(g.node.host(at)); err == nil && !g.root.readOnly(name) {
		if o := g.node.owner(at, fi); g.root.mount(name).shown("u", o.UID) == unmapped && o.Mode&0o002 == 0 {
			return syscall.EACCES
		}
	} else if err := g.mayWrite(name); err != nil {
		return err
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
