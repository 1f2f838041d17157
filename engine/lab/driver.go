package lab

import (
	"context"
	"net"
	"path"
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

	// What follows is of a container that runs.

	// plugLink puts the interface of a key of the config in, which has the value
	// nic; unplugLink takes it out; address gives it the addresses of nic.
	plugLink(id int, key string, nic pve.Net) error
	unplugLink(id int, key string) error
	address(id int, key string, nic pve.Net) error
	// plugMount mounts a directory of the node.
	plugMount(id int, m guestMount) error
	// plugDevice adds a device, as option devN has it.
	plugDevice(id int, value string) error
	// limit makes the limits of the config effective.
	limit(id int, conf *pve.Config) error
	// freeze stops the container's processes until thaw is called.
	freeze(id int) (thaw func())
	// readFile and writeFile read and write a file of the container; what is
	// written belongs to ids of the node.
	readFile(id int, name string) ([]byte, error)
	writeFile(id int, name string, data []byte, o owner) error
}

// A modelDriver is the model: a process table, small programs and stand-ins for
// applications.
type modelDriver struct{ node *node }

// start follows the entrypoint until something in it stays.
func (m modelDriver) start(c *guestCall, id int, conf *pve.Config, root guestRoot) (*boot, error) {
	b, err := c.bootInit(id, root, conf)
	if err == nil {
		m.announce(id, conf, b)
	}
	return b, err
}

func (modelDriver) kill(int) {}

// halt does not wait for the timeout.
func (m modelDriver) halt(c *guestCall, _ time.Duration) bool {
	if m.node.guest(c.id).Deaf {
		return false
	}
	if conf, err := m.node.guestConfig(c.id); err == nil {
		m.node.console(conf).say("terminating")
	}
	return true
}

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

func (modelDriver) plugLink(int, string, pve.Net) error { return nil }

func (modelDriver) unplugLink(int, string) error { return nil }

func (modelDriver) address(int, string, pve.Net) error { return nil }

func (m modelDriver) plugMount(id int, mount guestMount) error {
	m.node.makeTarget(id, mount.Path)
	return nil
}

func (modelDriver) plugDevice(int, string) error { return nil }

func (modelDriver) limit(int, *pve.Config) error { return nil }

func (modelDriver) freeze(int) (thaw func()) { return func() {} }

func (m modelDriver) readFile(id int, name string) ([]byte, error) {
	return guestRoot{m.node, m.node.guest(id).Mounts}.readFile(name)
}

func (m modelDriver) writeFile(id int, name string, data []byte, o owner) error {
	root := guestRoot{m.node, m.node.guest(id).Mounts}
	at, err := root.real(name, true)
	if err == nil {
		_, err = m.node.stat(path.Dir(at))
	}
	if err == nil {
		err = m.node.writeFile(at, data, o.Mode)
	}
	if err == nil {
		m.node.setOwner(at, o)
	}
	return err
}
