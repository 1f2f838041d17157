//go:build unix

package sshhost_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/hosttest"
	"github.com/tengil/tengil/engine/sshhost"
)

func TestLocalConforms(t *testing.T) {
	dir := t.TempDir()
	o := hosttest.Options{Dir: dir + "/work", AuditLog: dir + "/log/audit.log"}
	hosttest.Run(t, func(*testing.T) engine.Host {
		return sshhost.Local(sshhost.Options{AuditLog: o.AuditLog})
	}, o)
}

func TestSSHConforms(t *testing.T) {
	_, e := endpoint(t)
	conforms(t, e)
}

// conforms runs the suite against a server on this machine.
func conforms(t *testing.T, e sshhost.Endpoint) {
	t.Helper()
	dir := t.TempDir()
	o := hosttest.Options{Dir: dir + "/work", AuditLog: dir + "/log/audit.log"}
	hosttest.Run(t, func(t *testing.T) engine.Host {
		return dialed(t, e, sshhost.Options{AuditLog: o.AuditLog})
	}, o)
}

func dialed(t *testing.T, e sshhost.Endpoint, o sshhost.Options) *sshhost.Host {
	t.Helper()
	h, err := sshhost.DialEndpoint(t.Context(), e, o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestOpenSSHConforms runs the suite against the sshd of this machine, which ends
// nothing by itself when a channel closes.
func TestOpenSSHConforms(t *testing.T) {
	conforms(t, openSSH(t, ""))
}

// TestOpenSSHWithFewSessions: its sshd refuses what is over the limit, and so has to
// count as tg does.
func TestOpenSSHWithFewSessions(t *testing.T) {
	for _, sessions := range []int{2, 3} {
		t.Run(fmt.Sprint(sessions), func(t *testing.T) {
			h := dialed(t, openSSH(t, fmt.Sprintf("MaxSessions %d\n", sessions)), sshhost.Options{})
			defer h.Close()
			if _, err := h.Hold(t.Context(), engine.Lock{Path: t.TempDir() + "/lock"}); err != nil {
				t.Fatal(err)
			}
			const commands = 30
			done := make(chan error, commands)
			for range commands {
				go func() {
					_, err := h.Run(t.Context(), engine.Cmd{Argv: []string{"true"}})
					done <- err
				}()
			}
			for range commands {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// openSSH starts a real sshd, with more lines in its configuration, or skips the test.
func openSSH(t *testing.T, more string) sshhost.Endpoint {
	t.Helper()
	sshd, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		t.Skip("needs /usr/sbin/sshd (Debian package openssh-server)")
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, whom sshd lets in without PAM")
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // privilege separation; systemd makes it
		t.Skip(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	hostFile, hostKey := newKeyFile(t, filepath.Join(dir, "host"), "")
	keyFile, key := newKeyFile(t, filepath.Join(dir, "client"), "")
	allowed := filepath.Join(dir, "authorized_keys")
	if err := os.WriteFile(allowed, ssh.MarshalAuthorizedKey(key.PublicKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	config := fmt.Sprintf("Port %s\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s\nStrictModes no\n"+
		"PermitRootLogin yes\nUsePAM no\nPidFile none\nSetEnv HOME=%s\n", port, hostFile, allowed, dir) + more
	configFile := filepath.Join(dir, "sshd_config")
	if err := os.WriteFile(configFile, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd := exec.Command(sshd, "-D", "-e", "-f", configFile)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	waitFor(t, addr)
	return sshhost.Endpoint{
		Addr: addr, User: me.Username, KeyFile: keyFile, Name: "openssh",
		HostKey: string(ssh.MarshalAuthorizedKey(hostKey.PublicKey())),
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// waitFor waits until something listens on addr.
func waitFor(t *testing.T, addr string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return
		}
		<-tick.C
	}
	t.Fatalf("nothing listens on %s", addr)
}
