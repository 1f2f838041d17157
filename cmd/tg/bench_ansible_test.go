package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tgexec "github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/lab"
)

const (
	ansibleTasks = 30
	maxRounds    = 3
	leastFaster  = 25
	noopRuns     = 5 // before each run of Ansible
	// Debian's; it is in no PATH but root's.
	sshdProgram = "/usr/sbin/sshd"
)

// BenchmarkNoopImmichAgainstAnsible: a run with nothing to do, against Ansible
// with tasks that have nothing to do, through the same OpenSSH server. Behind one
// of its ports is the lab, behind the other this machine.
func BenchmarkNoopImmichAgainstAnsible(b *testing.B) {
	installed(b, "ansible-playbook", "ansible-core")
	installed(b, sshdProgram, "openssh-server")
	tg := buildTG(b)
	l, err := deployedLab(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	home, homeEnv := freshHome(b)
	d := startSSHD(b, home, tg, filepath.Dir(l.Root()))

	env := []string{homeEnv, "SSH_AUTH_SOCK=", "ANSIBLE_CONFIG=" + d.ansibleConfig(b)}
	var all, ansible []time.Duration
	rounds := 0
	noop := func() {
		before := l.Requests()
		took, said := timed(b, env, tg, "--host", "ssh://root@127.0.0.1:"+d.labPort, "run", "immich", "pool=tank", "--yes")
		if !strings.Contains(said, "nothing to do") {
			b.Fatalf("there was something to do:\n%s", said)
		}
		rounds = max(rounds, l.Requests()-before)
		all = append(all, took)
	}
	for range 2 { // in turn, as the machine may become slower or faster meanwhile
		for range noopRuns {
			noop()
		}
		took, _ := timed(b, env, "ansible-playbook", "-i", d.inventory(b), d.playbook(b))
		ansible = append(ansible, took)
	}
	ours, theirs := slices.Min(all), slices.Min(ansible)
	faster := times(theirs, ours)
	show(b,
		row{"tg run immich with nothing to do, over OpenSSH", ms(ours), "", fmt.Sprintf("best of %d, whole process; median %s", len(all), ms(median(all)))},
		row{"  round trips, as the node counts them", fmt.Sprint(rounds), fmt.Sprintf("≤ %d", maxRounds), ""},
		row{fmt.Sprintf("ansible-playbook with %d command tasks, same sshd, pipelining", ansibleTasks), ms(theirs),
			fmt.Sprintf("≥ %d ×", leastFaster), fmt.Sprintf("tg is %.1f × faster; best of %d", faster, len(ansible))},
	)
	b.ReportMetric(faster, "×faster")
	b.ReportMetric(float64(rounds), "round-trips")
	holds(b, rounds <= maxRounds, "%d round trips; wanted at most %d", rounds, maxRounds)
	holds(b, faster >= leastFaster, "%.1f times as fast as Ansible; wanted %d", faster, leastFaster)
}

// deployedLab opens a lab on which Immich runs.
func deployedLab(ctx context.Context, dir string) (*lab.Lab, error) {
	l, err := lab.Open(ctx, lab.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	host, err := dialBench(ctx, l.Endpoint())
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	defer host.Close()
	p, err := planImmich(ctx, host)
	if err == nil {
		_, err = tgexec.Run(ctx, p, host, tgexec.Options{})
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// An sshd is one OpenSSH server with two ports: one leads to this machine, what
// comes in on the other is handed to the lab.
type sshd struct {
	dir               string // holds the keys
	hostPort, labPort string
}

// startSSHD starts one that lives as long as the benchmark. home gets the key and
// the known_hosts of its client, and is the home of both ports' sessions, as a
// .bashrc of this machine would be read for each of them.
func startSSHD(b *testing.B, home, tg, labDir string) sshd {
	b.Helper()
	d := sshd{dir: filepath.Join(home, ".ssh"), hostPort: freePort(b), labPort: freePort(b)}
	for _, key := range []string{"host", "id_ed25519"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(d.dir, key)).CombinedOutput(); err != nil {
			b.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	hostKey := d.read(b, "host.pub")
	d.write(b, "authorized_keys", d.read(b, "id_ed25519.pub"))
	d.write(b, "known_hosts", fmt.Sprintf("[127.0.0.1]:%s %s[127.0.0.1]:%s %s", d.hostPort, hostKey, d.labPort, hostKey))
	config := d.write(b, "sshd_config", fmt.Sprintf(`ListenAddress 127.0.0.1:%s
ListenAddress 127.0.0.1:%s
HostKey %s/host
AuthorizedKeysFile %s/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
PrintMotd no
SetEnv HOME=%s
Match LocalPort %s
	ForceCommand TG_LAB_DIR=%s exec %s lab shell
`, d.hostPort, d.labPort, d.dir, d.dir, home, d.labPort, labDir, tg))
	if os.Getuid() == 0 {
		// OpenSSH insists on an empty directory that only its package makes.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			b.Fatal(err)
		}
	}
	var said bytes.Buffer
	cmd := exec.Command(sshdProgram, "-D", "-e", "-f", config)
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // killed: the status says so
		if b.Failed() {
			b.Logf("sshd said:\n%s", &said)
		}
	})
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	if err := waitFor(ctx, 10*time.Second, func() bool { return listens(d.hostPort) && listens(d.labPort) }); err != nil {
		b.Fatalf("sshd does not listen: %v\n%s", err, &said)
	}
	return d
}

func listens(port string) bool {
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func freePort(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	return port
}

func (d sshd) read(b *testing.B, name string) string {
	b.Helper()
	data, err := os.ReadFile(filepath.Join(d.dir, name))
	if err != nil {
		b.Fatal(err)
	}
	return string(data)
}

func (d sshd) write(b *testing.B, name, text string) (file string) {
	b.Helper()
	file = filepath.Join(d.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return file
}

// ansibleConfig is Ansible at its fastest with what it ships.
func (d sshd) ansibleConfig(b *testing.B) string {
	return d.write(b, "ansible.cfg", `[defaults]
gathering = explicit
interpreter_python = /usr/bin/python3
[ssh_connection]
pipelining = True
ssh_args = -o ControlMaster=auto -o ControlPersist=60s
`)
}

func (d sshd) inventory(b *testing.B) string {
	return d.write(b, "inventory", fmt.Sprintf("node ansible_host=127.0.0.1 ansible_port=%s ansible_user=root ansible_ssh_private_key_file=%s/id_ed25519 ansible_ssh_common_args='-o UserKnownHostsFile=%s/known_hosts'\n",
		d.hostPort, d.dir, d.dir))
}

// playbook has as many tasks as a playbook for Immich needs at least.
func (d sshd) playbook(b *testing.B) string {
	var text strings.Builder
	text.WriteString("- hosts: node\n  gather_facts: false\n  tasks:\n")
	for i := range ansibleTasks {
		fmt.Fprintf(&text, "    - name: task %d\n      ansible.builtin.command: /bin/true\n      changed_when: false\n", i+1)
	}
	return d.write(b, "playbook.yml", text.String())
}
