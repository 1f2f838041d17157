package sshhost

import (
	"context"
	"errors"

	"golang.org/x/crypto/ssh"
)

// Dial connects to a node. The target is "ssh://[user@]host[:port]" or
// "[user@]host", where host may be an alias of the ssh_config. Of that file it
// obeys Host, Match all and host, Include, HostName, User, Port, IdentityFile,
// IdentitiesOnly, ProxyJump, UserKnownHostsFile and ConnectTimeout; ProxyCommand and
// other Match criteria are refused. The user is root unless something says
// otherwise. The caller must close the Host.
func Dial(ctx context.Context, to string, o Options) (*Host, error) {
	t, err := parseTarget(to)
	if err != nil {
		return nil, err
	}
	c, err := loadConfig(o)
	if err != nil {
		return nil, err
	}
	route, err := c.route(t, "root", 0)
	if err != nil {
		return nil, err
	}
	name := o.Name
	if name == "" {
		name = t.host
	}
	return connected(ctx, name, o, func(ctx context.Context) (*chain, error) { return dialRoute(ctx, route, o) })
}

func connected(ctx context.Context, name string, o Options, dial func(context.Context) (*chain, error)) (*Host, error) {
	l := newSSHLink(name, o.keepAlive(), dial)
	h := newHost(name, l, o)
	l.log = h.log
	if _, err := l.connect(ctx); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// A chain is the connections to a node: through each but the last goes the next.
type chain struct {
	clients []*ssh.Client
	ended   chan struct{} // closed when the last one's connection has ended
}

func (c *chain) last() *ssh.Client { return c.clients[len(c.clients)-1] }

func (c *chain) close() {
	for i := len(c.clients) - 1; i >= 0; i-- {
		_ = c.clients[i].Close() // may be dead already
	}
}

func dialRoute(ctx context.Context, route []hop, o Options) (_ *chain, err error) {
	c := &chain{ended: make(chan struct{})}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	keys, closer, agentErr := openAgent(o.AgentSocket)
	if closer != nil {
		defer closer.Close()
	}
	for _, h := range route {
		var via *ssh.Client
		if len(c.clients) > 0 {
			via = c.last()
		}
		client, err := dialHop(ctx, via, h, o, keys, agentErr)
		if err != nil {
			return c, err
		}
		c.clients = append(c.clients, client)
	}
	return c, nil
}

func dialHop(ctx context.Context, via *ssh.Client, h hop, o Options, keys []agentKey, agentErr error) (*ssh.Client, error) {
	conn, err := dialTCP(ctx, via, h)
	if err != nil {
		return nil, err
	}
	a := newAttempt(ctx, conn, h)
	hk, err := newHostKeys(h, o, a.asking)
	if err != nil {
		return nil, errors.Join(err, a.abandon())
	}
	a.hostKeyErr = func() error { return hk.err }
	a.credentials = func() *credentials { return gather(o, h, keys, agentErr, a.asking) }
	return a.handshake(hk.check, hk.algorithms())
}
