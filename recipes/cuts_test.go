package recipes_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/plan"
)

// pair is an app of two containers, one of which waits for the other, with a
// dataset, a secret and a GPU: every kind of step that a cut can hit.
const pair = `recipe(name = "pair")
release = option("release", default = "3.22")
password = secret("password")
db = pct_create("db", image = oci_pull("docker.io/valkey/valkey:8-bookworm"), memory = "128M", disk = "1G",
	mounts = {"/data": zfs_dataset("tank/pair/db", owner = 999)}, env = {"PASSWORD": password}, ready = tcp_ready(6379))
web = pct_create("web", image = oci_pull("docker.io/library/alpine:" + release), memory = "64M", disk = "1G", env = {"DB": db.address},
	ready = exec_ready(["true"]))
gpu_attach(web, "auto")
`

var errKilled = errors.New("tg was killed")

// A mortal is the host of a tg that is killed before or after its n-th call: from
// then on it can do nothing more.
type mortal struct {
	engine.Host
	at    int // the call, from 1
	after bool
	dead  func() // ends everything that the program does
	mu    sync.Mutex
	calls int
}

// step counts a call and tells whether it still happens, and whether it is the last.
func (m *mortal) step() (alive, last bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	return m.calls < m.at || m.calls == m.at && m.after, m.calls == m.at
}

func mortally[T any](m *mortal, do func() (T, error)) (T, error) {
	var zero T
	alive, last := m.step()
	if !alive {
		m.dead()
		return zero, errKilled
	}
	v, err := do()
	if last {
		m.dead()
		return zero, errKilled
	}
	return v, err
}

func (m *mortal) Run(ctx context.Context, c engine.Cmd) (engine.Result, error) {
	return mortally(m, func() (engine.Result, error) { return m.Host.Run(ctx, c) })
}

func (m *mortal) Batch(ctx context.Context, asks []engine.Ask) (*engine.Answers, error) {
	return mortally(m, func() (*engine.Answers, error) { return m.Host.Batch(ctx, asks) })
}

func (m *mortal) WriteFile(ctx context.Context, f engine.File) error {
	_, err := mortally(m, func() (struct{}, error) { return struct{}{}, m.Host.WriteFile(ctx, f) })
	return err
}

func (m *mortal) Hold(ctx context.Context, l engine.Lock) (io.Closer, error) {
	return mortally(m, func() (io.Closer, error) { return m.Host.Hold(ctx, l) })
}

// A stage is one thing that is done to the app, after others.
type stage struct {
	name   string
	before []map[string]string // runs that come first
	values map[string]string
	remove bool // destroy instead of run
}

func (s stage) do(r *rig, m *mortal) error {
	ctx, dead := context.WithCancel(r.t.Context())
	defer dead()
	m.dead = dead
	var p *engine.Plan
	var err error
	if s.remove {
		p, err = plan.Destroy(ctx, r.host, builtins.Kinds(), "pair", false)
	} else {
		p, err = r.plan("pair.star", pair, s.values)
	}
	if err != nil {
		return err
	}
	o := quick
	o.Cut = ctx.Done()
	_, err = exec.Run(ctx, p, m, o)
	return err
}

// never is the call before which a tg that lives on is killed.
const never = 1 << 30

var stages = []stage{
	{name: "a fresh run"},
	{name: "a run with a new image", before: []map[string]string{nil}, values: map[string]string{"release": "3.23"}},
	{name: "a destroy", before: []map[string]string{nil}, remove: true},
}

// 4. Crash-only: whenever tg is killed, the next run arrives at the same end. The
// points are before and after every single call to the node, on the newest release.
func TestPromise4CrashOnly(t *testing.T) {
	for _, release := range releases {
		for _, s := range stages {
			t.Run(release+" "+s.name, func(t *testing.T) {
				t.Parallel()
				whole := newRig(t, release)
				whole.prepare(s)
				count := &mortal{Host: whole.host, at: never}
				if err := s.do(whole, count); err != nil {
					t.Fatal(err)
				}
				want := whole.end()
				points, step := 0, 1
				if testing.Short() {
					step = 9
				}
				if release != releases[len(releases)-1] && os.Getenv("EXHAUSTIVE") != "1" {
					step = 7 // the older release at every seventh call; make exhaust takes all
				}
				for at := 1; at <= count.calls; at += step {
					for _, after := range []bool{false, true} {
						points++
						t.Run(fmt.Sprintf("call %d after=%v", at, after), func(t *testing.T) {
							t.Parallel()
							r := newRig(t, release)
							r.prepare(s)
							if err := s.do(r, &mortal{Host: r.host, at: at, after: after}); err == nil && !after {
								t.Fatal("the run did not notice that it was killed")
							}
							r.host.Close() // as the connection of a killed program ends
							r.connect()
							if err := s.do(r, &mortal{Host: r.host, at: never}); err != nil {
								t.Fatalf("the next run: %v", err)
							}
							if diff := cmp.Diff(want, r.end()); diff != "" {
								t.Errorf("another end (-whole +cut):\n%s", diff)
							}
						})
					}
				}
				t.Logf("%d points", points)
			})
		}
	}
}

func (r *rig) prepare(s stage) {
	r.t.Helper()
	for _, values := range s.before {
		r.mustRun("pair.star", pair, values)
	}
}

var temporary = regexp.MustCompile(`/\.[^/]+\.tg-[0-9A-Za-z]{6}$`)

var volatile = regexp.MustCompile(`subvol-\d+-disk-\d+|"vmid\\"%3A\d+|vmid"%3A\d+|/lxc/\d+|CT \d+|\b10\.10\.10\.\d+\b|BC:24:11:[0-9A-F:]{8}|[0-9a-zA-Z]{32}$`)

// end describes how the node ended up, without what may differ: configs by host
// name, datasets, files, and whatever should not be there.
func (r *rig) end() map[string]string {
	r.t.Helper()
	end := map[string]string{}
	for name, text := range r.files("etc/pve", "run", "var/lib/tengil", "var/lib/vz") {
		switch {
		case temporary.MatchString(name):
			continue // of a write that was cut: nobody reads it, and a later write of that name removes it
		case strings.HasSuffix(name, ".conf") && strings.Contains(name, "/lxc/"):
			name = "config of " + regexp.MustCompile(`(?m)^hostname: (.*)$`).FindString(text)
			if _, twice := end[name]; twice {
				name += " (a second one)"
			}
		case strings.HasPrefix(name, "/run/lock/"), strings.HasPrefix(name, "/run/tengil/") && !strings.Contains(name, "/ready."):
			continue // locks and outputs of units are for the node's uptime
		case strings.HasSuffix(name, ".tar"), strings.Contains(name, "/images/"), strings.Contains(name, "/secret."), strings.Contains(name, "/ready."):
			text = "" // that it is there counts
		}
		var lines []string
		for line := range strings.Lines(text) {
			lines = append(lines, volatile.ReplaceAllString(strings.TrimRight(line, "\n"), "…"))
		}
		end[name] = strings.Join(lines, "\n")
	}
	var out strings.Builder
	if code := r.lab.Exec(r.t.Context(), []string{"zfs", "list", "-H", "-o", "name,tengil:app,tengil:step"}, nil, &out, io.Discard); code != 0 {
		r.t.Fatalf("zfs list: exit status %d", code)
	}
	for line := range strings.Lines(out.String()) {
		key := "dataset " + volatile.ReplaceAllString(strings.TrimSpace(line), "…")
		end[key] += "one "
	}
	entries, err := os.ReadDir(filepath.Join(r.lab.Root(), "var/lib/lxc"))
	if err == nil {
		end["mounted roots"] = fmt.Sprint(len(entries))
	}
	return end
}
