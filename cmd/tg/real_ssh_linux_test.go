package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tengil/tengil/engine/lab"
)

// TestRealSSH reaches a node through OpenSSH in the ways that people's machines and
// nodes are set up, as HOME/.ssh says.
func TestRealSSH(t *testing.T) {
	needReal(t)
	t.Parallel()
	r := newRealRig(t)
	at, running := lab.Find(r.dir)
	if !running {
		t.Fatal("the lab does not run")
	}
	key, err := os.ReadFile(at.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	identity := "  IdentityFile " + at.ClientKey
	works := func(t *testing.T) {
		t.Helper()
		r.tg(t, "ps")
	}
	// refused sees that tg ends with an error that has some words.
	refused := func(t *testing.T, words ...string) {
		t.Helper()
		out, errs, status := r.try(t, "ps")
		for _, w := range words {
			if status == 0 || !strings.Contains(errs, w) {
				t.Errorf("tg ps: status %d, want an error with %q:\n%s%s", status, w, out, errs)
			}
		}
	}
	// sshd has the node's sshd obey options, from the next connection on.
	sshd := func(t *testing.T, options string) {
		t.Helper()
		file := filepath.Join(r.dir, "root/etc/ssh/sshd_config.d/10-test.conf")
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(options+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(file) })
	}
	fresh := func(t *testing.T) string {
		t.Helper()
		text, err := os.ReadFile("testdata/real/small.star")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, status := r.try(t, "show", "small"); status == 0 {
			r.tg(t, "destroy", "small", "--yes")
		}
		recipe := filepath.Join(r.home, "small.star")
		if err := os.WriteFile(recipe, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return recipe
	}
	for _, c := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"an unknown host key is refused", func(t *testing.T) {
			r.over(t, "node", at.Addr, identity)
			r.ssh(t, "known_hosts", "")
			refused(t, "host key of node is not known", "SHA256:", "ssh -p ")
		}},
		{"a changed host key is refused", func(t *testing.T) {
			r.over(t, "node", at.Addr, identity)
			r.ssh(t, "known_hosts", knownHost(at.Addr, newSSHKey(t, filepath.Join(t.TempDir(), "other"), "")))
			refused(t, "host key of node has changed", "ssh-keygen -f ")
		}},
		{"an encrypted key where nobody can be asked, and from the agent", func(t *testing.T) {
			locked := r.ssh(t, "id_locked", string(key))
			mustRun(t, nil, "ssh-keygen", "-q", "-p", "-P", "", "-N", "a phrase", "-f", locked)
			r.over(t, "node", at.Addr, "  IdentityFile "+locked)
			refused(t, "it needs a passphrase, and there is nobody to ask")
			r.agent(t, at.ClientKey)
			works(t)
		}},
		{"a key in the agent alone", func(t *testing.T) {
			r.over(t, "node", at.Addr, "")
			refused(t, "the node accepts no key of this machine")
			r.agent(t, at.ClientKey)
			works(t)
		}},
		{"through a jump host", func(t *testing.T) {
			jump, hostKey := startJump(t, at)
			host, port, _ := net.SplitHostPort(jump)
			r.over(t, "node", at.Addr, fmt.Sprintf("%s\n  ProxyJump jump\nHost jump\n  User root\n  HostName %s\n  Port %s\n%s", identity, host, port, identity))
			refused(t, "host key of jump is not known")
			r.ssh(t, "known_hosts", knownHost(jump, hostKey)+knownHost(at.Addr, at.HostKey))
			works(t)
		}},
		{"with a banner, a noisy shell and another locale", func(t *testing.T) {
			r.over(t, "node", at.Addr, identity)
			banner := r.ssh(t, "banner", "Authorized use only.\n")
			self, err := exec.LookPath("tg")
			if err != nil {
				t.Fatal(err)
			}
			sshd(t, fmt.Sprintf("Banner %s\nMatch all\nForceCommand echo 'Welcome to the node'; echo 'mesg: ttyname failed' >&2; LC_ALL=de_DE.ISO-8859-1 exec %s lab shell", banner, self))
			r.environ = []string{"LC_ALL=de_DE.ISO-8859-1", "LANG=de_DE.ISO-8859-1"}
			t.Cleanup(func() { r.environ = nil })
			recipe := fresh(t)
			r.run(t, recipe)
			r.settled(t, recipe)
		}},
		{"with two sessions at once", func(t *testing.T) {
			r.over(t, "node", at.Addr, identity)
			sshd(t, "MaxSessions 2")
			recipe := fresh(t)
			r.run(t, recipe)
			r.settled(t, recipe)
		}},
		{"without forwarding", func(t *testing.T) {
			r.over(t, "node", at.Addr, identity)
			sshd(t, "AllowTcpForwarding no")
			out, errs, _ := r.try(t, "doctor")
			if want := "AllowTcpForwarding local"; !strings.Contains(out+errs, want) {
				t.Errorf("tg doctor does not say %q:\n%s%s", want, out, errs)
			}
		}},
		{"300 ms away, with losses", func(t *testing.T) {
			slow := newRelay(t, at.Addr)
			slow.delay, slow.lossy = 150*time.Millisecond, true
			r.over(t, "node", slow.addr, identity)
			recipe := fresh(t)
			r.run(t, recipe)
			r.settled(t, recipe)
		}},
		{"a client that was frozen until the server gave it up", func(t *testing.T) {
			r.over(t, "node", at.Addr, identity)
			sshd(t, "ClientAliveInterval 1\nClientAliveCountMax 2")
			recipe := fresh(t)
			r.cutWhile(t, recipe, "skopeo copy", func(tg *os.Process, servers func() []int) {
				if err := tg.Signal(syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				r.await(t, "the server to give the client up", func() bool { return len(servers()) == 0 })
				if err := tg.Signal(syscall.SIGCONT); err != nil {
					t.Fatal(err)
				}
			})
		}},
		{"sshd is killed in the middle of pct create", func(t *testing.T) {
			r.over(t, "node", at.Addr, identity)
			recipe := fresh(t)
			r.cutWhile(t, recipe, "pct create", func(_ *os.Process, servers func() []int) {
				for _, pid := range servers() {
					_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
				}
			})
		}},
	} {
		t.Run(c.name, c.test)
	}
}

// cutWhile runs a recipe, does something as soon as the node runs a command, and
// sees that the next run converges.
func (r *realRig) cutWhile(t *testing.T, recipe, during string, do func(tg *os.Process, servers func() []int)) {
	t.Helper()
	r.tg(t, "--host", "lab", "lab", "fault", "add", "--on", during, "--when", "during", "--do", "pause", "--for", "5s")
	inner := r.realLab.inner()
	servers := func() (all []int) {
		for _, pid := range descend(inner) {
			if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); strings.HasPrefix(string(name), "sshd") {
				all = append(all, pid)
			}
		}
		return all
	}
	cmd := exec.Command("tg", "run", recipe, "--yes", "registry="+r.registry)
	cmd.Env, cmd.Dir = r.env(), r.home
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	r.await(t, "the node to run "+during, func() bool {
		return len(ended) > 0 || !strings.Contains(r.must(lab.FaultProgram+" list"), during)
	})
	do(cmd.Process, servers)
	select {
	case err := <-ended:
		if err != nil && !strings.Contains(said.String(), "connection lost") {
			t.Errorf("%v, and it does not say that the connection was lost:\n%s", err, said.String())
		}
	case <-time.After(3 * time.Minute):
		_ = cmd.Process.Kill()
		<-ended
		t.Fatalf("tg goes on without end:\n%s", said.String())
	}
	r.run(t, recipe)
	r.settled(t, recipe)
}

// agent starts an agent that has a key, for the rest of the test.
func (r *realRig) agent(t *testing.T, key string) {
	t.Helper()
	socket := filepath.Join(r.home, "agent") // its name must be short
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		_ = os.Remove(socket)
		r.environ = nil
	})
	r.await(t, "the agent", func() bool { _, err := os.Stat(socket); return err == nil })
	r.environ = []string{"SSH_AUTH_SOCK=" + socket}
	mustRun(t, r.environ, "ssh-add", "-q", key)
}

// startJump starts a server of OpenSSH that lets in who the lab lets in, and
// returns its address and host key.
func startJump(t *testing.T, at lab.Endpoint) (addr, hostKey string) {
	t.Helper()
	dir := t.TempDir()
	hostKey = newSSHKey(t, filepath.Join(dir, "host"), "")
	allowed, err := exec.Command("ssh-keygen", "-y", "-f", at.ClientKey).Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "allowed"), allowed, 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = ln.Addr().String()
	if err := ln.Close(); err != nil { // a moment later the server listens there
		t.Fatal(err)
	}
	port := strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
	config := filepath.Join(dir, "sshd_config")
	text := "ListenAddress 127.0.0.1\nPort " + port + "\nHostKey " + filepath.Join(dir, "host") + "\nAuthorizedKeysFile " + filepath.Join(dir, "allowed") +
		"\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin prohibit-password\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-f", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	if err := waitFor(t.Context(), 20*time.Second, func() bool {
		c, err := net.Dial("tcp", addr)
		return err == nil && c.Close() == nil
	}); err != nil {
		t.Fatal(err)
	}
	return addr, hostKey
}

// newSSHKey makes a key and returns its public half.
func newSSHKey(t *testing.T, file, phrase string) string {
	t.Helper()
	mustRun(t, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-C", "", "-f", file)
	public, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(public))
}

func mustRun(t *testing.T, env []string, argv ...string) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", argv[0], err, out)
	}
}
