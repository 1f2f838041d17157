package recipes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// 1. The host is the state: another workstation, which has seen nothing, knows
// every app and finds nothing to do.
func TestPromise1TheHostIsTheState(t *testing.T) {
	for _, release := range releases {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, release)
			r.mustRun("immich.star", "", nil)
			r.connect()
			found, err := plan.Find(t.Context(), r.host, builtins.Kinds(), "")
			if err != nil {
				t.Fatal(err)
			}
			got := map[engine.StepID]bool{}
			for _, f := range found {
				if f.App != "immich" {
					t.Errorf("%s belongs to app %q", f.Step, f.App)
				}
				got[f.Step] = true
			}
			for _, want := range []engine.StepID{"pct_create/db", "pct_create/redis", "pct_create/machine-learning", "pct_create/server",
				"zfs_dataset/tank/immich/db", "zfs_dataset/tank/photos", "secret/db_password"} {
				if !got[want] {
					t.Errorf("%s is not found again", want)
				}
			}
			if p := r.mustPlan("immich.star", "", nil); !p.Empty() {
				t.Errorf("the other workstation would change:\n%s", plan.Text(p))
			}
			// Each container says whose it is from its first moment on.
			creates := 0
			for _, e := range r.lab.Log() {
				if len(e.Argv) < 3 || e.Argv[0] != "pct" || e.Argv[1] != "create" {
					continue
				}
				creates++
				for option, want := range map[string]string{"--tags": "immich;tengil", "--description": `{"tengil":1,"app":"immich"`} {
					i := slices.Index(e.Argv, option)
					if i < 0 || !strings.Contains(e.Argv[i+1], want) {
						t.Errorf("pct create %s has no %s with %s", e.Argv[2], option, want)
					}
				}
			}
			if creates != 4 {
				t.Errorf("%d containers were created, want 4", creates)
			}
		})
	}
}

// 2. Recipes are pure: the same recipe, options and facts give the same graph,
// byte for byte.
func TestPromise2RecipesArePure(t *testing.T) {
	t.Parallel()
	f := newRig(t, "9.2").facts()
	for _, name := range shipped(t) {
		var first string
		for i := range 3 {
			g, err := load(t.Context(), f, name, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			dump := dumpGraph(g)
			if i == 0 {
				first = dump
			} else if diff := cmp.Diff(first, dump); diff != "" {
				t.Errorf("%s gives another graph the second time (-first +now):\n%s", name, diff)
			}
		}
	}
}

func dumpGraph(g *engine.Graph) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%+v\n", g.App)
	for _, n := range g.Nodes() {
		fmt.Fprintf(&b, "%s %s %v %s needs %v attached %v asks %v\n", n.ID, n.Step.Pos, n.Step.Via, n.Class, n.Needs, n.Attached, n.Spec.Asks(nil))
		d, err := n.Spec.Observe(engine.NewAnswers(nil))
		fmt.Fprintf(&b, "  %v %v\n", d == nil, err)
	}
	for _, o := range g.Outputs {
		fmt.Fprintf(&b, "%s = %s\n", o.Name, o.Text)
	}
	return b.String()
}

// 3. Plan, then act: a plan changes nothing; a run touches only steps that the
// plan had, and a change that destroys data says which.
func TestPromise3PlanThenAct(t *testing.T) {
	t.Parallel()
	r := newRig(t, "9.2")
	mark := len(r.lab.Log())
	p := r.mustPlan("immich.star", "", nil)
	if did := r.mutations(mark); len(did) > 0 {
		t.Errorf("the plan changed the node:\n%s", strings.Join(did, "\n"))
	}
	if _, err := exec.Run(t.Context(), p, r.host, exec.Options{}); err != nil {
		t.Fatal(err)
	}
	planned := map[string]bool{}
	for _, n := range p.Nodes {
		if len(n.Diff.Changes) > 0 {
			planned[string(n.Step.ID)] = true
		}
	}
	audited := 0
	for _, e := range auditLog(t, r) {
		audited++
		if !planned[string(e.Step)] {
			t.Errorf("%s ran %v, which the plan did not have", e.Step, e.Argv)
		}
	}
	if audited < 20 {
		t.Errorf("only %d commands are in the audit log", audited)
	}

	p = r.mustPlan("immich.star", "", map[string]string{"release": "v3.1.1"})
	loses := false
	for _, n := range p.Nodes {
		for _, c := range n.Diff.Changes {
			if c.Why == "" {
				t.Errorf("%s: %s %s has no why", n.ID, c.Action, c.Field)
			}
			if c.Action == engine.Replace && n.ID.Part() == "create" {
				loses = true
				if !regexp.MustCompile(`CT \d+`).MatchString(c.Loses) {
					t.Errorf("%s replaces a container and says it loses %q", n.ID, c.Loses)
				}
			}
		}
	}
	if !loses {
		t.Errorf("a new release replaces nothing:\n%s", plan.Text(p))
	}
}

type auditEntry struct {
	App  string        `json:"app"`
	Step engine.StepID `json:"step"`
	Argv []string      `json:"argv"`
	Exit *int          `json:"exit"`
}

func auditLog(t *testing.T, r *rig) []auditEntry {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.lab.Root(), engine.AuditLog))
	if err != nil {
		t.Fatal(err)
	}
	var out []auditEntry
	for line := range bytes.Lines(data) {
		var e auditEntry
		if err := json.Unmarshal(line, &e); err != nil || e.Exit == nil || e.App == "" {
			t.Fatalf("audit line %s: %v", line, err)
		}
		out = append(out, e)
	}
	return out
}

// hostile are texts that mean something to a shell, to an option parser, to a
// property string, to a config file or to a path.
var hostile = []string{
	`'; touch /pwned; '`, `"$(touch /pwned)"`, "`touch /pwned`", `a b`, `--force`, `-rf`, `a,b=c`, `a=b`, `a;b`, `a|b`, `a&b`, `../../etc/passwd`,
	`/a/../b`, "a\nonboot: 0", "a\rb", "a\x00b", "a\x1bb", "\u202eabc", `%s%n`, `*`, `~root`, `$HOME`, `\`, `"`, `'`, `#x`, ``, ` `, strings.Repeat("x", 70000),
}

// hostilePlaces are recipes with a hole for each kind of text that reaches a node.
var hostilePlaces = map[string]string{
	"container name": `pct_create(%s, image = oci_pull("docker.io/library/alpine:3.22"), ready = exec_ready(["true"]))`,
	"hostname":       `pct_create("c", hostname = %s, image = oci_pull("docker.io/library/alpine:3.22"), ready = exec_ready(["true"]))`,
	"image":          `pct_create("c", image = oci_pull(%s), ready = exec_ready(["true"]))`,
	"env value":      `pct_create("c", image = oci_pull("docker.io/library/alpine:3.22"), env = {"X": %s}, ready = exec_ready(["true"]))`,
	"env name":       `pct_create("c", image = oci_pull("docker.io/library/alpine:3.22"), env = {%s: "x"}, ready = exec_ready(["true"]))`,
	"entrypoint":     `pct_create("c", image = oci_pull("docker.io/library/alpine:3.22"), entrypoint = ["/bin/echo", %s], ready = exec_ready(["true"]))`,
	"tag":            `pct_create("c", image = oci_pull("docker.io/library/alpine:3.22"), tags = [%s], ready = exec_ready(["true"]))`,
	"mount target":   `pct_create("c", image = oci_pull("docker.io/library/alpine:3.22"), mounts = {%s: zfs_dataset("tank/x")}, ready = exec_ready(["true"]))`,
	"workdir":        `pct_create("c", image = oci_pull("docker.io/library/alpine:3.22"), workdir = %s, ready = exec_ready(["true"]))`,
	"raw line":       `pct_create("c", image = oci_pull("docker.io/library/alpine:3.22"), lxc = ["lxc.prlimit.nofile: " + %s], ready = exec_ready(["true"]))`,
	"dataset":        `zfs_dataset(%s)`,
	"dataset child":  `zfs_dataset("tank/" + %s)`,
	"property":       `zfs_dataset("tank/x", properties = {"tengil:note": %s})`,
	"secret name":    `secret(%s)`,
	"host directory": `host_dir(%s)`,
	"command":        `node_exec(["true", %s], unless = ["false"])`,
	"creates":        `node_exec(["true"], creates = %s)`,
	"file path":      `file(zfs_dataset("tank/x"), %s, content = "x")`,
	"file content":   `file(zfs_dataset("tank/x"), "/f", content = %s)`,
	"probe path":     `pct_create("c", image = oci_pull("docker.io/library/alpine:3.22"), ready = http_ready(80, %s), ready_timeout = "1s")`,
	"device":         `pct_create("c", image = oci_pull("docker.io/library/alpine:3.22"), devices = [%s], ready = exec_ready(["true"]))`,
}

// 6. Argv, never shell text: whatever a recipe says is refused at its line, or
// reaches the node as the text that it is.
func TestPromise6ArgvNeverShellText(t *testing.T) {
	var refused, taken atomic.Int64
	t.Run("places", func(t *testing.T) {
		for place, text := range hostilePlaces {
			t.Run(place, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, "9.2")
				f := r.facts()
				for _, h := range hostile {
					if r.takes(f, place, fmt.Sprintf(text, starlarkString(h)), h) {
						taken.Add(1)
					} else {
						refused.Add(1)
					}
				}
			})
		}
	})
	t.Logf("%d texts refused, %d taken as text", refused.Load(), taken.Load())
	if refused.Load() < 100 || taken.Load() < 50 {
		t.Errorf("%d refused and %d taken: the test does not test what it should", refused.Load(), taken.Load())
	}
}

// takes runs a recipe with a hostile text and reports whether it was taken.
func (r *rig) takes(f *engine.Facts, place, line, h string) bool {
	r.t.Helper()
	g, err := load(r.t.Context(), f, "x.star", "recipe(name = \"x\")\n"+line+"\n", nil)
	if err != nil {
		var at *engine.Error
		if !errors.As(err, &at) || at.Pos.Line != 2 {
			r.t.Errorf("%s %.40q: refused without its line: %v", place, h, err)
		}
		return false
	}
	p, err := plan.Build(r.t.Context(), g, r.host, f, plan.Options{})
	if err != nil {
		return true // the node has no such thing: said by the plan, nothing done
	}
	if strings.ContainsAny(plan.Text(p), "\x00\x1b\r\u202e") {
		r.t.Errorf("%s %.40q: the plan's text holds control characters", place, h)
	}
	_, _ = exec.Run(r.t.Context(), p, r.host, quick)
	r.checkUntouched(place, h)
	r.wipe()
	return true
}

// checkUntouched looks for what a text that was taken for something else would
// have done.
func (r *rig) checkUntouched(place, h string) {
	r.t.Helper()
	for _, name := range []string{"/pwned", "/root/pwned", "/etc/passwd.tg"} {
		if _, err := os.Lstat(filepath.Join(r.lab.Root(), name)); err == nil {
			r.t.Fatalf("%s %.40q made %s", place, h, name)
		}
	}
	for name, text := range r.files("etc/pve/nodes") {
		r.checkConf(name, text)
	}
}

// checkConf looks for lines in a config that a text has added.
func (r *rig) checkConf(name, text string) {
	r.t.Helper()
	conf, err := pve.ParseConfig([]byte(text))
	switch {
	case err != nil || len(conf.Warnings) > 0 || len(conf.Unknown) > 0:
		r.t.Errorf("%s is no clean config: %v\n%s", name, err, text)
	case conf.Get("onboot") == "0":
		r.t.Errorf("%s has a line of somebody else:\n%s", name, text)
	}
}

// wipe removes what the app x has made.
func (r *rig) wipe() {
	r.t.Helper()
	found, err := plan.Find(r.t.Context(), r.host, builtins.Kinds(), "x")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range found {
		if err := f.Remove(r.t.Context(), r.host, func(string, int64, int64) {}); err != nil {
			r.t.Errorf("remove %s: %v", f.What, err)
		}
	}
}

func starlarkString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r < ' ':
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

// marker stands where a generated secret would, in each secret of a recipe.
const marker = "MARKER-7f3a-secret"

// 7. Secrets are secret: not in argv, logs, events, plans or errors, and on the
// node only where root alone reads. Every secret of every recipe that ships is a
// marker that is looked for; programs of the node that echo it are part of it.
func TestPromise7SecretsAreSecret(t *testing.T) {
	var secrets, places atomic.Int64
	t.Run("recipes", func(t *testing.T) {
		for _, name := range shipped(t) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				n, looked := keepsSecrets(t, name)
				secrets.Add(int64(n))
				places.Add(int64(looked))
			})
		}
	})
	t.Logf("%d secrets, looked for in %d texts", secrets.Load(), places.Load())
	if secrets.Load() < 8 || places.Load() < 500 {
		t.Errorf("%d secrets in %d texts: the test looks for the wrong thing", secrets.Load(), places.Load())
	}
}

// keepsSecrets runs a recipe, fresh, changed and failing, and returns how many
// secrets it has and how many texts were searched for them.
func keepsSecrets(t *testing.T, name string) (secrets, places int) {
	r := newRig(t, "9.2")
	app := strings.TrimSuffix(name, ".star")
	var files []engine.File
	for _, n := range r.mustPlan(name, "", minimal(name)).Nodes {
		if n.Step.ID.Kind() == "secret" {
			files = append(files, engine.File{Name: record.PrivFile(app, "secret."+n.Step.ID.Name()), Perm: 0o600})
		}
	}
	if len(files) == 0 {
		return 0, 0
	}
	set := func(value string) {
		for _, f := range files {
			f.Data = []byte(value)
			if err := r.host.WriteFile(t.Context(), f); err != nil {
				t.Fatal(err)
			}
		}
	}
	note := func(what string, v any) {
		places++
		for line := range strings.Lines(fmt.Sprintf("%v %+v %#v", v, v, v)) {
			if strings.Contains(line, marker) {
				t.Errorf("%s shows the secret: %.200s", what, line)
			}
		}
	}
	run := func(what string) {
		p := r.mustPlan(name, "", minimal(name))
		js, err := plan.JSON(p)
		if err != nil {
			t.Fatal(err)
		}
		note(what+": plan", plan.Text(p))
		note(what+": plan json", string(js))
		o := quick
		o.Events = func(e engine.Event) {
			line, _ := json.Marshal(e)
			note(what+": event", string(line))
			note(what+": event's error", e.Err)
		}
		sum, err := exec.Run(t.Context(), p, r.host, o)
		note(what+": error", err)
		note(what+": outputs", sum.Outputs)
		for _, out := range sum.Outcomes {
			note(what+": outcome", out.Err)
		}
	}

	set(marker)
	// A program of the node echoes what it was given, whole and in the middle of a line.
	for _, program := range [][]string{{"pct", "start"}, {"pct", "set"}, {"pct", "exec"}} {
		r.lab.Fault(lab.Fault{Prefix: program, Do: lab.Fail, Exit: 255, Stderr: "bad value \"x=" + marker + "\"\n" + marker + "\n"})
	}
	for try := 0; try < 10 && r.lab.Pending() > 0; try++ {
		run("a run that fails")
	}
	run("a run")
	// A changed secret is a change of env, whose old value is one too.
	set(marker + "-2")
	run("a run with new secrets")

	for _, e := range r.lab.Log() {
		note("argv", strings.Join(e.Argv, " "))
	}
	for name, text := range r.files("var/log", "run", "var/lib/tengil", "var/tmp", "tmp") {
		note(name, text)
	}
	holds := 0
	for name, text := range r.files("etc", "root", "tank", "home", "srv") {
		if !strings.Contains(text, marker) {
			continue
		}
		holds++
		// pmxcfs gives root and www-data what lies below /etc/pve/nodes, and root alone what lies below priv.
		if !strings.HasPrefix(name, "/etc/pve/priv/") && !strings.HasPrefix(name, "/etc/pve/nodes/") {
			t.Errorf("%s holds the secret", name)
		}
	}
	if holds <= len(files) {
		t.Errorf("only %d files hold the marker: it is not what the containers got", holds)
	}
	return len(files), places
}

// 9. No-op is cheap: at most three round trips, and nothing is changed.
func TestPromise9NoOpIsCheap(t *testing.T) {
	for _, release := range releases {
		for _, name := range shipped(t) {
			t.Run(release+" "+name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, release)
				r.mustRun(name, "", minimal(name))
				mark, trips := len(r.lab.Log()), r.host.RoundTrips()
				before := r.files("etc", "var/lib", "run")
				p := r.mustPlan(name, "", minimal(name))
				if !p.Empty() {
					t.Fatalf("not a no-op:\n%s", plan.Text(p))
				}
				if n := r.host.RoundTrips() - trips; n > 3 {
					t.Errorf("%d round trips, want at most 3", n)
				} else {
					t.Logf("%d round trips", n)
				}
				if did := r.mutations(mark); len(did) > 0 {
					t.Errorf("it changed the node:\n%s", strings.Join(did, "\n"))
				}
				if diff := cmp.Diff(before, r.files("etc", "var/lib", "run")); diff != "" {
					t.Errorf("files changed (-before +after):\n%s", diff)
				}
			})
		}
	}
}

// minimal gives the options that a recipe cannot do without.
func minimal(string) map[string]string { return nil }

// gate is a host that holds back every command that match tells until want of
// them wait together: a run that does them one after the other never gets past.
type gate struct {
	engine.Host
	match func(argv []string) bool
	want  int
	mu    sync.Mutex
	met   int
	open  chan struct{}
}

func (g *gate) Run(ctx context.Context, c engine.Cmd) (engine.Result, error) {
	if g.match(c.Argv) {
		g.mu.Lock()
		if g.met++; g.met == g.want {
			close(g.open)
		}
		g.mu.Unlock()
		select {
		case <-g.open:
		case <-ctx.Done():
			return engine.Result{}, ctx.Err()
		}
	}
	return g.Host.Run(ctx, c)
}

// 10. As parallel as the data allows: four images download and four containers
// unpack side by side, and only starts wait for what they need to be ready.
func TestPromise10AsParallelAsTheDataAllows(t *testing.T) {
	for what, argv := range map[string][]string{"downloads": {"skopeo", "copy"}, "unpacking": {"pct", "create"}} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "9.2")
			for _, need := range []string{"db", "redis", "machine-learning"} { // started long before it is ready
				if err := r.lab.SetHealth("immich-"+need, lab.Health{State: lab.Slow, Probes: 2}); err != nil {
					t.Fatal(err)
				}
			}
			p := r.mustPlan("immich.star", "", nil)
			g := &gate{Host: r.host, want: 4, open: make(chan struct{}), match: func(a []string) bool {
				i := slices.Index(a, argv[0])
				return i >= 0 && i+1 < len(a) && a[i+1] == argv[1]
			}}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var order []string
			_, err := exec.Run(ctx, p, g, exec.Options{Cut: ctx.Done(), Events: func(e engine.Event) {
				if e.Kind == engine.Started || e.Kind == engine.Done {
					order = append(order, string(e.Kind)+" "+string(e.Node))
				}
			}})
			if err != nil {
				t.Fatalf("%d of 4 at once: %v", g.met, err)
			}
			at := func(s string) int {
				i := slices.Index(order, s)
				if i < 0 {
					t.Fatalf("no event %q", s)
				}
				return i
			}
			for _, need := range []string{"db", "redis", "machine-learning"} {
				if at("started pct_create/server#start") < at("done pct_create/"+need+"#ready") {
					t.Errorf("server started before %s was ready", need)
				}
				if at("started pct_create/server#create") > at("done pct_create/"+need+"#ready") {
					t.Errorf("server was not unpacked before %s was ready", need)
				}
			}
		})
	}
}
