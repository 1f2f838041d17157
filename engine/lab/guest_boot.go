package lab

import (
	"context"
	"errors"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// errStays ends the script of an entrypoint: something in it stays.
var errStays = errors.New("runs on")

// A boot follows a container's command line until something in it stays.
type boot struct {
	alive bool
	argv  []string // of what stays
	uid   int
	deaf  bool // it does not end when it is asked to
	// shell is the command line of the shell whose script runs, if it is PID 1.
	shell []string
	// ended is closed when PID 1 has ended by itself; nil if it never does.
	ended <-chan struct{}
}

// bootGuest runs a command line as PID 1. found is false if it does not exist.
func (n *node) bootGuest(id int, root guestRoot, conf *pve.Config, argv []string) (b *boot, found bool) {
	b = &boot{}
	out := n.console(conf)
	b.uid, _ = strconv.Atoi(conf.RawValue("lxc.init.uid")) // unset is root
	g := &guestProc{
		ctx: context.Background(), node: n, id: id, root: root, argv: argv, env: conf.Env, dir: "/",
		stdin: eofReader{}, stdout: out, stderr: out, boot: b,
	}
	if dir := conf.RawValue("lxc.init.cwd"); dir != "" {
		g.dir = dir
	}
	_, found = g.run()
	return b, found
}

// stays reports whether the program is one that goes on, and notes it.
func (b *boot) stays(g *guestProc) bool {
	if b.alive {
		return true
	}
	name := path.Base(g.argv[0])
	if _, small := guestTools()[name]; small && !waits(g.argv) {
		return false
	}
	if name == "httpd" && b.uid != 0 && httpPort(g.argv) < 1024 {
		return false // it may not listen there, and ends
	}
	b.alive, b.argv = true, g.argv
	b.deaf = name == "httpd" || name == "sleep" || isShell(name)
	if b.shell != nil && !strings.Contains(b.shell[2], "exec "+g.argv[0]) {
		b.argv, b.deaf = b.shell, !handlesTERM(b.shell[2])
	}
	return true
}

// waits reports whether a small program waits for input or time.
func waits(argv []string) bool {
	name := path.Base(argv[0])
	switch {
	case isShell(name):
		return len(argv) == 1 || argv[1] != "-c"
	case name == "cat":
		return len(argv) == 1
	}
	return name == "sleep" || name == "httpd"
}

func isShell(name string) bool { return name == "sh" || name == "bash" || name == "ash" }

// handlesTERM reports whether a script traps the signal to end.
func handlesTERM(script string) bool {
	return regexp.MustCompile(`\btrap\b[^;\n]*\b(SIG)?TERM\b`).MatchString(script)
}

// httpPort returns the port of a command line of busybox's httpd.
func httpPort(argv []string) int {
	for i, a := range argv {
		if a == "-p" && i+1 < len(argv) {
			number := argv[i+1][strings.LastIndexByte(argv[i+1], ':')+1:]
			if p, err := strconv.Atoi(number); err == nil {
				return p
			}
		}
	}
	return 80
}
