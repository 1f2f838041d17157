package lab

import (
	"context"
	"errors"
	"os"
	"path"
	"strconv"
	"time"
)

// flockProgram is flock [-n|-w N] [-x|-s] [-E N] FILE COMMAND... or -c.
func flockProgram(p *proc) int {
	o, args, err := grammar{
		names:   "n nb nonblock w: wait: timeout: x e s shared exclusive E: conflict-exit-code: o close F no-fork u v",
		inOrder: true,
	}.parse(p.argv[1:])
	if err != nil {
		return p.failf(64, "flock: %v\nTry 'flock --help' for more information.", err)
	}
	if len(args) < 2 {
		return p.failf(64, "flock: bad file descriptor: locks on open descriptors are not modelled")
	}
	wait := time.Duration(-1)
	if w := o.last("w") + o.last("wait") + o.last("timeout"); w != "" {
		sec, err := strconv.ParseFloat(w, 64)
		if err != nil {
			return p.failf(64, "flock: invalid timeout value: '%s'", w)
		}
		wait = time.Duration(sec * float64(time.Second))
	}
	if o.has("n") || o.has("nb") || o.has("nonblock") {
		wait = 0
	}
	conflict := 1
	if c := o.last("E") + o.last("conflict-exit-code"); c != "" {
		if conflict, err = strconv.Atoi(c); err != nil {
			return p.failf(64, "flock: invalid exit code: '%s'", c)
		}
	}
	file, argv := p.abs(args[0]), args[1:]
	if fi, err := p.node.stat(path.Dir(file)); err != nil || !fi.IsDir() {
		return p.failf(66, "flock: cannot open lock file %s: No such file or directory", args[0])
	}
	release, err := p.node.flock(p.ctx, file, wait, o.has("s") || o.has("shared"))
	switch {
	case errors.Is(err, errBusy), errors.Is(err, errTimedOut):
		return conflict
	case errors.Is(err, context.Canceled):
		return exitKilled
	case err != nil:
		return p.failf(66, "flock: cannot open lock file %s: %s", args[0], strerror(err))
	}
	defer release()
	if argv[0] == "-c" && len(argv) == 2 {
		argv = []string{"sh", "-c", argv[1]}
	}
	if _, ok := p.node.program(argv[0]); !ok {
		return p.failf(69, "flock: failed to execute %s: No such file or directory", argv[0])
	}
	return p.node.exec(p.ctx, argv, p.env, p.dir, p.stdin, p.stdout, p.stderr)
}

func umountProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "R l f recursive lazy force"}, 1)
	if !ok {
		return exit
	}
	defer p.node.save()
	for _, name := range names {
		found, err := p.node.unbind(p.abs(name))
		if !found && err == nil {
			found, err = p.node.unmountAt(p.abs(name))
		}
		switch {
		case err != nil:
			exit = p.failf(32, "umount: %s: target is busy.", name)
		case !found:
			if _, err := p.node.stat(p.abs(name)); errors.Is(err, os.ErrNotExist) {
				exit = p.failf(32, "umount: %s: no mount point specified.", name)
			} else if !o.has("R") && !o.has("recursive") {
				exit = p.failf(32, "umount: %s: not mounted.", name)
			} else {
				exit = p.failf(1, "umount: %s: not mounted", name)
			}
		}
	}
	return exit
}

// unmountAt unmounts the file system that is mounted at a path.
func (n *node) unmountAt(name string) (bool, error) {
	at, err := n.resolve(name, true)
	if err != nil {
		return false, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if d := n.state.ZFS.mountedAt(at); d != nil {
		return true, n.unmountFS(d.Name)
	}
	return false, nil
}

func mountpointProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "q d x quiet"}, 1)
	if !ok {
		return exit
	}
	if len(names) != 1 {
		return p.failf(1, "mountpoint: bad usage\nTry 'mountpoint --help' for more information.")
	}
	quiet := o.has("q") || o.has("quiet")
	at, err := p.node.resolve(p.abs(names[0]), false)
	if err == nil {
		_, err = p.node.stat(at)
	}
	switch {
	case err != nil && quiet:
		return 1
	case err != nil:
		return p.failf(1, "mountpoint: %s: %s", names[0], strerror(err))
	case p.node.isMountpoint(at):
		p.say(quiet, names[0]+" is a mountpoint")
		return 0
	}
	p.say(quiet, names[0]+" is not a mountpoint")
	return 32
}

func (p *proc) say(quiet bool, line string) {
	if !quiet {
		_, _ = p.stdout.Write([]byte(line + "\n")) // a closed pipe is no error here
	}
}
