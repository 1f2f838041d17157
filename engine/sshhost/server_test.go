//go:build unix

package sshhost_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/tengil/tengil/engine/sshhost"
)

// A server is a small SSH server that runs what it is told with the real /bin/sh.
// Like OpenSSH, it makes a session for each command, sends no signal when a channel
// closes, and forwards connections.
type server struct {
	t       *testing.T
	ln      net.Listener
	cfg     *ssh.ServerConfig
	hostKey ssh.PublicKey
	shell   []string // instead of /bin/sh -c
	uid     uint32   // if not 0, who the shell runs as
	max     int      // if not 0, as MaxSessions of sshd
	// opened, if not nil, is called for each session with how many there are.
	opened func(n int)
	// cutAfter, if not 0, cuts the connection when so many bytes of input came.
	cutAfter int64
	frozen   chan struct{} // nil, or closed when connections are frozen
	thaw     chan struct{} // closed at the end of the test

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	open  int // sessions
	execs int
	wg    sync.WaitGroup
}

// newServer starts a server that lets client in.
func newServer(t *testing.T, client ssh.PublicKey) *server {
	t.Helper()
	_, host := newKey(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, ln: ln, hostKey: host.PublicKey(), conns: map[net.Conn]struct{}{}, shell: []string{"/bin/sh", "-c"}}
	s.cfg = &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if client == nil || string(key.Marshal()) != string(client.Marshal()) {
			return nil, os.ErrPermission
		}
		return nil, nil
	}}
	s.cfg.AddHostKey(host)
	s.wg.Go(s.accept)
	t.Cleanup(s.stop)
	return s
}

func (s *server) addr() string { return s.ln.Addr().String() }

func (s *server) stop() {
	s.ln.Close()
	s.cut()
	s.wg.Wait()
}

// cut drops all connections, as a network does.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// freeze returns a function that makes the connections made since then silent, as a
// network does that drops every packet; those made after it was called are fine.
func (s *server) freeze() (begin func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen, s.thaw = make(chan struct{}), make(chan struct{})
	s.t.Cleanup(func() { close(s.thaw) })
	return func() { close(s.frozen) }
}

// A frozenConn reads nothing more once it is frozen.
type frozenConn struct {
	net.Conn
	frozen, thaw chan struct{}
}

func (c frozenConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	select {
	case <-c.frozen:
		<-c.thaw
	default:
	}
	return n, err
}

// wrap makes a new connection one that can freeze, if it has to.
func (s *server) wrap(c net.Conn) net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen == nil {
		return c
	}
	select {
	case <-s.frozen:
		return c
	default:
		return frozenConn{c, s.frozen, s.thaw}
	}
}

func (s *server) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		c = s.wrap(c)
		s.mu.Lock()
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() {
			defer c.Close()
			s.serve(c)
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

func (s *server) serve(c net.Conn) {
	_, chans, reqs, err := ssh.NewServerConn(c, s.cfg)
	if err != nil {
		return
	}
	s.wg.Go(func() { ssh.DiscardRequests(reqs) })
	for nc := range chans {
		switch nc.ChannelType() {
		case "session":
			if !s.admit() {
				nc.Reject(ssh.ConnectionFailed, "open failed") // as OpenSSH words it
				continue
			}
			ch, reqs, err := nc.Accept()
			if err == nil {
				s.wg.Go(func() { s.session(ch, reqs) })
			}
		case "direct-tcpip":
			s.wg.Go(func() { forward(nc) })
		default:
			nc.Reject(ssh.UnknownChannelType, "")
		}
	}
}

func (s *server) admit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.max != 0 && s.open >= s.max {
		return false
	}
	s.open++
	if s.opened != nil {
		s.opened(s.open)
	}
	return true
}

func (s *server) session(ch ssh.Channel, reqs <-chan *ssh.Request) {
	for r := range reqs {
		ok := r.Type == "exec"
		if r.WantReply {
			r.Reply(ok, nil)
		}
		if ok {
			s.mu.Lock()
			s.execs++
			s.mu.Unlock()
			var want struct{ Command string }
			ssh.Unmarshal(r.Payload, &want)
			s.wg.Go(func() { s.exec(ch, want.Command) })
		}
	}
}

func (s *server) exec(ch ssh.Channel, script string) {
	defer ch.Close()
	defer func() { // before the client is told that there is room again
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
	}()
	cmd := exec.Command(s.shell[0], append(s.shell[1:], script)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if s.uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: s.uid, Gid: s.uid}
	}
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	errs, _ := cmd.StderrPipe()
	if err := cmd.Start(); err != nil {
		s.t.Error(err)
		return
	}
	go func() {
		if s.cutAfter != 0 {
			io.CopyN(in, ch, s.cutAfter)
			s.cut()
		}
		io.Copy(in, ch)
		in.Close()
	}()
	var copies sync.WaitGroup
	copies.Go(func() { copyOut(ch, out) })
	copies.Go(func() { copyOut(ch.Stderr(), errs) })
	copies.Wait()
	cmd.Wait()
	ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(cmd.ProcessState.ExitCode() & 255)}))
}

// copyOut closes from when to is closed, so that a program gets SIGPIPE.
func copyOut(to io.Writer, from io.ReadCloser) {
	io.Copy(to, from)
	from.Close()
}

func forward(nc ssh.NewChannel) {
	var want struct {
		Host  string
		Port  uint32
		OHost string
		OPort uint32
	}
	ssh.Unmarshal(nc.ExtraData(), &want)
	c, err := net.Dial("tcp", net.JoinHostPort(want.Host, strconv.Itoa(int(want.Port))))
	if err != nil {
		nc.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer c.Close()
	ch, reqs, err := nc.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	go ssh.DiscardRequests(reqs)
	go func() { io.Copy(c, ch); c.Close() }()
	io.Copy(ch, c)
}

// newKey makes a key pair; the file holds the private half.
func newKey(t *testing.T) (file string, signer ssh.Signer) {
	t.Helper()
	return newKeyFile(t, filepath.Join(t.TempDir(), "key"), "")
}

func newKeyFile(t *testing.T, file, passphrase string) (string, ssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, "test")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "test", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, signer
}

// endpoint starts a server and says how to reach it.
func endpoint(t *testing.T) (*server, sshhost.Endpoint) {
	t.Helper()
	file, signer := newKey(t)
	s := newServer(t, signer.PublicKey())
	return s, sshhost.Endpoint{
		Addr: s.addr(), User: "root", KeyFile: file, Name: "test",
		HostKey: string(ssh.MarshalAuthorizedKey(s.hostKey)),
	}
}

// count returns how many commands were asked for.
func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.execs
}

// silent listens and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
		}
	}()
	return ln.Addr().String()
}
