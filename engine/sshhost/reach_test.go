//go:build unix

package sshhost_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/sshhost"
)

// A home is a directory with a key and an ssh_config that says how to reach server
// as "node".
type home struct {
	dir    string
	server *server
	opts   sshhost.Options
}

// newHome makes one; config is added to what it says of node.
func newHome(t *testing.T, passphrase, config string) *home {
	t.Helper()
	dir := t.TempDir()
	_, key := newKeyFile(t, filepath.Join(dir, "id"), passphrase)
	h := &home{dir: dir, server: newServer(t, key.PublicKey())}
	_, port, _ := net.SplitHostPort(h.server.addr())
	h.write(t, "config", fmt.Sprintf("Host node\n  HostName 127.0.0.1\n  Port %s\n  IdentityFile ~/id\n%s\n", port, config))
	h.opts = sshhost.Options{Config: h.path("config"), KnownHosts: h.path("known_hosts"), Home: dir}
	return h
}

func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

func (h *home) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// trust puts the server's key, or another, into known_hosts.
func (h *home) trust(t *testing.T, key ssh.PublicKey) {
	t.Helper()
	h.write(t, "known_hosts", "# comment\n"+knownhosts.Line([]string{knownhosts.Normalize(h.server.addr())}, key)+"\n")
}

// works connects, runs a command and closes; it returns the error of Dial.
func (h *home) works(t *testing.T, target string) error {
	t.Helper()
	host, err := sshhost.Dial(t.Context(), target, h.opts)
	if err != nil {
		return err
	}
	defer host.Close()
	if _, err := host.Run(t.Context(), engine.Cmd{Argv: []string{"true"}}); err != nil {
		t.Error(err)
	}
	return nil
}

// says checks message and hint of an error.
func says(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want %q", words)
	}
	text := err.Error() + "\n" + engine.HintOf(err)
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("got %q, want %q in it", text, w)
		}
	}
	if engine.HintOf(err) == "" {
		t.Errorf("%v: no hint", err)
	}
}

func TestDialAlias(t *testing.T) {
	h := newHome(t, "", "")
	h.trust(t, h.server.hostKey)
	for _, target := range []string{"node", "root@node", "ssh://node", "ssh://root@node"} {
		if err := h.works(t, target); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestUnknownHostKey(t *testing.T) {
	h := newHome(t, "", "")
	print := ssh.FingerprintSHA256(h.server.hostKey)
	says(t, h.works(t, "node"), "not known", print)

	asked := 0
	h.opts.Confirm = func(host, fingerprint, keytype string) (bool, error) {
		asked++
		if host != "node" || fingerprint != print || keytype != "ssh-ed25519" {
			t.Errorf("asked about %s %s %s", host, fingerprint, keytype)
		}
		return asked > 1, nil
	}
	says(t, h.works(t, "node"), "not known", "not accepted")
	if _, err := os.Stat(h.path("known_hosts")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused key was remembered: %v", err)
	}
	for range 2 { // the second time it is known
		if err := h.works(t, "node"); err != nil {
			t.Error(err)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times, want 2", asked)
	}
}

func TestChangedHostKeyIsAlwaysRefused(t *testing.T) {
	h := newHome(t, "", "")
	_, other := newKey(t)
	h.trust(t, other.PublicKey())
	h.opts.Confirm = func(string, string, string) (bool, error) {
		t.Error("asked about a changed key")
		return true, nil
	}
	says(t, h.works(t, "node"), "has changed", h.path("known_hosts")+":2", ssh.FingerprintSHA256(h.server.hostKey))
}

func TestLoginRefused(t *testing.T) {
	h := newHome(t, "", "")
	h.trust(t, h.server.hostKey)
	_, other := newKeyFile(t, h.path("id"), "") // not the one that the server lets in
	err := h.works(t, "node")
	says(t, err, "log in to node as root", h.path("id"), ssh.FingerprintSHA256(other.PublicKey()), "ssh-copy-id")
	if errors.Is(err, engine.ErrTransient) {
		t.Errorf("%v is transient", err)
	}
}

func TestNothingListens(t *testing.T) {
	h := newHome(t, "", "")
	_, port, _ := net.SplitHostPort(freeAddr(t))
	says(t, h.works(t, "ssh://127.0.0.1:"+port), "connect to 127.0.0.1", "connection refused", "port "+port)
}

func TestUnknownName(t *testing.T) {
	h := newHome(t, "", "")
	says(t, h.works(t, "root@no-such-host.invalid"), "connect to no-such-host.invalid", "no-such-host.invalid", "IP address")
}

func TestNoKeyAtAll(t *testing.T) {
	h := newHome(t, "", "")
	h.trust(t, h.server.hostKey)
	if err := os.Remove(h.path("id")); err != nil {
		t.Fatal(err)
	}
	says(t, h.works(t, "node"), "log in to node as root", h.path("id")+" not used: no such file", "ssh-copy-id -p")
}

func TestRevokedHostKey(t *testing.T) {
	h := newHome(t, "", "")
	h.trust(t, h.server.hostKey)
	known, err := os.ReadFile(h.path("known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "known_hosts", string(known)+"@revoked * "+string(ssh.MarshalAuthorizedKey(h.server.hostKey)))
	h.opts.Confirm = func(string, string, string) (bool, error) {
		t.Error("asked about a revoked key")
		return true, nil
	}
	says(t, h.works(t, "node"), "is revoked in "+h.path("known_hosts")+":3", ssh.FingerprintSHA256(h.server.hostKey))
}

func TestAcceptedKeyIsAppended(t *testing.T) {
	h := newHome(t, "", "")
	h.write(t, "known_hosts", "# mine, without a newline")
	h.opts.Confirm = func(string, string, string) (bool, error) { return true, nil }
	if err := h.works(t, "node"); err != nil {
		t.Fatal(err)
	}
	want := "# mine, without a newline\n" + knownhosts.Line([]string{knownhosts.Normalize(h.server.addr())}, h.server.hostKey) + "\n"
	if got, err := os.ReadFile(h.path("known_hosts")); err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestProxyJump(t *testing.T) {
	h := newHome(t, "", "  ProxyJump hop@jump\nHost jump\n  HostName 127.0.0.1\n  IdentityFile ~/id\n  Port JUMP")
	pem, err := os.ReadFile(h.path("id"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		t.Fatal(err)
	}
	jump := newServer(t, key.PublicKey())
	_, port, _ := net.SplitHostPort(jump.addr())
	config, err := os.ReadFile(h.path("config"))
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "config", strings.ReplaceAll(string(config), "JUMP", port))
	h.opts.Confirm = func(string, string, string) (bool, error) { return true, nil }
	if err := h.works(t, "node"); err != nil {
		t.Fatal(err)
	}
	if got := jump.count(); got != 0 {
		t.Errorf("%d commands ran on the jump host, want 0", got)
	}
	if got := h.server.count(); got != 1 {
		t.Errorf("%d commands ran on the node, want 1", got)
	}
}

func TestJumpHostCannotReach(t *testing.T) {
	h := newHome(t, "", "Host far\n  HostName 127.0.0.1\n  Port 1\n  ProxyJump node")
	h.trust(t, h.server.hostKey)
	says(t, h.works(t, "far"), "connect to far", "the jump host cannot reach it")
}

// TestJumpLeadsToSilence: a connection through a jump host has no deadline of its own.
func TestJumpLeadsToSilence(t *testing.T) {
	_, port, _ := net.SplitHostPort(silent(t))
	h := newHome(t, "", "Host far\n  HostName 127.0.0.1\n  ProxyJump node\n  Port "+port)
	h.trust(t, h.server.hostKey)
	h.opts.ConnectTimeout = 200 * time.Millisecond
	says(t, h.works(t, "far"), "connect to far", "no answer within 200ms")
}

func TestReconnect(t *testing.T) {
	s, e := endpoint(t)
	h := dialed(t, e, sshhost.Options{})
	defer h.Close()
	started := make(chan struct{}, 1)
	failed := make(chan error, 1)
	go func() {
		_, err := h.Run(t.Context(), engine.Cmd{Argv: []string{"sh", "-c", "echo; exec sleep 600"}, Stdout: notify(started)})
		failed <- err
	}()
	<-started
	s.cut()
	if err := <-failed; !errors.Is(err, engine.ErrTransient) {
		t.Errorf("cut while it ran: got %v, want it transient", err)
	}
	if _, err := h.Run(t.Context(), engine.Cmd{Argv: []string{"true"}}); err != nil {
		t.Errorf("next command: %v", err)
	}
}

type notify chan struct{}

func (n notify) Write(p []byte) (int, error) {
	select {
	case n <- struct{}{}:
	default:
	}
	return len(p), nil
}

func TestLostLockIsTakenAgain(t *testing.T) {
	s, e := endpoint(t)
	h := dialed(t, e, sshhost.Options{})
	defer h.Close()
	lock := engine.Lock{Path: t.TempDir() + "/lock", Holder: "me"}
	if _, err := h.Hold(t.Context(), lock); err != nil {
		t.Fatal(err)
	}
	s.cut()
	// Transient while the node still holds it for the dead connection.
	deadline, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		_, err := h.Run(deadline, engine.Cmd{Argv: []string{"true"}})
		if err == nil {
			break
		}
		if !errors.Is(err, engine.ErrTransient) {
			t.Fatal(err)
		}
	}
	_, err := sshhost.Local(sshhost.Options{}).Hold(t.Context(), lock)
	var held *engine.LockedError
	if !errors.As(err, &held) {
		t.Errorf("got %v, want it locked again", err)
	}
}

func TestRoundTrips(t *testing.T) {
	s, e := endpoint(t)
	h := dialed(t, e, sshhost.Options{})
	defer h.Close()
	dir := t.TempDir()
	if _, err := h.Run(t.Context(), engine.Cmd{Argv: []string{"true"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Batch(t.Context(), []engine.Ask{engine.AskRun("true"), engine.AskFile(dir), engine.AskGlob(dir + "/*")}); err != nil {
		t.Fatal(err)
	}
	if err := h.WriteFile(t.Context(), engine.File{Name: dir + "/a/b", Lock: dir + "/lock", Was: []byte{}}); err != nil {
		t.Fatal(err)
	}
	held, err := h.Hold(t.Context(), engine.Lock{Path: dir + "/lock"})
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Close(); err != nil {
		t.Error(err)
	}
	if got := h.RoundTrips(); got != 4 || s.count() != 4 {
		t.Errorf("got %d round trips, the server saw %d; want 4", got, s.count())
	}
}

func TestDialThroughConnection(t *testing.T) {
	_, e := endpoint(t)
	h := dialed(t, e, sshhost.Options{})
	defer h.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			io.WriteString(c, "hello")
			c.Close()
		}
	}()
	c, err := h.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestLoginShellThatIsNone(t *testing.T) {
	s, e := endpoint(t)
	s.shell = []string{"/bin/echo", "This account is not available:"}
	h := dialed(t, e, sshhost.Options{})
	defer h.Close()
	_, err := h.Run(t.Context(), engine.Cmd{Argv: []string{"true"}})
	says(t, err, "did not run the command", "not available")
}

// TestManyConfigs reads what a big cluster holds.
func TestManyConfigs(t *testing.T) {
	dir := t.TempDir()
	const n = 10_000
	for i := range n {
		if err := os.WriteFile(fmt.Sprintf("%s/%d.conf", dir, i), []byte("arch: amd64\ncores: 2\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := sshhost.Local(sshhost.Options{})
	defer h.Close()
	start := time.Now()
	a, err := h.Batch(t.Context(), []engine.Ask{engine.AskGlob(dir + "/*.conf"), engine.AskFile("/proc/self/status"), engine.AskGlob("/sys/class/net/*/mtu")})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files in %s", n, time.Since(start))
	if got, err := a.Glob(dir + "/*.conf"); err != nil || len(got) != n {
		t.Errorf("got %d files, %v; want %d", len(got), err, n)
	}
	if got, err := a.File("/proc/self/status"); err != nil || !strings.HasPrefix(string(got), "Name:\thead\n") {
		t.Errorf("file without a size: got %q, %v", got, err)
	}
	if got, err := a.Glob("/sys/class/net/*/mtu"); err != nil || len(got["/sys/class/net/lo/mtu"]) == 0 || len(got["/sys/class/net/lo/mtu"]) > 20 {
		t.Errorf("file with a wrong size: got %q, %v", got, err)
	}
}
