package recipes_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/lab/labtest"
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

// A blow is one thing that can go wrong with a command.
type blow struct {
	name string
	do   lab.Effect
	kill bool // tg ends with it
}

var blows = []blow{
	{"tg is killed", lab.Cut, true},
	{"the connection drops", lab.Cut, false},
	{"it fails", lab.Fail, false},
	{"it hangs", lab.Hang, false},
	{"it is killed", lab.Kill, false},
}

var whens = []struct {
	name string
	lab.When
}{{"before", lab.Before}, {"during", lab.During}, {"after", lab.After}}

// long are the programs that a fault can hit in the middle of their work.
func long(program string) bool {
	switch program {
	case "pct create", "pct destroy", "skopeo copy":
		return true
	}
	return false
}

// 4. Crash-only: whatever goes wrong at whichever command that a run sends to the
// node, also when the power goes or two things go wrong, the next run arrives at the
// same end.
func TestPromise4CrashOnly(t *testing.T) {
	var total tally
	t.Run("cut", func(t *testing.T) {
		for _, release := range releases {
			for _, s := range stages(t) {
				t.Run(release+" "+s.name, func(t *testing.T) {
					t.Parallel()
					s.cutEverywhere(t, release, &total)
				})
			}
		}
	})
	total.log(t)
}

func (s stage) cutEverywhere(t *testing.T, release string, total *tally) {
	begin := s.prepare(t, release)
	want, commands := s.uncut(t, release, begin)
	every := newSampler()
	t.Run("points", func(t *testing.T) {
		for _, c := range commands {
			for _, b := range blows {
				for _, w := range whens {
					if !applies(c, b, w.When) {
						total.add("the same as another", 1)
						continue
					}
					if !every.take(b.name + w.name) {
						continue
					}
					total.add(release+" "+s.name+": "+b.name, 1)
					t.Run(fmt.Sprintf("%s %s %s", b.name, w.name, c), func(t *testing.T) {
						t.Parallel()
						s.cutAt(t, release, begin, want, c, b, w.When)
					})
				}
			}
		}
	})
	t.Run("power cuts", func(t *testing.T) { s.powerCuts(t, release, begin, want, commands, total) })
	t.Run("double faults", func(t *testing.T) { s.doubles(t, release, begin, want, commands, total) })
}

// applies leaves out what cannot differ from another point.
func applies(c command, b blow, when lab.When) bool {
	if when == lab.During {
		return long(c.program())
	}
	// What changes nothing leaves the node after it as it was before.
	return !c.readOnly || when == lab.Before
}

// prepare returns the directory of a lab in which the stage can begin; "" for a
// fresh one.
func (s stage) prepare(t *testing.T, release string) string {
	if s.begin == "" {
		return ""
	}
	dir := labtest.TempDir(t)
	r := openRig(t, lab.Options{Dir: dir, PVE: release}, engine.Choices{})
	if err := (stage{recipe: s.begin}).do(r, newTG(t.Context(), r.host)); err != nil {
		t.Fatal(err)
	}
	for _, name := range markers {
		r.put(filepath.Join(r.lab.Root(), name), "mine\n")
	}
	r.close()
	if err := os.Remove(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// markers are files that the user put into the datasets.
var markers = []string{"/tank/immich/db/marker", "/tank/photos/marker"}

// open returns a rig in which the stage can begin.
func (s stage) open(t *testing.T, release, begin string) *rig {
	dir := filepath.Join(labtest.TempDir(t), "lab")
	if begin != "" {
		if err := os.CopyFS(dir, os.DirFS(begin)); err != nil {
			t.Fatal(err)
		}
	}
	return openRig(t, lab.Options{Dir: dir, PVE: release}, engine.Choices{})
}

// uncut runs the stage to its end, twice, and returns what the node is like then,
// and which commands it took.
func (s stage) uncut(t *testing.T, release, begin string) (map[string]string, []command) {
	var logs [][]lab.Entry
	var ends []map[string]string
	for range 2 {
		r := s.open(t, release, begin)
		if err := s.do(r, newTG(t.Context(), r.host)); err != nil {
			t.Fatal(err)
		}
		r.host.Close()
		logs = append(logs, r.lab.Log())
		ends = append(ends, r.end())
		r.close()
	}
	if diff := cmp.Diff(ends[0], ends[1]); diff != "" {
		t.Fatalf("two runs without a fault end differently:\n%s", diff)
	}
	commands, uncertain := common(logs...)
	t.Logf("%d commands; %d that not every run has", len(commands), uncertain)
	return ends[0], commands
}

// cutAt has one run hit by a fault, and looks where the next one arrives. Two runs
// without a fault had the command; one that comes without it, as a probe answers at
// once that needed a second try before, is no point, and another run is hit.
func (s stage) cutAt(t *testing.T, release, begin string, want map[string]string, c command, b blow, when lab.When) {
	var r *rig
	var first error
	for try := 1; ; try++ {
		r = s.open(t, release, begin)
		m := newTG(t.Context(), r.host)
		r.lab.Fault(hit{c, b, when}.on(m))
		first = s.do(r, m)
		m.kill()
		if r.lab.Pending() == 0 {
			break
		}
		if try == 3 || first != nil {
			t.Fatalf("the fault did not fire in %d runs; the last ended with %v", try, first)
		}
		r.close()
	}
	if b.kill && first == nil {
		t.Error("the run did not notice that it was killed")
	}
	r.next()
	s.arrive(t, r, want, first)
}

// on is the fault that hits the run of m.
func (h hit) on(m *tg) lab.Fault {
	f := h.command.fault(h.when, h.do)
	match := f.Match
	f.Match = func(argv []string) bool { return m.life.Err() == nil && match(argv) }
	f.Then = func(argv []string) {
		switch {
		case h.kill:
			m.kill()
		case h.do == lab.Hang:
			go m.giveUp(argv)
		}
	}
	return f
}

// A sampler takes points: all of them where the environment says EXHAUSTIVE=1 (make
// exhaust), otherwise of each sort the first and then one in some. It always takes
// the same.
type sampler struct {
	one  int
	seen map[string]int
}

func newSampler() *sampler {
	one := 30
	switch {
	case os.Getenv("EXHAUSTIVE") == "1":
		one = 1
	case labtest.Raced:
		one = 400
	}
	return &sampler{one: one, seen: map[string]int{}}
}

func (s *sampler) take(sort string) bool {
	s.seen[sort]++
	return (s.seen[sort]-1)%s.one == 0
}

// A tally counts points by what they are.
type tally struct {
	mu sync.Mutex
	by map[string]int
}

func (c *tally) add(what string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[string]int{}
	}
	c.by[what] += n
}

func (c *tally) log(t *testing.T) {
	var lines []string
	all := 0
	for what, n := range c.by {
		lines = append(lines, fmt.Sprintf("%6d %s", n, what))
		if what != "the same as another" {
			all += n
		}
	}
	sort.Strings(lines)
	t.Logf("points:\n%s\n%6d in all", strings.Join(lines, "\n"), all)
}

func cutOnce(s, sep string) (before, after string, ok bool) {
	if strings.Count(s, sep) != 1 {
		return "", "", false
	}
	return strings.Cut(s, sep)
}
