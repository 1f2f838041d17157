package lab

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A node is the model of one Proxmox node. Its files lie in a directory of the
// machine that runs the lab; what has no file on a real node either (which
// containers run, what ZFS knows) is in state, which is kept beside them.
type node struct {
	name string // the node's name: "pve"
	dir  string // the lab's directory; the node's "/" is dir/root
	pve  string // version of pve-container that is modelled: "6.0.18" or "6.1.10"
	pull bool   // skopeo may fetch from real registries

	mu    sync.Mutex // guards state; never held while a program waits for anything
	state state

	programs map[string]program

	saver    saver
	consoles sync.Mutex // held while a container prints
	settings sync.Mutex // held while a file beside the state is changed

	plain    plainPaths
	troubles troubleTable
	locks    lockTable
	faults   faultTable
	delay    func(argv []string) time.Duration // nil for none
	log      *slog.Logger
	record   recorder
	usages   usageTable
	// cut drops every connection to the node.
	cut    func()
	reboot func() // takes the power away and gives it back

	// life ends when the lab closes or its power is cut; what outlives its session
	// (units, containers) hangs on it and is counted by background.
	driver driver // of what is in containers
	lxc    *Real  // nil where they are modelled; files belong to who owns them if not

	life       lifetime
	background sync.WaitGroup
	pids       pidTable
}

// A program is a command of the node: it gets its argv (with its name at 0),
// its streams and a context that ends when its session is cut or it is killed,
// and returns its exit status.
type program func(p *proc) int

// A proc is one running program.
type proc struct {
	ctx            context.Context
	node           *node
	argv           []string
	env            []string // K=V
	dir            string   // working directory, a path of the node
	stdin          io.Reader
	stdout, stderr io.Writer

	pid   int
	fault *Fault // fires at the program's next checkpoint
	// caught is set by a program that catches signals and ends in its own way.
	caught bool
}

// Exit statuses that the shell and the kernel give.
const (
	exitNotFound = 127
	exitKilled   = 137 // 128 + SIGKILL
)

// exec runs one program of the node as the kernel would, without a shell, and
// returns its exit status. An unknown one is 127, one that ctx ended is 137.
func (n *node) exec(ctx context.Context, argv, env []string, dir string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(argv) == 0 {
		return 0
	}
	run, ok := n.program(argv[0])
	if !ok {
		fmt.Fprintf(stderr, "%s: command not found\n", argv[0])
		n.record.add(argv, exitNotFound, false)
		return exitNotFound
	}
	parent := ctx
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	p := &proc{
		ctx: ctx, node: n, argv: slices.Clone(argv), env: env, dir: dir,
		stdin: stdin, stdout: stdout, stderr: stderr,
	}
	self := &process{group: groupOf(ctx), dir: dir, end: cancel, args: strings.Join(argv, " ")}
	if p.pid = n.pids.start(self); p.pid == 0 {
		return exitKilled
	}
	if tell, ok := ctx.Value(pidKey{}).(func(int)); ok {
		tell(p.pid)
		p.ctx = context.WithValue(ctx, pidKey{}, nil)
	}
	defer n.pids.remove(p.pid)
	defer interruptible(parent, ctx, stdin)()
	exit := p.run(run)
	if sig := self.killed.Load(); sig != 0 && exit != 0 && !(p.caught && sig != int32(syscall.SIGKILL)) {
		exit = 128 + int(sig)
	}
	n.record.add(argv, exit, !readOnly(argv))
	return exit
}

type pidKey struct{}

// withPID has tell called with the number of the program that runs with ctx, but
// not for those that it runs in turn.
func withPID(ctx context.Context, tell func(pid int)) context.Context {
	return context.WithValue(ctx, pidKey{}, tell)
}

// program finds a program by the name or path that it is called by.
func (n *node) program(name string) (program, bool) {
	run, ok := n.programs[path.Base(name)]
	return run, ok && !n.lacks(path.Base(name))
}

// interruptible ends a read of stdin that blocks when ctx ends, if stdin is a
// pipe, until what it returns is called. If parent, which ctx hangs on, has ended
// too, no read of stdin blocks from then on: what else runs there ends as well.
func interruptible(parent, ctx context.Context, stdin io.Reader) (stop func()) {
	f, ok := stdin.(*os.File)
	if !ok {
		return func() {}
	}
	fired := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(fired)
		_ = f.SetReadDeadline(time.Unix(1, 0)) // a plain file has no deadline and does not block
	})
	return func() {
		if unhook() {
			return
		}
		<-fired
		if parent.Err() == nil {
			_ = f.SetReadDeadline(time.Time{}) // the next program may read on
		}
	}
}

// run runs the program with the faults and delays that are set for it.
func (p *proc) run(main program) int {
	if !p.delay() {
		return exitKilled
	}
	f := p.node.due(p.ctx, Programs, p.argv...)
	if f != nil && (f.When == Before || f.spoils()) {
		if exit, ended := p.fire(f); ended {
			return exit
		}
	} else {
		p.fault = f
	}
	exit := spoiled(f, p.stdout, func(stdout io.Writer) int {
		p.stdout = stdout
		return main(p)
	})
	if p.fault != nil { // After, or During in a program without a checkpoint
		if status, ended := p.fire(p.fault); ended {
			return status
		}
	}
	if p.ctx.Err() != nil && exit != 0 && !p.caught {
		return exitKilled
	}
	return exit
}

// delay waits as long as the lab's options say for this program; false means it
// was ended meanwhile.
func (p *proc) delay() bool {
	var d time.Duration
	if p.node.delay != nil {
		d = p.node.delay(p.argv)
	}
	return p.sleep(d)
}

// sleep waits; false means that the program was ended meanwhile.
func (p *proc) sleep(d time.Duration) bool { return wait(p.ctx, d) }

// getenv returns a variable of the program's environment, "" if it is not set.
func (p *proc) getenv(name string) string {
	for _, kv := range slices.Backward(p.env) {
		if len(kv) > len(name) && kv[len(name)] == '=' && kv[:len(name)] == name {
			return kv[len(name)+1:]
		}
	}
	return ""
}

// failf prints a line on standard error and returns exit.
func (p *proc) failf(exit int, format string, a ...any) int {
	fmt.Fprintf(p.stderr, format+"\n", a...)
	return exit
}

// abs returns name as an absolute, clean path of the node.
func (p *proc) abs(name string) string { return absolute(p.dir, name) }

func absolute(dir, name string) string {
	if !path.IsAbs(name) {
		name = path.Join(dir, name)
	}
	return path.Clean(name)
}

// host returns the path on the lab's machine of an absolute path of the node,
// without following symbolic links; see resolve.
func (n *node) host(name string) string {
	return n.dir + "/root" + absolute("/", name)
}
