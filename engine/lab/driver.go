package lab

import (
	"context"
	"net"
	"time"

	"github.com/tengil/tengil/engine/pve"
)

// A driver runs what is in the containers of a node: a model of it, or LXC.
type driver interface {
	// start runs PID 1 of a container whose file systems are root. The error is
	// what pct start ends with.
	start(c *guestCall, id int, conf *pve.Config, root guestRoot) (*boot, error)
	// kill ends a container at once; of one that does not run it is nothing.
	kill(id int)
	// halt asks PID 1 to end and reports whether it did in time.
	halt(c *guestCall, timeout time.Duration) bool
	// attach runs a command in the running container of c; found is false if the
	// container does not have it.
	attach(c *guestCall, argv, env []string) (exit int, found bool)
	// links returns the interfaces of a running container as they are now.
	links(id int) []guestLink
	// dial opens a connection to ip:port, as a program on the node would.
	dial(ctx context.Context, addr string) (net.Conn, error)
}

// A modelDriver is the model: a process table, small programs and stand-ins for
// applications.
type modelDriver struct{ node *node }

// start follows the entrypoint until something in it stays.
func (m modelDriver) start(c *guestCall, id int, conf *pve.Config, root guestRoot) (*boot, error) {
	return c.bootInit(id, root, conf)
}

func (modelDriver) kill(int) {}

// halt does not wait for the timeout.
func (m modelDriver) halt(c *guestCall, _ time.Duration) bool { return !m.node.guest(c.id).Deaf }

func (m modelDriver) attach(c *guestCall, argv, env []string) (exit int, found bool) {
	p := &guestProc{
		ctx: c.ctx, node: m.node, id: c.id, root: guestRoot{m.node, m.node.guest(c.id).Mounts},
		argv: argv, env: env, dir: "/", stdin: c.stdin, stdout: c.stdout, stderr: c.stderr,
	}
	return p.run()
}

func (m modelDriver) links(id int) []guestLink { return m.node.guest(id).Links }

func (m modelDriver) dial(ctx context.Context, addr string) (net.Conn, error) {
	return m.node.dialGuest(ctx, addr)
}
