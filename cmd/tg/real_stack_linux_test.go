package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/tengil/tengil/engine/lab/lxc"
	"github.com/tengil/tengil/engine/pve"
)

// stackUsers are the containers of the stack and who their applications run as.
var stackUsers = map[string]int{"db": 999, "redis": 998, "machine-learning": 1001, "web": 1000}

// The words that are stored and looked for.
const (
	itemName = "letter.txt"
	itemText = "what is written stays\n"
)

type item struct {
	Name, SHA256 string
	Vector       []float64
}

type webHealth struct {
	Greeting, Model string
	Items, Uploads  int
}

// TestRealStack deploys an application of four containers whose software runs
// for real, and holds tg to what it promises about them. One deployment goes
// through all of it, as a second one takes as long as the rest.
func TestRealStack(t *testing.T) {
	t.Parallel()
	r := newRealRig(t)
	recipe := r.recipe(t, "stack")
	plan := planOf(t, r, recipe)
	r.run(t, recipe)
	model := answered[webHealth](t, r, "stack", "GET", "/health", "", 200).Model
	wantItem := answered[item](t, r, "stack", "POST", "/items/"+itemName, itemText, 201)
	if want := fmt.Sprintf("%x", sha256.Sum256([]byte(itemText))); wantItem.SHA256 != want {
		t.Fatalf("the item has checksum %s, want %s", wantItem.SHA256, want)
	}
	wantRows := answered[[]item](t, r, "stack", "GET", "/items", "", 200)

	// kept sees that all that was written is still there: the row, the file and
	// the model.
	kept := func(t *testing.T) {
		t.Helper()
		if diff := cmp.Diff(wantRows, answered[[]item](t, r, "stack", "GET", "/items", "", 200)); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		if got := string(r.ask(t, "stack", "GET", "/items/"+itemName, "", 200)); got != itemText {
			t.Errorf("the file holds %q, want %q", got, itemText)
		}
		if got := answered[webHealth](t, r, "stack", "GET", "/health", "", 200); got.Model != model {
			t.Errorf("the model is %s, want %s: its cache was lost", got.Model, model)
		}
	}
	steps := []struct {
		name string
		test func(t *testing.T)
	}{
		{"what the plan said arrives", func(t *testing.T) { arrives(t, r, plan) }},
		{"who writes owns it, inside and on the node", func(t *testing.T) { owns(t, r) }},
		{"a second run has nothing to do", func(t *testing.T) { r.settled(t, recipe) }},
		{"tg open shows it in a browser", func(t *testing.T) { shows(t, r) }},
		{"applications know nothing of each other", func(t *testing.T) { apart(t, r); kept(t) }},
		{"data outlives a crash of any container", func(t *testing.T) { crashes(t, r, recipe); kept(t) }},
		{"a stop is asked for, and heeded", func(t *testing.T) { stops(t, r); kept(t) }},
		{"data outlives a change of any option", func(t *testing.T) { changes(t, r, recipe, kept) }},
		{"data outlives the containers", func(t *testing.T) {
			r.tg(t, "destroy", "stack", "--yes")
			r.run(t, recipe)
			kept(t)
		}},
	}
	for _, s := range steps {
		if !t.Run(s.name, s.test) {
			return // what comes after would fail as well
		}
	}
}

// settled sees that a recipe has nothing to do any more.
func (r *realRig) settled(t *testing.T, recipe string, options ...string) {
	t.Helper()
	out, errs, status := r.try(t, append([]string{"plan", recipe, "--exit-code", "registry=" + r.registry}, options...)...)
	if status != 0 {
		t.Errorf("tg plan --exit-code after a run: %d\n%s%s", status, out, errs)
	}
}

// A realPlan is what a plan says will be of each container.
type realPlan map[string]map[string]string

func planOf(t *testing.T, r *realRig, recipe string) realPlan {
	t.Helper()
	var p struct {
		Steps []struct {
			Step    string
			Changes []struct{ Field, To string }
		}
	}
	if err := json.Unmarshal([]byte(r.tg(t, "plan", recipe, "-o", "json", "registry="+r.registry)), &p); err != nil {
		t.Fatal(err)
	}
	out := realPlan{}
	for _, s := range p.Steps {
		if name, ok := strings.CutPrefix(s.Step, "pct_create/"); ok {
			out[name] = map[string]string{}
			for _, c := range s.Changes {
				out[name][c.Field] = c.To
			}
		}
	}
	return out
}

// arrives compares what each application sees with what the plan said.
func arrives(t *testing.T, r *realRig, plan realPlan) {
	compared := 0
	for name, uid := range stackUsers {
		at := "stack/" + name
		environ := strings.Split(r.in(t, at, "cat", "/proc/1/environ"), "\x00")
		mounts := mountsOf(r.in(t, at, "cat", "/proc/1/mountinfo"))
		id, _ := r.show(t, "stack").container(t, name)
		if got, want := field(r.in(t, at, "cat", "/proc/1/status"), "Uid:"), fmt.Sprint(uid); got != want {
			t.Errorf("%s runs as %s, want %s", name, got, want)
		}
		for what, want := range plan[name] {
			kind, key, _ := strings.Cut(what, ".")
			got := ""
			switch {
			case want == "***" || strings.HasPrefix(want, "(known") || name == "redis" && (kind == "env" || kind == "entrypoint"):
				continue // hidden, or overwritten by the application's own title
			case kind == "env":
				got, want = having(environ, key+"="), key+"="+want
			case kind == "entrypoint" && name == "db":
				continue // its script gives way to the server
			case kind == "entrypoint":
				got = strings.TrimRight(strings.ReplaceAll(r.in(t, at, "cat", "/proc/1/cmdline"), "\x00", " "), " ")
			case kind == "hostname":
				got = strings.TrimSpace(r.in(t, at, "cat", "/proc/sys/kernel/hostname"))
			case kind == "mounts":
				if got = mounts[key].root; strings.HasSuffix(got, "/root"+want) {
					got = want
				}
			case kind == "tmpfs" || kind == "shm":
				if kind == "shm" {
					key = "/dev/shm"
				}
				size, err := pve.ParseSize(want)
				if err != nil {
					t.Fatal(err)
				}
				got, want = mounts[key].options, fmt.Sprintf("size=%dk", size>>10)
				if slices.Contains(strings.Split(got, ","), want) {
					got = want
				}
			case kind == "memory":
				size, err := pve.ParseSize(want)
				if err != nil {
					t.Fatal(err)
				}
				got, want = r.memory(t, id), fmt.Sprint(int64(size))
			default:
				continue
			}
			compared++
			if got != want {
				t.Errorf("%s: %s is %q in the container, the plan said %q", name, what, got, want)
			}
		}
	}
	if compared < 20 {
		t.Errorf("only %d values were compared: the plan or the containers are read wrongly", compared)
	}
	for name, want := range map[string]string{"web": "/srv", "machine-learning": "/srv", "redis": "/data"} {
		if got := strings.TrimSpace(r.in(t, "stack/"+name, "readlink", "/proc/1/cwd")); got != want {
			t.Errorf("%s runs in %s, want the image's %s", name, got, want)
		}
	}
	want := "character special file e2:80 660 104 0\n" // render, as the image's /etc/group has it
	if got := r.in(t, "stack/machine-learning", "stat", "-c", "%F %t:%T %a %g %u", "/dev/dri/renderD128"); got != want {
		t.Errorf("the GPU is %q in the container, want %q", got, want)
	}
}

func field(text, name string) string {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			return f[1]
		}
	}
	return ""
}

func having(list []string, prefix string) string {
	for _, s := range list {
		if strings.HasPrefix(s, prefix) {
			return s
		}
	}
	return ""
}

type seenMount struct{ root, options string }

// mountsOf reads mountinfo; see proc_pid_mountinfo(5).
func mountsOf(text string) map[string]seenMount {
	out := map[string]seenMount{}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 9 {
			out[f[4]] = seenMount{root: f[3], options: f[len(f)-1]}
		}
	}
	return out
}

// memory is the limit of a container, in bytes.
func (r *realRig) memory(t *testing.T, id string) string {
	t.Helper()
	groups, err := lxc.Cgroups(labCgroups(r.dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range groups {
		for _, file := range []string{"memory.limit_in_bytes", "memory.max"} {
			if limit, err := os.ReadFile(filepath.Join(group, "ct", id, file)); err == nil {
				return strings.TrimSpace(string(limit))
			}
		}
	}
	t.Fatalf("CT %s has no limit of memory", id)
	return ""
}

// owns looks at files that applications have written.
func owns(t *testing.T, r *realRig) {
	for name, file := range map[string]struct{ inside, node string }{
		"db":               {"/var/lib/postgresql/data/PG_VERSION", "tank/stack/db/PG_VERSION"},
		"machine-learning": {"/cache/model.json", "tank/stack/models/model.json"},
		"web":              {"/data/files/" + itemName, "tank/stack/library/files/" + itemName},
	} {
		uid := stackUsers[name]
		if got, want := r.in(t, "stack/"+name, "stat", "-c", "%u:%g", file.inside), fmt.Sprintf("%d:%d\n", uid, uid); got != want {
			t.Errorf("%s is %q's in the container, want %q", file.inside, got, want)
		}
		if got, want := ownerOnNode(t, r, file.node), 100000+uid; got != want {
			t.Errorf("%s is %d's on the node, want %d", file.node, got, want)
		}
	}
	if got := ownerOnNode(t, r, "tank/stack/redis"); got != 100998 {
		t.Errorf("the dataset of redis is %d's on the node, want 100998", got)
	}
}

// crashes kills PID 1 of each container; tg tells it, and the next run mends it.
func crashes(t *testing.T, r *realRig, recipe string) {
	for name := range stackUsers {
		r.kill(t, "stack", name)
		shown := r.show(t, "stack")
		for other := range stackUsers {
			if _, got := shown.container(t, other); other != name && got != "running" {
				t.Errorf("after %s crashed tg show says that %s is %s, want running", name, other, got)
			}
		}
		if ps := r.tg(t, "ps"); strings.Count(ps, "stopped") != 1 || strings.Count(ps, "healthy") != len(stackUsers)-1 {
			t.Errorf("after %s crashed tg ps says\n%s", name, ps)
		}
		_, said, status := r.try(t, "exec", "stack/"+name, "--", "true")
		if want := "container stack/" + name + " is stopped"; status == 0 || !strings.Contains(said, want) {
			t.Errorf("tg exec in the crashed %s: status %d, %q; want %q", name, status, said, want)
		}
		r.run(t, recipe)
	}
}

// stops stops all containers. Each application notes that it was asked to end, and
// ended by itself.
func stops(t *testing.T, r *realRig) {
	answered[item](t, r, "stack", "POST", "/items/"+itemName, itemText, 201)
	want := answered[webHealth](t, r, "stack", "GET", "/health", "", 200).Uploads
	r.tg(t, "stop", "stack")
	for name := range stackUsers {
		if id, now := r.show(t, "stack").container(t, name); now != "stopped" || len(r.processesOf(id)) > 0 {
			t.Errorf("after tg stop %s is %s, with processes %v", name, now, r.processesOf(id))
		}
	}
	at := func(name string) string { return filepath.Join(r.dir, "root/tank/stack", name) }
	for name, file := range map[string]string{"web": "library/stopped", "machine-learning": "models/stopped", "redis": "redis/dump.rdb"} {
		if _, err := os.Stat(at(file)); err != nil {
			t.Errorf("%s has not ended in good order: %v", name, err)
		}
	}
	if _, err := os.Stat(at("db/postmaster.pid")); !os.IsNotExist(err) {
		t.Errorf("the database has not ended in good order: its pid file: %v", err)
	}
	r.tg(t, "start", "stack")
	if got := answered[webHealth](t, r, "stack", "GET", "/health", "", 200); got.Uploads != want || want < 1 {
		t.Errorf("redis counts %d uploads, want the %d that it wrote when it was stopped", got.Uploads, want)
	}
}

// changes changes each option, and back.
func changes(t *testing.T, r *realRig, recipe string, kept func(*testing.T)) {
	t.Run("greeting", func(t *testing.T) {
		r.run(t, recipe, "greeting=good day")
		if got := answered[webHealth](t, r, "stack", "GET", "/health", "", 200).Greeting; got != "good day" {
			t.Errorf("the greeting is %q", got)
		}
		kept(t)
	})
	t.Run("shm and gpu", func(t *testing.T) {
		r.run(t, recipe, "greeting=good day", "shm=64M", "gpu=none")
		if got := mountsOf(r.in(t, "stack/db", "cat", "/proc/1/mountinfo"))["/dev/shm"].options; !strings.Contains(got, "size=65536k") {
			t.Errorf("/dev/shm has %q, want 64M", got)
		}
		if _, _, status := r.try(t, "exec", "stack/machine-learning", "--", "test", "-e", "/dev/dri/renderD128"); status != 1 {
			t.Errorf("the GPU is still there: status %d", status)
		}
		kept(t)
	})
	t.Run("release", func(t *testing.T) {
		for _, name := range []string{"ml", "web"} {
			r.push(t, nextRelease(t, r.images[name]), name+":2")
		}
		r.run(t, recipe, "greeting=good day", "shm=64M", "gpu=none", "release=2")
		for _, at := range []string{"stack/machine-learning", "stack/web"} {
			if got := having(strings.Split(r.in(t, at, "cat", "/proc/1/environ"), "\x00"), "RELEASE="); got != "RELEASE=2" {
				t.Errorf("%s has %q, want RELEASE=2", at, got)
			}
		}
		kept(t)
	})
	t.Run("registry", func(t *testing.T) {
		r.tg(t, "run", recipe, "--yes", "registry="+r.other("localhost"), "greeting=good day", "shm=64M", "gpu=none", "release=2")
		kept(t)
	})
	t.Run("pool and library", func(t *testing.T) {
		back := []string{"greeting=hello", "shm=128M", "gpu=auto", "release=1"}
		r.run(t, recipe, append(back, "pool=rpool", "library=rpool/elsewhere")...)
		if got := answered[[]item](t, r, "stack", "GET", "/items", "", 200); len(got) != 0 {
			t.Errorf("a new database has rows: %v", got)
		}
		r.ask(t, "stack", "GET", "/items/"+itemName, "", 404)
		r.run(t, recipe, append(back, "pool=tank", "library=tank/stack/library")...)
		kept(t)
	})
	r.settled(t, recipe)
}

// nextRelease makes an image that differs in its environment.
func nextRelease(t *testing.T, from string) string {
	t.Helper()
	return changedLayout(t, from, func(image v1.Image) (v1.Image, error) {
		file, err := image.ConfigFile()
		if err != nil {
			return nil, err
		}
		conf := file.Config
		conf.Env = append(slices.Clone(conf.Env), "RELEASE=2")
		return mutate.Config(image, conf)
	})
}

// apart runs the stack a second time under another name.
func apart(t *testing.T, r *realRig) {
	twin := r.recipe(t, "twin")
	r.run(t, twin)
	secrets := map[string]string{}
	for _, app := range []string{"stack", "twin"} {
		value := having(strings.Split(r.in(t, app+"/web", "cat", "/proc/1/environ"), "\x00"), "DB_PASSWORD=")
		secrets[app] = strings.TrimPrefix(value, "DB_PASSWORD=")
	}
	if len(secrets["stack"]) < 16 || secrets["stack"] == secrets["twin"] {
		t.Fatalf("the passwords have %d and %d characters, equal: %v", len(secrets["stack"]), len(secrets["twin"]), secrets["stack"] == secrets["twin"])
	}
	for app, other := range map[string]string{"stack": "twin", "twin": "stack"} {
		for name := range stackUsers {
			at := app + "/" + name
			seen := r.in(t, at, "cat", "/proc/1/environ", "/proc/1/mountinfo", "/etc/hosts")
			for what, text := range map[string]string{"password": secrets[other], "directory": "/tank/" + other + "/", "host names": other + "-"} {
				if strings.Contains(seen, text) {
					t.Errorf("%s sees the %s of %s", at, what, other)
				}
			}
		}
		// Each reaches its own database by the same name, and the other's not with
		// its own password.
		ids := map[string]string{}
		for _, a := range []string{app, other} {
			for _, th := range r.show(t, a).Things {
				if th.Step == "pct_create/db" {
					ids[a] = th.Address
				}
			}
		}
		const login = `import os, psycopg2, sys
psycopg2.connect(host=sys.argv[1], user="stack", dbname="items", password=os.environ["PW"], connect_timeout=5)`
		for host, want := range map[string]int{"db": 0, ids[app]: 0, ids[other]: 1} {
			out, errs, status := r.try(t, "exec", app+"/web", "--", "env", "PW="+secrets[app], "python3", "-c", login, host)
			if status != want || want == 1 && !strings.Contains(errs, "password authentication failed") {
				t.Errorf("%s/web at %s: exit status %d, want %d: %s%s", app, host, status, want, out, errs)
			}
		}
	}
	if got := answered[[]item](t, r, "twin", "GET", "/items", "", 200); len(got) != 0 {
		t.Errorf("a second application shows the rows of the first: %v", got)
	}
	r.tg(t, "destroy", "twin", "--yes")
}
