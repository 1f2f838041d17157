package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Options say what node a lab is. The zero value, with Dir set, works.
type Options struct {
	// Dir holds the lab: its files and its state. It is made if missing.
	Dir string
	// PVE is the release: "9.1" (pve-container 6.0.18) or "9.2" (6.1.10). It
	// counts for a new lab; "" is 9.2 there, and what it was made as otherwise.
	PVE string
	// GPU is what a new lab has: "intel" (also ""), "amd", "nvidia" or "none".
	GPU string
	// Storage is where a new lab keeps root file systems and data: "zfs" (also ""),
	// "dir", where the storage local takes both archives and root file systems, or
	// "lvmthin", as the installer sets up a disk without ZFS. The last two have no
	// pool.
	Storage string
	// Pull lets the node's skopeo fetch what the lab does not have from real
	// registries.
	Pull bool
	// Real, if not nil, has the containers run with LXC.
	Real *Real
	// Term tells others how long the lab is meant to stay.
	Term Term
	// Log gets what goes wrong in the lab itself; nil discards it.
	Log *slog.Logger

	// Latency is waited before each request of a session, as a network would.
	Latency time.Duration
	// Delay, if not nil, tells how long to wait before a program runs, by its
	// argv; for benchmarks. It is called by many goroutines at once.
	Delay func(argv []string) time.Duration
}

// A Lab is one running node. The caller must Close it.
type Lab struct {
	node   *node
	lock   *os.File // dir/lock, flocked while the lab runs
	record *os.File // dir/log
	server *server
	sshd   *sshd // nil where the lab's own server is reached from outside
	close  func() error

	reboots sync.WaitGroup // that programs of the node have asked for

	mu       sync.Mutex
	endpoint Endpoint
}

// Open starts the lab in o.Dir, making it if there is none, and returns when it
// accepts connections. ctx bounds the start only. If another process runs it,
// the error is an *InUseError, as soon as that one answers; one that is about to
// end is waited for.
func Open(ctx context.Context, o Options) (*Lab, error) {
	if o.Dir == "" {
		return nil, errors.New("lab needs a directory")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := mayHold(dir); err != nil {
		return nil, err
	}
	lock, err := takeDir(ctx, dir)
	if err != nil {
		return nil, err
	}
	if err := removeEndpoint(dir); err != nil { // of one that was killed
		return nil, errors.Join(err, lock.Close())
	}
	l, err := open(ctx, dir, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lab in %q: %w", dir, err), lock.Close())
	}
	l.lock = lock
	return l, nil
}

func open(ctx context.Context, dir string, o Options) (*Lab, error) {
	n, err := newNode(dir, o)
	if err != nil {
		return nil, err
	}
	if err := n.openSaver(); err != nil {
		return nil, err
	}
	if n.lxc != nil { // what ran has ended with the lab
		if err := errors.Join(n.loseState(), n.boot()); err != nil {
			return nil, errors.Join(err, n.closeSaver())
		}
	}
	l, err := n.serve(ctx, o)
	if err != nil {
		return nil, errors.Join(err, n.closeSaver())
	}
	return l, nil
}

// serve makes the node reachable.
func (n *node) serve(ctx context.Context, o Options) (*Lab, error) {
	dir := n.dir
	keys, err := loadKeys(dir)
	if err != nil {
		return nil, err
	}
	record, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	n.record.file = record
	ln, err := o.listen(ctx)
	if err != nil {
		return nil, errors.Join(err, record.Close())
	}
	l := &Lab{node: n, record: record, endpoint: keys.endpoint(ln.Addr().String(), n)}
	l.endpoint.Term = o.Term
	l.server = newServer(n, keys, ln, o.Latency)
	n.cut = func() { l.server.cut() }
	l.close = sync.OnceValue(l.shut)
	if o.Real != nil && o.Real.SSHD {
		if err := l.outside(keys, ln.Addr().String()); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	n.reboot = func() {
		l.reboots.Go(func() {
			if err := l.PowerCut(); err != nil {
				n.log.Error("reboot", "err", err)
			}
		})
	}
	if err := l.endpoint.write(dir); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// outside has OpenSSH serve those who come from outside; inner is where the lab
// itself listens.
func (l *Lab) outside(k keys, inner string) error {
	var err error
	if l.sshd, err = l.node.startSSHD(l.node.lxc.Listener, k, inner); err != nil {
		return err
	}
	l.endpoint.Addr = l.node.lxc.Listener.Addr().String()
	l.node.cut = func() {
		l.sshd.cut() // first: nobody outside is to hear how the rest ends
		l.server.cut()
	}
	return nil
}

// listen returns where the lab's own server is reached.
func (o Options) listen(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	switch {
	case o.Real == nil:
		return lc.Listen(ctx, "tcp", "127.0.0.1:0")
	case o.Real.SSHD:
		return lc.Listen(ctx, "unix", handedAddr)
	}
	return o.Real.Listener, nil
}

// newNode loads the node of dir or seeds a fresh one.
func newNode(dir string, o Options) (*node, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	n := &node{name: nodeName, dir: dir, delay: o.Delay, log: log, pull: o.Pull}
	n.life.begin(context.Background())
	n.driver = modelDriver{n}
	var err error
	n.state, err = loadState(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = n.seed(o)
	case err == nil:
		n.pve = n.state.PVE
		err = n.wake(o)
	}
	if err != nil {
		return nil, err
	}
	if err := n.troubles.load(n.conditionsFile()); err != nil {
		return nil, err
	}
	n.programs = programs()
	if o.Real == nil {
		return n, nil
	}
	if err := n.useLXC(o.Real); err != nil {
		return nil, err
	}
	n.programs["skopeo"] = realSkopeo
	return n, nil
}

// Close ends all sessions and all that runs on the node, waits for it, and saves
// the node's state. It may be called twice.
func (l *Lab) Close() error { return l.close() }

func (l *Lab) shut() error {
	l.reboots.Wait()
	var err error
	if l.sshd != nil {
		err = l.sshd.close()
	}
	err = errors.Join(err, l.server.close())
	l.node.life.finish()
	l.node.killAll()
	l.node.background.Wait()
	err = errors.Join(err, l.node.closeSaver())
	l.node.record.flush()
	err = errors.Join(err, removeEndpoint(l.node.dir), l.record.Close())
	if l.lock != nil {
		err = errors.Join(err, l.lock.Close())
	}
	return err
}

// Endpoint says how to reach the lab.
func (l *Lab) Endpoint() Endpoint {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.endpoint
}

// Retire makes the lab take no more connections, if nobody is connected and
// nobody has been for so long. It reports whether it did; the caller is to Close
// it then.
func (l *Lab) Retire(unused time.Duration) bool { return l.server.retire(unused) }

// Left tells that a connection has ended since it was last asked.
func (l *Lab) Left() <-chan struct{} { return l.server.left }

// Keep makes a lab that was to stay UntilIdle stay UntilStopped, and tells others.
func (l *Lab) Keep() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endpoint.Term = UntilStopped
	return l.endpoint.write(l.node.dir)
}

// Root returns the directory that is the node's "/".
func (l *Lab) Root() string { return filepath.Join(l.node.dir, "root") }

// Exec runs one program on the node without a session, as root from /root, and
// returns its exit status. Nil streams are empty and discarded.
func (l *Lab) Exec(ctx context.Context, argv []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if stdin == nil {
		stdin = eofReader{}
	}
	if stdout == nil {
		stdout = io.Discard
	}
	if stderr == nil {
		stderr = io.Discard
	}
	defer l.node.record.flush()
	defer l.node.settle()
	return l.node.exec(ctx, argv, rootEnv(), rootHome, stdin, stdout, stderr)
}

// Log returns every program that ran on the node since the lab was opened, in
// the order in which they ended. It is also appended to the file log in the
// lab's directory.
func (l *Lab) Log() []Entry { return l.node.record.all() }

// Fault sets a fault.
func (l *Lab) Fault(f Fault) { l.node.faults.add(f) }

// Pending returns how many faults have not fired.
func (l *Lab) Pending() int { return l.node.faults.pending() }

// Sessions returns how many sessions are open now.
func (l *Lab) Sessions() int { return int(l.server.sessions.Load()) }

// Requests returns how many programs were asked for over SSH: the round trips.
func (l *Lab) Requests() int { return int(l.server.requests.Load()) }

type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }
