package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// An sshd hands each connection to a server of OpenSSH, one process each, which
// logs in whom the lab lets in and hands every command to the lab.
type sshd struct {
	node   *node
	ln     net.Listener
	config string // file

	work  sync.WaitGroup
	mu    sync.Mutex
	pids  map[int]bool
	ended bool
}

// startSSHD serves ln with the machine's OpenSSH. inner is where the lab itself
// listens.
func (n *node) startSSHD(ln net.Listener, k keys, inner string) (*sshd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(n.dir, "sshd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // OpenSSH insists on it
		return nil, err
	}
	allowed := filepath.Join(dir, "authorized_keys")
	if err := replaceFile(allowed, ssh.MarshalAuthorizedKey(k.client.PublicKey()), 0o600); err != nil {
		return nil, err
	}
	s := &sshd{node: n, ln: ln, config: filepath.Join(dir, "sshd_config"), pids: map[int]bool{}}
	if err := replaceFile(s.config, []byte(s.text(self, allowed, inner)), 0o600); err != nil {
		return nil, err
	}
	if out, err := exec.Command(sshdProgram, "-t", "-f", s.config).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s -t: %w: %s", sshdProgram, err, out)
	}
	s.work.Go(s.accept)
	return s, nil
}

const sshdProgram = "/usr/sbin/sshd"

// text is the configuration. Of each option the first line counts, so that what the
// node's own files say comes after what must be.
func (s *sshd) text(self, allowed, inner string) string {
	quoted := func(v string) string { return `"` + v + `"` }
	lines := []string{
		"HostKey " + quoted(filepath.Join(s.node.dir, "keys", "host")),
		"AuthorizedKeysFile " + quoted(allowed),
		"PermitRootLogin prohibit-password", "PasswordAuthentication no", "KbdInteractiveAuthentication no", "UsePAM no",
		"StrictModes no", // the lab's directory may lie in one that others can write, such as /tmp
		"PidFile none", "PrintMotd no", "PrintLastLog no", "AllowUsers root",
		// With SHLVL, bash takes itself for an inner shell, and leaves the machine's .bashrc alone.
		fmt.Sprintf("SetEnv %s %s SHLVL=1", quoted("TG_LAB_DIR="+s.node.dir), quoted(InnerAddr+"="+inner)),
		"PermitUserRC no",
		"Include " + quoted(s.node.host("/etc/ssh/sshd_config.d")+"/*.conf"),
		"ForceCommand exec " + quoted(self) + " lab shell",
	}
	return strings.Join(lines, "\n") + "\n"
}

func (s *sshd) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return // closed
		}
		s.work.Go(func() { s.serve(c) })
	}
}

// serve runs a server on one connection until it ends.
func (s *sshd) serve(c net.Conn) {
	f, err := c.(*net.TCPConn).File()
	if err = errors.Join(err, c.Close()); err != nil {
		s.node.log.Error("sshd", "err", err)
		return
	}
	cmd := exec.Command(sshdProgram, "-i", "-f", s.config)
	cmd.Stdin, cmd.Stdout = f, f
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pid, err := s.begin(cmd)
	if err = errors.Join(err, f.Close()); err != nil {
		s.node.log.Error("sshd", "err", err)
		return
	}
	_ = cmd.Wait() // a connection ends in many ways
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pids, pid)
}

func (s *sshd) begin(cmd *exec.Cmd) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, net.ErrClosed
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	s.pids[cmd.Process.Pid] = true
	return cmd.Process.Pid, nil
}

// cut drops all connections: the servers, with what they forked to be less
// privileged, are killed.
func (s *sshd) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for pid := range s.pids {
		killTree(pid)
	}
}

// close takes no more connections and waits until none is left.
func (s *sshd) close() error {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	err := s.ln.Close()
	s.cut()
	s.work.Wait()
	return err
}

// killTree kills a process and its children that are servers of OpenSSH too. What
// those run goes on, as on a node whose network fails.
func killTree(pid int) {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)) // it may be gone
	_ = syscall.Kill(pid, syscall.SIGKILL)
	for _, f := range strings.Fields(string(children)) {
		name, _ := os.ReadFile("/proc/" + f + "/comm")
		if !strings.HasPrefix(string(name), "sshd") {
			continue
		}
		var child int
		if _, err := fmt.Sscan(f, &child); err == nil {
			killTree(child)
		}
	}
}
