package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tengil/tengil/engine/lab"
)

const (
	leastOfScriptCold = 0.6
	leastAnsibleNoop  = 25
	leastScriptImage  = 3
	changedImage      = 5 << 20 // bytes
)

// The ways of a change that are measured, in their order: each begins where the
// one before has ended. All peers take their turn in each.
var peerRounds = []struct {
	name              string
	release, greeting string
}{
	{"cold: no image, no data", "1", "hello"},
	{"no-op", "1", "hello"},
	{"an env value of one container", "1", "good morning"},
	{"one image, by 5 MB", "2", "good morning"},
	{"warm: images are there", "2", "hello"},
}

const noopRound = 1 // runs noopRuns times, of which the best counts

// A peer deploys the stack.
type peer struct {
	*peerMeter // has the lab that the peer works on
	name       string
	deploy     func(b *testing.B, release, greeting string)
	remove     func(b *testing.B) // containers and data; images stay
	web        func() (*http.Client, string)
	onNode     bool // what it runs there is counted
}

type peerResult struct {
	took     time.Duration
	bytes    int64
	commands int
}

// BenchmarkPeers deploys the stack of four containers with tg and with what else
// does it, from one registry: on a lab whose containers run for real, behind
// OpenSSH; Docker Compose on this machine.
func BenchmarkPeers(b *testing.B) {
	b.Setenv("PATH", filepath.Dir(buildTG(b))+":"+os.Getenv("PATH"))
	rig := newRealRig(b)
	m := &peerMeter{realRig: rig, pulled: new(atomic.Int64)}
	m.push(b, fiveMore(b, rig.images["ml"]), "ml:2")
	m.countBytes(b)

	peers := []peer{m.tengil(b), m.another(b).script(b)}
	var skipped []string
	if _, err := exec.LookPath("ansible-playbook"); err == nil {
		peers = append(peers, m.another(b).ansible(b), m.another(b).ansibleRaw(b))
	} else {
		skipped = append(skipped, "ansible: ansible-playbook is not installed: apt-get install ansible-core")
	}
	if p, reason := m.compose(b); reason == "" {
		peers = append(peers, p)
	} else {
		skipped = append(skipped, "docker compose: "+reason)
	}
	results := make([][]peerResult, len(peers))
	for round := range peerRounds {
		for i, p := range peers {
			results[i] = append(results[i], p.measure(b, round))
		}
	}
	for _, p := range peers {
		p.remove(b)
	}
	showPeers(b, peers, results, skipped)

	at := func(name string, round int) float64 {
		i := slices.IndexFunc(peers, func(p peer) bool { return p.name == name })
		if i < 0 {
			return 0
		}
		return results[i][round].took.Seconds() / results[0][round].took.Seconds()
	}
	missed := func(ok bool, format string, a ...any) {
		if !ok {
			fmt.Printf("  missed: "+format+"\n", a...)
		}
	}
	cold := 1 / at("script", 0)
	b.ReportMetric(cold, "×script-cold")
	missed(cold <= leastOfScriptCold, "cold %.2f × the script; wanted %.1f", cold, leastOfScriptCold)
	image := at("script", 3)
	b.ReportMetric(image, "×faster-image")
	missed(image >= leastScriptImage, "one image %.1f × as fast as the script; wanted %d", image, leastScriptImage)
	if noop := at(ansibleModules, noopRound); noop > 0 {
		b.ReportMetric(noop, "×faster-noop")
		missed(noop >= leastAnsibleNoop, "no-op %.1f × as fast as Ansible; wanted %d", noop, leastAnsibleNoop)
	}
}

func showPeers(b *testing.B, peers []peer, results [][]peerResult, skipped []string) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n  \ttime\tof tg's\tpulled\tcommands on the node\n")
	for round, r := range peerRounds {
		fmt.Fprintf(w, "  %s\t\t\t\t\n", r.name)
		for i, p := range peers {
			got := results[i][round]
			commands := "–"
			if p.onNode {
				commands = fmt.Sprint(got.commands)
			}
			fmt.Fprintf(w, "    %s\t%.2f s\t%.2f ×\t%.1f MB\t%s\n", p.name, got.took.Seconds(),
				times(got.took, results[0][round].took), float64(got.bytes)/1e6, commands)
		}
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	for _, s := range skipped {
		fmt.Println("  skipped: " + s)
	}
	b.ReportMetric(0, "ns/op") // the time of the whole benchmark says nothing
}

// A peerMeter measures what peers do on a rig.
type peerMeter struct {
	*realRig
	counter http.Handler  // in front of the registry
	pulled  *atomic.Int64 // by all peers
}

// another measures on a lab of its own.
func (m *peerMeter) another(b *testing.B) *peerMeter {
	return &peerMeter{realRig: m.realRig.another(b), counter: m.counter, pulled: m.pulled}
}

// measure runs one round.
func (p peer) measure(b *testing.B, round int) (best peerResult) {
	repeat := 1
	switch round {
	case noopRound:
		repeat = noopRuns
	case len(peerRounds) - 1:
		p.remove(b)
	}
	r := peerRounds[round]
	for n := range repeat {
		bytes, commands := p.pulled.Load(), p.commands(b)
		began := time.Now()
		p.deploy(b, r.release, r.greeting)
		p.awaitWeb(b, r.greeting)
		got := peerResult{time.Since(began), p.pulled.Load() - bytes, p.commands(b) - commands}
		if n == 0 || got.took < best.took {
			best = got
		}
	}
	b.Logf("%s, %s: %v", r.name, p.name, best)
	return best
}

// awaitWeb waits until the application is as it was deployed.
func (p peer) awaitWeb(b *testing.B, greeting string) {
	b.Helper()
	client, url := p.web()
	p.await(b, p.name+": the application to answer", func() bool {
		resp, err := client.Get(url + "/health")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		var h webHealth
		return resp.StatusCode == 200 && json.NewDecoder(resp.Body).Decode(&h) == nil && h.Greeting == greeting
	})
}

// commands counts the programs that have run on the node.
func (m *peerMeter) commands(b *testing.B) (n int) {
	b.Helper()
	data, err := os.ReadFile(filepath.Join(m.dir, "log"))
	if err != nil {
		b.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var e struct{ Argv []string }
		if err := json.Unmarshal(line, &e); err != nil {
			b.Fatal(err)
		}
		if e.Argv[0] != ">" { // which is how the log tells what a redirection writes
			n++
		}
	}
	return n
}

// countBytes puts what counts in front of the registry.
func (m *peerMeter) countBytes(b *testing.B) {
	b.Helper()
	m.counter = counting(m.registry, m.pulled)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	serve(b, ln, m.counter)
	m.registry = ln.Addr().String()
}

// fiveMore is an image with a layer of 5 MB more.
func fiveMore(b *testing.B, from string) string {
	b.Helper()
	data := make([]byte, changedImage)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data) // never fails; nothing can compress it
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	err := w.WriteHeader(&tar.Header{Name: "srv/more", Mode: 0o644, Size: changedImage, Typeflag: tar.TypeReg})
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
	added, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		b.Fatal(err)
	}
	return changedLayout(b, from, func(image v1.Image) (v1.Image, error) { return mutate.AppendLayers(image, added) })
}

// runs runs a command to its end.
func (m *peerMeter) runs(b *testing.B, stdin string, env []string, argv ...string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdin = append(m.env(), env...), m.home, strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
}

// fresh removes the containers, and the data.
func (m *peerMeter) fresh(b *testing.B, ids string) {
	b.Helper()
	m.must("for id in " + ids + "; do pct stop $id; pct destroy $id || exit; done; zfs destroy -r tank/stack")
}

func (m *peerMeter) tengil(b *testing.B) peer {
	text, err := os.ReadFile("../../testdata/stack/stack.star")
	if err != nil {
		b.Fatal(err)
	}
	// One image changes with the release, not two.
	text = bytes.Replace(text, []byte(`"/stack/web:" + release`), []byte(`"/stack/web:1"`), 1)
	file := filepath.Join(m.home, "peers.star")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		b.Fatal(err)
	}
	address := regexp.MustCompile(`(?m)^ +url +(http://\S+)$`)
	var web string
	return peer{
		peerMeter: m, name: "tg", onNode: true,
		deploy: func(b *testing.B, release, greeting string) {
			out := m.tg(b, "run", file, "--yes", "registry="+m.registry, "gpu=none", "pool=tank", "release="+release, "greeting="+greeting)
			found := address.FindStringSubmatch(out)
			if found == nil {
				b.Fatalf("tg run says no address:\n%s", out)
			}
			web = found[1]
		},
		remove: func(b *testing.B) {
			m.tg(b, "destroy", "stack", "--yes")
			m.must("zfs destroy -r tank/stack")
		},
		web: func() (*http.Client, string) { return m.client, web },
	}
}

const (
	scriptIDs = "201 202 203 204"
	scriptWeb = "http://10.10.10.24:2283"
)

func (m *peerMeter) script(b *testing.B) peer {
	text, err := os.ReadFile("../../testdata/stack/peers/deploy.sh")
	if err != nil {
		b.Fatal(err)
	}
	ssh := append([]string{"ssh"}, m.ssh(b)...)
	return peer{
		peerMeter: m, name: "script", onNode: true,
		deploy: func(b *testing.B, release, greeting string) {
			m.runs(b, string(text), nil, append(ssh, "node", "REGISTRY="+m.registry, "RELEASE="+release, "GREETING='"+greeting+"'", "sh")...)
		},
		remove: func(b *testing.B) { m.fresh(b, scriptIDs) },
		web:    func() (*http.Client, string) { return m.client, scriptWeb },
	}
}

// ssh writes how OpenSSH's client reaches the lab as "node".
func (m *peerMeter) ssh(b *testing.B) []string {
	b.Helper()
	at, running := lab.Find(m.dir)
	if !running {
		b.Fatal("the lab does not run")
	}
	_, port, err := net.SplitHostPort(at.Addr)
	if err != nil {
		b.Fatal(err)
	}
	known, config := filepath.Join(m.home, "known_hosts"), filepath.Join(m.home, "ssh_config")
	for file, text := range map[string]string{
		known: fmt.Sprintf("[127.0.0.1]:%s %s\n", port, at.HostKey),
		config: fmt.Sprintf("Host node\nHostName 127.0.0.1\nPort %s\nUser %s\nIdentityFile %s\nIdentitiesOnly yes\nUserKnownHostsFile %s\nStrictHostKeyChecking yes\n",
			port, at.User, at.ClientKey, known),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return []string{"-F", config}
}

const ansibleModules = "Ansible"

// ansible runs the playbook as it is usual: with the module that runs commands, and
// Ansible as it comes. The module needs Python, and with it a machine to run on: it
// runs on this one, reached through a server of OpenSSH, and hands its command to
// the node in the way in which the lab's own server does.
func (m *peerMeter) ansible(b *testing.B) peer {
	text, err := os.ReadFile("../../testdata/stack/peers/playbook.yml")
	if err != nil {
		b.Fatal(err)
	}
	tg, err := exec.LookPath("tg")
	if err != nil {
		b.Fatal(err)
	}
	home, _ := freshHome(b)
	d := startSSHD(b, home, tg, m.dir)
	shell := filepath.Join(home, "shell") // is called with -c and the command
	script := fmt.Sprintf("#!/bin/sh\nexec nsenter --net=/proc/%d/ns/net env %s=@tengil-lab %s lab shell \"$2\"\n", m.inner(), lab.InnerAddr, tg)
	if err := os.WriteFile(shell, []byte(script), 0o755); err != nil {
		b.Fatal(err)
	}
	playbook := strings.NewReplacer("ansible.builtin.raw:", "ansible.builtin.shell:",
		"gather_facts: false\n", "gather_facts: false\n  module_defaults: {ansible.builtin.shell: {executable: "+shell+"}}\n").Replace(string(text))
	return m.playbook(b, ansibleModules, d.write(b, "ansible.cfg", ""), d.inventory(b), d.write(b, "playbook.yml", playbook))
}

// ansibleRaw runs the playbook with raw commands, as fast as Ansible is with what
// it ships.
func (m *peerMeter) ansibleRaw(b *testing.B) peer {
	playbook, err := filepath.Abs("../../testdata/stack/peers/playbook.yml")
	if err != nil {
		b.Fatal(err)
	}
	inventory, config := filepath.Join(m.home, "inventory"), filepath.Join(m.home, "ansible.cfg")
	for file, text := range map[string]string{
		inventory: "node\n",
		config: fmt.Sprintf("[defaults]\ngathering = explicit\n[ssh_connection]\npipelining = True\nusetty = False\nssh_args = %s -o ControlMaster=auto -o ControlPersist=60s\n",
			strings.Join(m.ssh(b), " ")),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return m.playbook(b, "Ansible, raw and pipelined", config, inventory, playbook)
}

func (m *peerMeter) playbook(b *testing.B, name, config, inventory, playbook string) peer {
	return peer{
		peerMeter: m, name: name, onNode: true,
		deploy: func(b *testing.B, release, greeting string) {
			vars, err := json.Marshal(map[string]string{"registry": m.registry, "release": release, "greeting": greeting})
			if err != nil {
				b.Fatal(err)
			}
			m.runs(b, "", []string{"ANSIBLE_CONFIG=" + config}, "ansible-playbook", "-i", inventory, "-e", string(vars), playbook)
		},
		remove: func(b *testing.B) { m.fresh(b, scriptIDs) },
		web:    func() (*http.Client, string) { return m.client, scriptWeb },
	}
}

// compose starts a Docker engine of its own, in a network of its own, or says why
// it cannot.
func (m *peerMeter) compose(b *testing.B) (peer, string) {
	for _, p := range []string{"dockerd", "docker", "docker-compose"} {
		if _, err := exec.LookPath(p); err != nil {
			return peer{}, p + " is not installed: apt-get install docker.io docker-compose"
		}
	}
	dir, err := os.MkdirTemp("/var/tmp", "tg-peers-") // overlays do not work everywhere
	if err != nil {
		b.Fatal(err)
	}
	socket := "unix://" + filepath.Join(dir, "sock")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("sh", "-c", `ip link set lo up && exec dockerd --data-root "$1/data" --exec-root "$1/exec" -p "$1/pid" -H "$2"`, "sh", dir, socket)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	if err := cmd.Start(); err != nil {
		return peer{}, err.Error()
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it ends containerd too
		_ = cmd.Wait()                          // the status says that it was asked to end
		if err := os.RemoveAll(dir); err != nil {
			b.Error(err)
		}
	})
	up := func() bool {
		return hasEnded(cmd.Process.Pid) || exec.Command("docker", "-H", socket, "version").Run() == nil
	}
	if err := waitFor(b.Context(), 30*time.Second, up); err != nil || hasEnded(cmd.Process.Pid) {
		said, _ := os.ReadFile(log.Name())
		lines := strings.Split(strings.TrimSpace(string(said)), "\n")
		return peer{}, "dockerd does not start: " + lines[len(lines)-1]
	}
	network := fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid)
	ln, err := inNetwork(network, func() (net.Listener, error) { return net.Listen("tcp", m.registry) })
	if err != nil {
		b.Fatal(err)
	}
	serve(b, ln, m.counter)
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, proto, addr string) (net.Conn, error) {
			return inNetwork(network, func() (net.Conn, error) { return new(net.Dialer).DialContext(ctx, proto, addr) })
		}}}
	file, err := filepath.Abs("../../testdata/stack/peers/compose.yml")
	if err != nil {
		b.Fatal(err)
	}
	run := func(b *testing.B, release, greeting string, args ...string) {
		env := []string{"DOCKER_HOST=" + socket, "REGISTRY=" + m.registry, "RELEASE=" + release, "GREETING=" + greeting}
		m.runs(b, "", env, append([]string{"docker-compose", "-p", "stack", "-f", file}, args...)...)
	}
	return peer{
		peerMeter: m, name: "Docker Compose",
		deploy: func(b *testing.B, release, greeting string) { run(b, release, greeting, "up", "-d") },
		remove: func(b *testing.B) { run(b, "2", "", "down", "--volumes") },
		web:    func() (*http.Client, string) { return client, "http://127.0.0.1:2283" },
	}, ""
}
