package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"golang.org/x/sys/unix"

	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/lab/debimage"
)

// A realRig is a lab whose containers run for real, and a registry with the
// images of testdata/stack. Who comes to the lab comes through OpenSSH.
type realRig struct {
	*realLab
	home     string   // where tg is started
	host     string   // for TG_HOST
	environ  []string // more of the environment of tg
	registry string   // 127.0.0.1:PORT
	images   map[string]string
	client   *http.Client // in the lab's network
}

func newRealRig(t testing.TB) *realRig {
	t.Helper()
	needLXC(t)
	needImages(t)
	l := newRealLab(t)
	r := rigOf(l)
	r.serveImages(t)
	r.tg(t, "lab", "start", "--sshd")
	return r
}

func rigOf(l *realLab) *realRig {
	r := &realRig{realLab: l, home: filepath.Dir(l.dir), host: "lab"}
	r.client = &http.Client{Transport: &http.Transport{DialContext: r.dial, DisableKeepAlives: true}, Timeout: 30 * time.Second}
	return r
}

// another is a lab of its own with the same registry.
func (r *realRig) another(t testing.TB) *realRig {
	t.Helper()
	other := rigOf(newRealLab(t))
	other.registry, other.images = r.registry, r.images
	other.tg(t, "lab", "start", "--sshd")
	return other
}

// needImages is needLXC for what images are made and served with, and for OpenSSH.
func needImages(t testing.TB) {
	t.Helper()
	for _, p := range append([]string{"docker-registry", "/usr/sbin/sshd"}, debimage.Programs...) {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not installed; to mend it: make setup", p)
			}
			t.Skipf("%s is not installed; to mend it: make setup", p)
		}
	}
}

// serveImages builds the images and serves them from a registry.
func (r *realRig) serveImages(t testing.TB) {
	t.Helper()
	cache, err := debimage.Cache()
	if err == nil {
		r.images, err = debimage.Build(t.Context(), "../../testdata/stack", cache)
	}
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.registry = ln.Addr().String()
	if err := ln.Close(); err != nil { // a moment later the registry listens there
		t.Fatal(err)
	}
	conf := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\nlog: {level: error, accesslog: {disabled: true}}\n",
		filepath.Join(r.home, "registry"), r.registry)
	file := filepath.Join(r.home, "registry.yml")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", file)
	log, err := os.Create(filepath.Join(r.home, "registry.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	r.await(t, "the registry to answer", func() bool {
		resp, err := http.Get("http://" + r.registry + "/v2/")
		if err != nil && hasEnded(cmd.Process.Pid) {
			said, _ := os.ReadFile(log.Name())
			t.Fatalf("the registry has ended: %s", said)
		}
		return err == nil && resp.Body.Close() == nil
	})
	for name, layout := range r.images {
		r.push(t, layout, name+":1")
	}
}

func (r *realRig) push(t testing.TB, layout, name string) {
	t.Helper()
	if err := debimage.Push(t.Context(), layout, r.registry+"/stack/"+name); err != nil {
		t.Fatal(err)
	}
}

// changedLayout writes the image of an OCI layout, changed, as another layout.
func changedLayout(t testing.TB, from string, change func(v1.Image) (v1.Image, error)) string {
	t.Helper()
	index, err := layout.ImageIndexFromPath(from)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	image, err := index.Image(m.Manifests[0].Digest)
	if err == nil {
		image, err = change(image)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	to, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = to.AppendImage(image)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// other is the registry by another name of this machine.
func (r *realRig) other(host string) string {
	_, port, _ := net.SplitHostPort(r.registry) // it is one
	return net.JoinHostPort(host, port)
}

func (r *realRig) env() []string {
	env := []string{"TG_LAB_DIR=" + r.dir, "TG_HOST=" + r.host, "HOME=" + r.home, "NO_COLOR=1"}
	for _, name := range []string{"PATH", "TMPDIR"} {
		env = append(env, name+"="+os.Getenv(name))
	}
	return append(env, r.environ...)
}

// try runs tg and returns what it printed, and its exit status.
func (r *realRig) try(t testing.TB, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "tg", args...)
	cmd.Env, cmd.Dir = r.env(), r.home
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("tg %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// tg runs tg, which must succeed, and returns what it printed.
func (r *realRig) tg(t testing.TB, args ...string) string {
	t.Helper()
	out, errs, status := r.try(t, args...)
	if status != 0 {
		t.Fatalf("tg %s: exit status %d\n%s%s", strings.Join(args, " "), status, out, errs)
	}
	return out
}

// run runs a recipe with the images of the rig.
func (r *realRig) run(t testing.TB, recipe string, options ...string) {
	t.Helper()
	r.tg(t, append([]string{"run", recipe, "--yes", "registry=" + r.registry}, options...)...)
}

// in runs a command in a container and returns what it printed.
func (r *realRig) in(t testing.TB, container string, argv ...string) string {
	t.Helper()
	return r.tg(t, append([]string{"exec", container, "--"}, argv...)...)
}

// recipe writes the stack as a recipe of that name, whose data lies apart.
func (r *realRig) recipe(t testing.TB, app string) string {
	t.Helper()
	text, err := os.ReadFile("../../testdata/stack/stack.star")
	if err != nil {
		t.Fatal(err)
	}
	named := strings.NewReplacer(`name = "stack"`, fmt.Sprintf("name = %q", app), `pool + "/stack/`, fmt.Sprintf(`pool + "/%s/`, app)).Replace(string(text))
	file := filepath.Join(r.home, app+".star")
	if err := os.WriteFile(file, []byte(named), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// A realApp is what tg shows of an application.
type realApp struct {
	Options map[string]string `json:"options"`
	Outputs map[string]string `json:"outputs"`
	Things  []struct {
		Step    string `json:"step"`
		What    string `json:"what"`
		Now     string `json:"now"`
		Address string `json:"address"`
	} `json:"things"`
}

func (r *realRig) show(t testing.TB, app string) (a realApp) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.tg(t, "show", app, "-o", "json")), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// container returns the id of a container and what tg says of it.
func (a realApp) container(t testing.TB, name string) (id, now string) {
	t.Helper()
	for _, th := range a.Things {
		if th.Step == "pct_create/"+name {
			return strings.TrimPrefix(th.What, "CT "), th.Now
		}
	}
	t.Fatalf("tg show knows no container %s: %+v", name, a)
	return "", ""
}

// await waits for what comes by itself.
func (r *realRig) await(t testing.TB, what string, is func() bool) {
	t.Helper()
	if err := waitFor(t.Context(), time.Minute, is); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// processesOf are the processes of a container.
func (r *realRig) processesOf(id string) []string {
	all, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	var pids []string
	for _, file := range all {
		if groups, err := os.ReadFile(file); err == nil && bytes.Contains(groups, []byte("/"+labCgroups(r.dir)+"/ct/"+id+"/")) {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}

// init is PID 1 of a container.
func (r *realRig) init(t testing.TB, id string) int {
	t.Helper()
	for _, p := range r.processesOf(id) {
		status, err := os.ReadFile("/proc/" + p + "/status")
		if err == nil && regexp.MustCompile(`(?m)^NSpid:.*\s1$`).Match(status) {
			pid, err := strconv.Atoi(p)
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatalf("CT %s has no PID 1", id)
	return 0
}

// kill ends a container as a crash of its application does, and returns once the
// node knows.
func (r *realRig) kill(t testing.TB, app, name string) {
	t.Helper()
	id, _ := r.show(t, app).container(t, name)
	if err := syscall.Kill(r.init(t, id), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.await(t, "tg show to say that "+name+" is stopped", func() bool {
		_, now := r.show(t, app).container(t, name)
		return now == "stopped"
	})
}

// dial connects from within the lab's network.
func (r *realRig) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	at, running := lab.Find(r.dir)
	if !running {
		return nil, errors.New("the lab does not run")
	}
	children, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", at.PID))
	if err != nil {
		return nil, err
	}
	var enclosed string
	for _, file := range children {
		if list, err := os.ReadFile(file); err == nil {
			enclosed += string(list)
		}
	}
	pids := strings.Fields(enclosed)
	if len(pids) != 1 {
		return nil, fmt.Errorf("process %d has children %q, wanted the one that it encloses", at.PID, pids)
	}
	return inNetwork("/proc/"+pids[0]+"/ns/net", func() (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	})
}

// inNetwork calls f in the network namespace of a file.
func inNetwork[T any](file string, f func() (T, error)) (T, error) {
	type result struct {
		v T
		error
	}
	got := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this function
		var r result
		ns, err := os.Open(file)
		if err == nil {
			err = errors.Join(unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET), ns.Close())
		}
		if r.error = err; err == nil {
			r.v, r.error = f()
		}
		got <- r
	}()
	r := <-got
	return r.v, r.error
}

// ask sends a request to an application at the address that tg printed.
func (r *realRig) ask(t testing.TB, app, method, path, body string, want int) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.show(t, app).Outputs["url"]+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != want {
		t.Fatalf("%s %s: status %d, want %d: %s", method, path, resp.StatusCode, want, data)
	}
	return data
}

// answered is ask for JSON.
func answered[T any](t testing.TB, r *realRig, app, method, path, body string, want int) (v T) {
	t.Helper()
	data := r.ask(t, app, method, path, body, want)
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s %s: %v: %s", method, path, err, data)
	}
	return v
}

// ownerOnNode is whose a file of the node is.
func ownerOnNode(t testing.TB, r *realRig, name string) int {
	t.Helper()
	fi, err := os.Lstat(filepath.Join(r.dir, "root", name))
	if err != nil {
		t.Fatal(err)
	}
	return int(fi.Sys().(*syscall.Stat_t).Uid)
}
