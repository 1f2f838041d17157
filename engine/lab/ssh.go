package lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tengil/tengil/engine/pve"
)

const (
	serverVersion = "SSH-2.0-OpenSSH_10.0p2 Debian-7"
	// maxSessions is OpenSSH's default of MaxSessions: per connection.
	maxSessions = 10
)

// A server is the SSH daemon of the node.
type server struct {
	node    *node
	config  *ssh.ServerConfig
	ln      net.Listener
	latency time.Duration

	mu     sync.Mutex
	conns  map[*conn]bool
	used   time.Time // when a connection last began or ended
	left   chan struct{}
	down   bool // the node has no power: connections end at once
	closed bool

	work     sync.WaitGroup // all goroutines of the server
	sessions atomic.Int64   // open now
	requests atomic.Int64   // exec requests so far
}

// A conn is one connection; ctx ends with it.
type conn struct {
	*server
	raw      net.Conn
	ctx      context.Context
	end      context.CancelFunc
	done     chan struct{} // closed when nothing of it runs any more
	in       bool          // its key is known; guarded by mu
	sessions atomic.Int64
}

// newServer serves ln until close is called.
func newServer(n *node, k keys, ln net.Listener, latency time.Duration) *server {
	allowed := k.client.PublicKey().Marshal()
	s := &server{node: n, ln: ln, latency: latency, conns: map[*conn]bool{}, used: time.Now(), left: make(chan struct{}, 1)}
	s.config = &ssh.ServerConfig{
		ServerVersion: serverVersion,
		PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if c.User() != "root" || !bytes.Equal(key.Marshal(), allowed) {
				return nil, errors.New("permission denied")
			}
			s.logIn(c.RemoteAddr())
			return &ssh.Permissions{}, nil
		},
	}
	s.config.AddHostKey(k.host)
	s.work.Go(s.accept)
	return s
}

func (s *server) accept() {
	for {
		raw, err := s.ln.Accept()
		if err != nil {
			return // closed
		}
		ctx, end := context.WithCancel(s.node.life.context())
		c := &conn{server: s, raw: raw, ctx: ctx, end: end, done: make(chan struct{})}
		if !s.admit(c) {
			c.drop()
			continue
		}
		s.work.Go(c.serve)
	}
}

// admit notes a connection; false when none is taken.
func (s *server) admit(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.down {
		return false
	}
	s.conns[c], s.used = true, time.Now()
	return true
}

// logIn notes that a connection has a key that is let in. It is called before the
// client hears of it.
func (s *server) logIn(from net.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.raw.RemoteAddr().String() == from.String() {
			c.in = true
		}
	}
}

// retire takes no connection from now on, if there is none now and has been none
// for so long. With 0, one that has not logged in does not count.
func (s *server) retire(unused time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.used) < unused {
		return false
	}
	for c := range s.conns {
		if c.in || unused > 0 {
			return false
		}
	}
	s.closed = true
	return true
}

// power says whether the node has power. Without, all connections end; power
// returns when nothing of them runs.
func (s *server) power(on bool) {
	s.mu.Lock()
	s.down = !on
	s.mu.Unlock()
	if on {
		return
	}
	for _, c := range s.cut() {
		<-c.done
	}
}

// drop ends the connection and all that runs in it.
func (c *conn) drop() {
	_ = c.raw.Close() // it may be closed already; first, as nobody is to hear how the rest ends
	c.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns[c] {
		delete(c.conns, c)
		c.used = time.Now()
		select {
		case c.left <- struct{}{}:
		default: // nobody has taken the one before
		}
	}
}

// cut drops every connection, as when the network fails, and returns them.
func (s *server) cut() []*conn {
	s.mu.Lock()
	var all []*conn
	for c := range s.conns {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		c.drop()
	}
	return all
}

// close stops listening, drops all connections and waits for all goroutines.
func (s *server) close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	err := s.ln.Close()
	s.cut()
	s.work.Wait()
	return err
}

func (c *conn) serve() {
	defer close(c.done)
	defer c.drop()
	if raw, ok := c.raw.(*net.UnixConn); ok {
		c.serveHanded(raw)
		return
	}
	sc, channels, requests, err := ssh.NewServerConn(c.raw, c.config)
	if err != nil {
		c.node.log.Debug("ssh handshake", "err", err)
		return
	}
	c.work.Go(func() { globalRequests(requests) })
	var running sync.WaitGroup
	for ch := range channels {
		switch ch.ChannelType() {
		case "session":
			running.Go(func() { c.session(ch) })
		case "direct-tcpip":
			running.Go(func() { c.forward(ch) })
		default:
			_ = ch.Reject(ssh.UnknownChannelType, "unknown channel type") // the peer may be gone
		}
	}
	c.end()
	running.Wait()
	_ = sc.Close() // closed by the peer or by drop
}

// globalRequests answers as OpenSSH does: all it does not know, such as
// keepalive@openssh.com, with a failure, which shows that it is alive.
func globalRequests(requests <-chan *ssh.Request) {
	for r := range requests {
		if r.WantReply {
			_ = r.Reply(false, nil) // the peer may be gone
		}
	}
}

// forward connects a direct-tcpip channel with something in the model.
func (c *conn) forward(ch ssh.NewChannel) {
	var want struct {
		Host     string
		Port     uint32
		FromHost string
		FromPort uint32
	}
	if err := ssh.Unmarshal(ch.ExtraData(), &want); err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, "cannot parse request")
		return
	}
	switch strings.ToLower(c.node.sshdOption("AllowTcpForwarding")) {
	case "no", "remote":
		_ = ch.Reject(ssh.Prohibited, "open failed")
		return
	}
	addr := net.JoinHostPort(want.Host, strconv.FormatUint(uint64(want.Port), 10))
	to, err := c.node.driver.dial(c.ctx, addr)
	if err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, refusal(err)) // the peer may be gone
		return
	}
	defer to.Close()
	from, requests, err := ch.Accept()
	if err != nil {
		return
	}
	defer from.Close()
	var copies sync.WaitGroup
	copies.Go(func() {
		ssh.DiscardRequests(requests) // ends when the channel is closed
		_ = to.Close()
	})
	stop := context.AfterFunc(c.ctx, func() { to.Close() })
	defer stop()
	copies.Go(func() {
		_, _ = io.Copy(to, from) // either side may end first
		closeWrite(to)
	})
	_, _ = io.Copy(from, to)
	_ = from.CloseWrite()
	_ = from.Close()
	copies.Wait()
}

// refusal is what OpenSSH tells the client of a connection that it could not make.
func refusal(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	if said := err.Error(); strings.HasSuffix(said, "connection refused") {
		return "Connection refused"
	}
	return err.Error()
}

// sshdOption returns what the files of sshd say of an option, "" if nothing.
func (n *node) sshdOption(option string) string {
	more := map[string][]byte{}
	for _, f := range n.dirFiles("/etc/ssh/sshd_config.d") {
		name := "/etc/ssh/sshd_config.d/" + f.name
		if data, err := n.readFile(name); err == nil && strings.HasSuffix(name, ".conf") {
			more[name] = data
		}
	}
	main, err := n.readFile("/etc/ssh/sshd_config")
	if err != nil {
		return ""
	}
	return pve.SSHDValue(main, more, option)
}

// closeWrite tells the other side that no more comes; a connection that cannot
// say so is closed.
func closeWrite(c net.Conn) {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite()
		return
	}
	_ = c.Close()
}
