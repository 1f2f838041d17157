package recipes_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab/labtest"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/pve"
)

// everyKind is a recipe with a step of every kind, so that its plan asks all that
// a plan can ask.
const everyKind = `recipe("x")
db = pct_create("db", image = oci_pull("docker.io/library/alpine:3.22"), env = {"P": secret("p")},
    mounts = {"/data": zfs_dataset("tank/x/db", profile = "postgres", owner = 999), "/tmp/host": host_dir("/srv")}, ready = exec_ready(["true"]))
web = pct_create("web", image = oci_pull("docker.io/library/nginx:1.27", policy = "always"), env = {"DB": db.address}, ready = exec_ready(["true"]))
gpu_attach(web, "auto")
device_attach(web, "/dev/fuse")
file(web, "/etc/web.conf", content = "db = %s\n" % db.address)
file(zfs_dataset("tank/x/web"), "/web.conf", content = "a = 1\n")
pct_exec(db, ["true"], unless = ["false"])
node_exec(["true"], creates = "/srv/there")
output("url", "http://%s" % web.address)
`

// An altered host answers some questions otherwise than its node would. What the
// node said once it says again, so that it is asked once for all cases.
type altered struct {
	engine.Host
	change func(q engine.Ask, a engine.Answer) engine.Answer
	said   map[string]engine.Answer // by Ask.Key
}

func (h altered) Batch(ctx context.Context, asks []engine.Ask) (*engine.Answers, error) {
	got, err := h.Host.Batch(ctx, engine.NewAnswers(h.said).Missing(asks))
	if err != nil {
		return nil, err
	}
	m := map[string]engine.Answer{}
	for _, q := range asks {
		if _, ok := h.said[q.Key()]; !ok {
			h.said[q.Key()] = got.Get(q)
		}
		m[q.Key()] = h.change(q, h.said[q.Key()])
	}
	return engine.NewAnswers(m), nil
}

// A spoiling is what becomes of what a node says.
type spoiling struct {
	name string
	of   func(said []byte) []byte
}

func spoilings() []spoiling {
	constant := func(s string) func([]byte) []byte { return func([]byte) []byte { return []byte(s) } }
	return []spoiling{
		{"nothing", constant("")},
		{"the first half", func(said []byte) []byte { return said[:len(said)/2] }},
		{"all but the last byte", func(said []byte) []byte { return said[:max(0, len(said)-1)] }},
		{"binary garbage", constant("\x00\xff\xfe\x7fELF\x01\x02\r\n\x1b[2J\x80\x81")},
		{"10 MB of one letter", constant(strings.Repeat("x", 10<<20))},
		{"a message in German", constant("Datei oder Verzeichnis nicht gefunden: 3,14 GB übrig\n")},
		{"a page of HTML", constant("<html><body>502 Bad Gateway</body></html>\n")},
		{"JSON's null", constant("null\n")},
		{"an object of JSON", constant("{}\n")},
		{"wrong types in JSON", constant(`[{"vmid":{},"ids":[],"schemaVersion":"two","config":7,"status":3}]`)},
		{"ten times the same", func(said []byte) []byte { return bytes.Repeat(said, 10) }},
	}
}

// spoil applies a spoiling to one answer, and of several files to the first.
func spoil(a engine.Answer, of func([]byte) []byte) engine.Answer {
	a.Result.Stdout = of(a.Result.Stdout)
	a.Data = of(a.Data)
	if a.Files != nil {
		a.Files = maps.Clone(a.Files)
		for _, name := range slices.Sorted(maps.Keys(a.Files)) {
			a.Files[name] = of(a.Files[name])
			break
		}
	}
	return a
}

// hostileAnswers alters every answer that a plan reads, in every way, on an empty
// node and on one where the application runs: there must be one error that names
// the question, or the very plan that the true answers give, or one that only asks
// for more to be done and is refused or harmless when it runs.
func hostileAnswers(t *testing.T) int {
	cases := 0
	for _, deployed := range []bool{false, true} {
		r := newRig(t, "9.2")
		for _, argv := range [][]string{{"mkdir", "-p", "/srv"}, {"touch", "/srv/there"}} {
			r.lab.Exec(t.Context(), argv, nil, nil, nil)
		}
		if deployed {
			r.mustRun("x.star", everyKind, nil)
		}
		said := map[string]engine.Answer{}
		asked, good := r.asked(said)
		mark := len(r.lab.Log())
		for _, key := range slices.Sorted(maps.Keys(asked)) {
			for i, m := range spoilings() {
				if labtest.Raced && i > 0 {
					break
				}
				cases++
				q := asked[key]
				name := fmt.Sprintf("deployed %v, %s is %s", deployed, q, m.name)
				got, err := r.planAltered(said, func(other engine.Ask, a engine.Answer) engine.Answer {
					if other.Key() == key {
						return spoil(a, m.of)
					}
					return a
				})
				switch {
				case err != nil:
					text := checkOneError(t, err)
					if !names(text, q) && !isTrue(q, m, text) && !namesContainer(q, text) {
						t.Errorf("%s: the error does not name the question:\n%s", name, text)
					}
				case got != good && !isTrue(q, m, got):
					t.Errorf("%s: another plan, as if the node had said it:\n%s", name, got)
				}
			}
		}
		if did := r.mutations(mark); len(did) > 0 {
			t.Errorf("programs ran that change the node:\n%s", strings.Join(did, "\n"))
		}
	}
	return cases
}

// asked returns all questions of a plan by their key, and the plan's text.
func (r *rig) asked(said map[string]engine.Answer) (asked map[string]engine.Ask, good string) {
	r.t.Helper()
	asked = map[string]engine.Ask{}
	good, err := r.planAltered(said, func(q engine.Ask, a engine.Answer) engine.Answer {
		asked[q.Key()] = q
		return a
	})
	if err != nil || len(asked) < 20 {
		r.t.Fatalf("%d questions, %v", len(asked), err)
	}
	return asked, good
}

// planAltered makes the plan of everyKind with altered answers.
func (r *rig) planAltered(said map[string]engine.Answer, change func(engine.Ask, engine.Answer) engine.Answer) (string, error) {
	h := altered{r.host, change, said}
	answers, err := h.Batch(r.t.Context(), pve.FactAsks())
	if err != nil {
		return "", err
	}
	f, err := pve.ParseFacts(answers, engine.Choices{})
	if err == nil {
		err = pve.Supported(f)
	}
	if err != nil {
		return "", fmt.Errorf("facts: %w", err)
	}
	g, err := load(r.t.Context(), f, "x.star", everyKind, nil)
	if err != nil {
		return "", err
	}
	p, err := plan.Build(r.t.Context(), g, h, f, plan.Options{Kinds: builtins.Kinds()})
	if err != nil {
		return "", err
	}
	return plan.Text(p), errors.Join(p.Refused()...)
}

// isTrue reports whether an altered answer is one that a node may well give, and
// got, a plan or an error, is right about such a node.
func isTrue(q engine.Ask, m spoiling, got string) bool {
	for _, c := range []struct{ question, mutation, got, why string }{
		{"/sys/class/drm/", "nothing", "pct_create/web", "a card that is no PCI card is none for a recipe"},
		{"/sys/class/drm/", "half", "pct_create/web", "a card that is no PCI card is none for a recipe"},
		{"uname -n", "JSON's null", "hostname lookup 'null' failed", "a node may have that name"},
		{"/run/tengil/x/*", "", "~ ready:", "a note that is not the container's is no note: it is probed again"},
		{"/tank/x/web/web.conf", "", "~ content:", "a file of the dataset may hold anything"},
		{"/var/lib/tengil/x/files/*", "", "file/web/etc/web.conf", "a file that is not whole is written again"},
		{"/etc/pve/priv/tengil/x/*", "", "env.P", "a secret may be any text of one line"},
		{"/etc/pve/nodes/*/lxc/*.conf", "nothing", "there is no such container", "an empty config is no container of the application"},
		{"/etc/pve/nodes/*/lxc/*.conf", "the first half", "~ swap: ", "what a config does not say is set again"},
		{"/var/lib/tengil/x/hosts", "", "names: ", "a file that is not whole is written again"},
		{"/var/lib/tengil/x/logs/*/lxc.conf", "", "~ log: ", "a file that is not whole is written again"},
		{"/etc/pve/nodes/*/lxc/*.conf", "ten times the same", ", restarts", "lines may stand twice, and are put right"},
		{"/etc/pve/storage.cfg", "", "no storage on pve can keep archives", "a node may have no storages"},
		{"lxc-info", "nothing", "url = ", "a container may have no address yet"},
		{"zpool list", "", `pool "tank" does not exist on pve`, "a node may have other pools"},
		{"dpkg-query", "the first half", "is not installed", "a package may be missing"},
	} {
		if strings.Contains(q.String(), c.question) && strings.Contains(m.name, c.mutation) && strings.Contains(got, c.got) {
			return true
		}
	}
	return false
}

// namesContainer reports whether an error names the container instead of its config.
func namesContainer(q engine.Ask, text string) bool {
	return q.Glob() == "/etc/pve/nodes/*/lxc/*.conf" && strings.Contains(text, "CT 10")
}

// names reports whether a message names the command or the file of a question.
func names(text string, q engine.Ask) bool {
	if q.Glob() != "" {
		return strings.Contains(text, path.Base(path.Dir(q.Glob()))) || strings.Contains(text, path.Dir(strings.ReplaceAll(q.Glob(), "*", "")))
	}
	if q.File() != "" {
		return strings.Contains(text, q.File()) || strings.Contains(text, path.Base(q.File()))
	}
	return strings.Contains(text, q.Argv()[0])
}
