package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine/lab"
)

// How many moments there are, and how many of them are looked at in a normal run,
// each by one of the cuts in turn.
const (
	cutMoments = 100
	cutSample  = 12
)

// cutLabs is how many labs share the moments.
const cutLabs = 2

// The cuts. Each is made while tg runs.
var realCuts = []struct {
	name string
	cut  func(t *testing.T, c *cutRig, tg *exec.Cmd, ended chan error)
}{
	{"tg is killed", func(_ *testing.T, _ *cutRig, tg *exec.Cmd, _ chan error) {
		_ = tg.Process.Kill() // it may have ended
	}},
	{"the sshd of the connection is killed", func(_ *testing.T, c *cutRig, _ *exec.Cmd, _ chan error) { c.killSSHD() }},
	{"every sshd is killed, and none answers for a moment", func(t *testing.T, c *cutRig, _ *exec.Cmd, ended chan error) {
		c.relay.refuse()
		c.killSSHD()
		c.realRig.await(t, "tg to try again, or to end", func() bool { return c.relay.wasRefused() >= 2 || len(ended) > 0 })
		c.relay.accept()
	}},
}

// TestRealCuts cuts deployments whose containers run for real, over OpenSSH: at
// moments that are spread over them evenly, in each way. The next run converges,
// and what was written is there.
func TestRealCuts(t *testing.T) {
	needReal(t)
	t.Parallel()
	var mu sync.Mutex
	hits := map[string]int{}
	t.Run("labs", func(t *testing.T) {
		for n := range cutLabs {
			t.Run(strconv.Itoa(n), func(t *testing.T) {
				t.Parallel()
				c := newCutRig(t)
				for i := n; i < cutMoments*len(realCuts); i += cutLabs {
					at, kind := i/len(realCuts), i%len(realCuts)
					if !cutTaken(at, kind) {
						continue
					}
					hit := c.point(t, at, kind)
					if t.Failed() {
						t.Fatalf("that was moment %d of %d, %s", at, cutMoments, realCuts[kind].name)
					}
					mu.Lock()
					if hit {
						hits[realCuts[kind].name]++
					} else {
						hits["too late, tg was done"]++
					}
					mu.Unlock()
				}
			})
		}
	})
	for what, n := range hits {
		t.Logf("%4d %s", n, what)
	}
	for _, k := range realCuts {
		if !t.Failed() && !t.Skipped() && hits[k.name] == 0 {
			t.Errorf("never in the middle of a run: %s", k.name)
		}
	}
}

// cutTaken reports whether a moment is looked at.
func cutTaken(at, kind int) bool {
	if os.Getenv("EXHAUSTIVE") == "1" {
		return true
	}
	one := at * cutSample / cutMoments // which of the sample it belongs to
	return at == (one*cutMoments+cutMoments/2)/cutSample && kind == one%len(realCuts)
}

// A cutRig is an application of two containers that is deployed time and again.
type cutRig struct {
	*realRig
	relay  *relay
	inner  int // process of the lab
	recipe string
	number int // of release
	traces [2]trace
	value  string
	rest   rest
}

// A trace is how long into a run each command of the node was logged.
type trace []time.Duration

func newCutRig(t *testing.T) *cutRig {
	c := &cutRig{realRig: newRealRig(t), number: 1}
	c.push(t, nextRelease(t, c.images["redis"]), "redis:2")
	text, err := os.ReadFile("testdata/real/small.star")
	if err != nil {
		t.Fatal(err)
	}
	c.recipe = filepath.Join(c.home, "small.star")
	if err := os.WriteFile(c.recipe, text, 0o644); err != nil {
		t.Fatal(err)
	}
	at, _ := lab.Find(c.dir)
	c.relay = newRelay(t, at.Addr)
	c.over(t, "node", c.relay.addr, "  IdentityFile "+at.ClientKey)
	c.inner = c.realLab.inner()
	c.run(t, c.recipe, "release=1")
	c.value = "what is written stays"
	c.in(t, "small/store", "redis-cli", "set", "row", c.value)
	c.in(t, "small/store", "redis-cli", "save")
	for fresh := range c.traces {
		c.before(t, fresh)
		from := len(c.entries(t))
		began := time.Now().UTC()
		c.run(t, c.recipe, c.release())
		for _, e := range c.entries(t)[from:] {
			c.traces[fresh] = append(c.traces[fresh], e.Time.Sub(began))
		}
	}
	c.settledRun(t)
	c.rest = c.left(t)
	return c
}

func (c *cutRig) release() string { return fmt.Sprintf("release=%d", c.number) }

// before makes something to do: both containers are replaced by those of the other
// release or, with fresh, made anew for the data that is there. The image is not
// on the node.
func (c *cutRig) before(t *testing.T, fresh int) {
	t.Helper()
	if fresh == 1 {
		c.tg(t, "destroy", "small", "--yes")
	} else {
		c.number = 3 - c.number
	}
	old, err := filepath.Glob(filepath.Join(c.dir, "root/var/lib/vz/template/cache/*stack_redis*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// entries is what ran on the node so far.
func (c *cutRig) entries(t *testing.T) (all []lab.Entry) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var e lab.Entry
		if json.Unmarshal(line, &e) == nil { // the last one may be half
			all = append(all, e)
		}
	}
	return all
}

// commands is len of entries.
func (c *cutRig) commands(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(data, []byte("\n"))
}

// point cuts one run at one moment, and looks at what the next one makes of it. It
// reports whether tg was in the middle then.
func (c *cutRig) point(t *testing.T, at, kind int) (hit bool) {
	t.Helper()
	fresh := at % len(c.traces)
	c.before(t, fresh)
	from := c.commands(t)
	cmd := exec.Command("tg", "run", c.recipe, "--yes", "registry="+c.registry, c.release())
	cmd.Env, cmd.Dir = c.env(), c.home
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if hit = c.reach(t, c.traces[fresh].moment(at), from, ended); hit {
		realCuts[kind].cut(t, c, cmd, ended)
		select {
		case <-ended: // well or not
		case <-time.After(3 * time.Minute):
			_ = cmd.Process.Kill()
			t.Errorf("tg goes on without end:\n%s", <-ended)
		}
	}
	for _, wrong := range []string{"panic:", "what was pulled is not the image"} { // nobody has changed it
		if strings.Contains(said.String(), wrong) {
			t.Errorf("tg says %q:\n%s", wrong, said.String())
		}
	}
	again := []string{"run", c.recipe, "--yes", "registry=" + c.registry, c.release()}
	out, errs, status := c.try(t, again...)
	if status != 0 && hit && strings.Contains(errs, "changed after the plan was shown; nothing was done") {
		out, errs, status = c.try(t, again...) // a command that the cut one has begun ended in between
	}
	if status != 0 {
		t.Errorf("the next run ends with %d:\n%s%s\nthe one that was cut said\n%s", status, out, errs, said.Bytes())
		return hit
	}
	c.settledRun(t)
	if diff := cmp.Diff(c.rest, c.leftOnce(t)); diff != "" {
		t.Errorf("what is there after a run without a cut, and after this one:\n%s\nthe one that was cut said\n%s", diff, said.Bytes())
	}
	return hit
}

// A moment is so long after so many commands.
type moment struct {
	commands int
	later    time.Duration
}

func (tr trace) moment(at int) moment {
	when := tr[len(tr)-1] * time.Duration(2*at+1) / (2 * cutMoments)
	n, _ := slices.BinarySearch(tr, when)
	if n == 0 {
		return moment{0, when}
	}
	return moment{n, when - tr[n-1]}
}

// reach waits for a moment of a run. It is over also if the next command has come
// meanwhile; false if the run has ended.
func (c *cutRig) reach(t *testing.T, m moment, from int, ended chan error) bool {
	t.Helper()
	var late <-chan time.Time
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if n := c.commands(t) - from; n > m.commands {
			return true
		} else if n == m.commands && late == nil {
			late = time.After(m.later)
		}
		select {
		case err := <-ended:
			ended <- err
			return false
		case <-late:
			return true
		case <-tick.C:
		}
	}
}

// killSSHD kills the servers of OpenSSH that serve the lab.
func (c *cutRig) killSSHD() {
	for _, pid := range descend(c.inner) {
		if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); bytes.HasPrefix(name, []byte("sshd")) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
	}
}

// descend returns the processes that one has started, with those that they have.
func descend(pid int) (all []int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		list, _ := os.ReadFile(file) // the thread may have ended
		for _, f := range strings.Fields(string(list)) {
			child, _ := strconv.Atoi(f) // it is a number
			all = append(append(all, child), descend(child)...)
		}
	}
	return all
}

// settledRun sees that the application answers, that what was written is there,
// and that there is nothing to do.
func (c *cutRig) settledRun(t *testing.T) {
	t.Helper()
	if got, want := c.redis(t, "GET row"), c.value; got != want {
		t.Errorf("the row is %q, want %q", got, want)
	}
	if file, err := os.ReadFile(filepath.Join(c.dir, "root/tank/small/store/dump.rdb")); err != nil || !bytes.Contains(file, []byte(c.value)) {
		t.Errorf("the file does not hold the row: %v", err)
	}
	out := c.tg(t, "run", c.recipe, "--yes", "registry="+c.registry, c.release())
	if want := "nothing to do"; !strings.Contains(out, want) {
		t.Errorf("a run after it says\n%s\nwant %q", out, want)
	}
}

// redis sends a command to the application and returns the value that it answers.
func (c *cutRig) redis(t *testing.T, command string) string {
	t.Helper()
	conn, err := c.dial(t.Context(), "tcp", net.JoinHostPort(c.show(t, "small").Outputs["address"], "6379"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	size, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	value, err := in.ReadString('\n')
	if err != nil {
		t.Fatalf("it answers %q, then %v", size, err)
	}
	return strings.TrimSpace(value)
}

// A rest is what a run leaves on the machine and the node, by what it is.
type rest struct {
	Containers, Processes, Mounts, Files []string
}

var number = regexp.MustCompile(`[0-9a-f]*\d[0-9a-f]*`) // also a digest

// like returns texts without their numbers, in order.
func like(texts []string) []string {
	var out []string
	for _, s := range texts {
		out = append(out, number.ReplaceAllString(strings.TrimSpace(s), "N"))
	}
	slices.Sort(out)
	return out
}

// left is what there is now.
func (c *cutRig) left(t *testing.T) (r rest) {
	t.Helper()
	r.Containers = like(strings.Split(c.must("pct list"), "\n"))
	var lines []string
	for _, line := range c.realLab.processes() {
		lines = append(lines, line)
	}
	r.Processes = like(lines)
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", c.inner))
	if err != nil {
		t.Fatal(err)
	}
	r.Mounts = like(strings.Split(string(mounts), "\n"))
	// Not /tmp: the lab's shell has no traps, with which a script removes what it had
	// there when it is cut; engine/sshhost is held to that with a real shell.
	for _, dir := range []string{"var/tmp", "run", "var/lib/vz/template/cache", "var/lib/tengil", "rpool/data", "etc/pve/lxc", "tank/small"} {
		files, err := filepath.Glob(filepath.Join(c.dir, "root", dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		deeper, _ := filepath.Glob(filepath.Join(c.dir, "root", dir, "*", "*")) // it is a pattern
		if dir != "rpool/data" {
			files = append(files, deeper...)
		}
		r.Files = append(r.Files, like(files)...)
	}
	return r
}

// leftOnce is left, once what ends by itself has ended.
func (c *cutRig) leftOnce(t *testing.T) (r rest) {
	t.Helper()
	_ = waitFor(t.Context(), 20*time.Second, func() bool { // what is still there then is told
		r = c.left(t)
		return cmp.Equal(c.rest, r)
	})
	return r
}
