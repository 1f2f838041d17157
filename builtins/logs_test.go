package builtins_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/pve"
)

// logsOf is the directory of a container's logs, on this machine.
func (b *bench) logsOf(name string) string {
	return filepath.Join(b.lab.Root(), "var/lib/tengil/app/logs", name)
}

// A container that an older tg made gets its log, without going down for it.
func TestAnOlderContainerGetsItsLogWithoutARestart(t *testing.T) {
	t.Parallel()
	for _, left := range []string{"nothing", "the line of the config", "the file that the line leads to"} {
		t.Run("of which there is "+left, func(t *testing.T) {
			b := openBench(t)
			b.mustRun(pair)
			confs, err := filepath.Glob(filepath.Join(b.lab.Root(), "etc/pve/nodes/*/lxc/*.conf"))
			if err != nil || len(confs) != 2 {
				t.Fatalf("got %q, %v; wanted two configs", confs, err)
			}
			if left != "the line of the config" {
				for _, name := range confs {
					data, err := os.ReadFile(name)
					if err != nil {
						t.Fatal(err)
					}
					lines := slices.DeleteFunc(strings.SplitAfter(string(data), "\n"), func(l string) bool { return strings.HasPrefix(l, "lxc.include: ") })
					if err := os.WriteFile(name, []byte(strings.Join(lines, "")), 0o640); err != nil {
						t.Fatal(err)
					}
				}
			}
			if left != "the file that the line leads to" {
				if err := os.RemoveAll(filepath.Dir(b.logsOf("web"))); err != nil {
					t.Fatal(err)
				}
			}
			p := b.plan(pair)
			var changes []string
			for _, n := range p.Nodes {
				for _, c := range n.Diff.Changes {
					changes = append(changes, fmt.Sprint(n.Step.ID, " ", c.Action, " ", c.Field, " ", c.From, "->", c.To, " ", c.Restarts))
				}
			}
			slices.Sort(changes)
			want := []string{"pct_create/db update log ->16M at most false", "pct_create/web update log ->16M at most false"}
			if diff := cmp.Diff(want, changes); diff != "" {
				t.Fatalf("changes (-want +got):\n%s", diff)
			}
			if err := b.run(p); err != nil {
				t.Fatal(err)
			}
			if p := b.plan(pair); !p.Empty() {
				t.Errorf("there is still to do:\n%s", plan.Text(p))
			}
		})
	}
}

// A failure carries what the application printed since its start, without secrets.
func TestAFailureShowsTheEndOfTheLog(t *testing.T) {
	t.Parallel()
	b := openBench(t)
	app := func(says string) string {
		return `password = secret("password")
pct_create("web", image = oci_pull("docker.io/library/alpine:3.22"), memory = "64M", disk = "1G", env = {"PASSWORD": password},
    entrypoint = ["sh", "-c", "echo ` + says + ` $PASSWORD; exec sleep 1000"], ready = exec_ready(["false"]), ready_timeout = "1s")`
	}
	if err := b.run(b.plan(app("first"))); err == nil {
		t.Fatal("got no error")
	}
	err := b.run(b.plan(app("then")))
	if err == nil {
		t.Fatal("got no error")
	}
	data, readErr := os.ReadFile(filepath.Join(b.logsOf("web"), "console.log"))
	if readErr != nil {
		t.Fatal(readErr)
	}
	_, printed, _ := strings.Cut(string(data), "then ")
	password, _, _ := strings.Cut(printed, "\r")
	if len(password) < 16 || strings.Contains(err.Error(), password) {
		t.Errorf("the application printed %q, and the error is:\n%v", password, err)
	}
	if got := err.Error(); !strings.Contains(got, "the end of its log:\n    then "+engine.Masked) || strings.Contains(got, "first") {
		t.Errorf("wanted what was printed since the start, got:\n%s", got)
	}
}

// What LXC moves aside while it is read is neither lost nor read twice; what it moves
// aside twice is lost, and that is told.
func TestALogIsReadWhileItIsMovedAside(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("its files have no inode that stat could tell")
	}
	b := openBench(t)
	dir := filepath.Join(b.lab.Root(), "var/log/some")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "console.log")
	add := func(text string) {
		t.Helper()
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err == nil {
			_, err = f.WriteString(text)
			f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	aside := func() {
		t.Helper()
		// The file that goes keeps its inode until the new one has another.
		if err := os.Rename(file, file+".1"); err != nil {
			t.Fatal(err)
		}
	}
	reader := &pct.LogReader{}
	reader.Add("web", pct.Log{File: "/var/log/some/console.log", Own: true})
	check := func(texts []pct.LogText, err error) func(lost bool, want ...string) {
		return func(lost bool, want ...string) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			was := false
			for _, text := range texts {
				got, was = append(got, text.Lines...), text.Lost
			}
			if diff := cmp.Diff(want, got); diff != "" || was != lost {
				t.Errorf("lost %v (-want +got):\n%s", was, diff)
			}
		}
	}
	ctx := t.Context()
	long := strings.Repeat("x", 3000)
	add("1\r\n2\r\n" + long + "\r\n")
	aside()
	add("4\r\n5\r\nbeg")
	check(reader.First(ctx, b.host, 4))(false, "2", long, "4", "5")
	check(reader.Next(ctx, b.host))(false)
	add("un\r\n6\r\n")
	check(reader.Next(ctx, b.host))(false, "begun", "6")
	add("7\r\n")
	aside()
	add("8\r\n")
	check(reader.Next(ctx, b.host))(false, "7", "8")
	hold, err := os.Open(file) // so that its inode is not given again
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	aside()
	add("9\r\n")
	aside()
	add("10\r\n")
	check(reader.Next(ctx, b.host))(true, "9", "10")
	all := &pct.LogReader{}
	all.Add("web", pct.Log{File: "/var/log/some/console.log", Own: true})
	all.Add("none", pct.Log{File: "/var/log/some/none.log", Own: true})
	texts, err := all.First(ctx, b.host, -1)
	check(texts, err)(false, "9", "10")
	if len(texts) != 2 || !texts[1].Missing {
		t.Errorf("got %+v, wanted that the second log is missing", texts)
	}
}

// LXC itself keeps the log within its bound, whatever is printed, and starts a
// container whose directory for it is gone.
func TestRealLXCBoundsTheLog(t *testing.T) {
	lxc, err := exec.LookPath("lxc-start")
	busybox, err2 := exec.LookPath("busybox")
	if err != nil || err2 != nil || os.Geteuid() != 0 {
		t.Skip("needs root, LXC and busybox")
	}
	if testing.Short() {
		t.Skip("a terminal takes its time for so much")
	}
	dir := t.TempDir()
	logs := filepath.Join(dir, "logs")
	root := filepath.Join(dir, "ct", "rootfs")
	for _, d := range []string{"bin", "proc", "sys", "dev"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	include := pve.ConsoleInclude(logs)
	config := fmt.Sprintf("lxc.rootfs.path = dir:%s\nlxc.uts.name = ct\nlxc.apparmor.profile = unconfined\nlxc.init.cmd = /bin/busybox sh /run\n%s = %s\n", root, include.Key, include.Value)
	for name, data := range map[string]string{
		filepath.Join(root, "bin/busybox"): string(program),
		filepath.Join(root, "run"):         "echo the end\n",
		filepath.Join(dir, "ct", "config"): config,
	} {
		if err := os.WriteFile(name, []byte(data), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	start := func() {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), lxc, "-F", "-P", dir, "-n", "ct").CombinedOutput(); err != nil {
			t.Skipf("LXC runs no container here: %v: %s", err, out)
		}
	}
	start()
	if _, err := os.Stat(logs); err == nil {
		t.Fatal("a log was kept in a directory that is missing")
	}
	name, data := pve.ConsoleConf(logs)
	if err := os.MkdirAll(logs, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	const printed = 20 << 20
	run := fmt.Sprintf("busybox yes 0123456789 | busybox head -c %d\necho the end\n", printed)
	if err := os.WriteFile(filepath.Join(root, "run"), []byte(run), 0o755); err != nil {
		t.Fatal(err)
	}
	start()
	total := int64(0)
	for _, part := range []string{pve.ConsoleLog(logs), pve.ConsoleLog(logs) + ".1"} {
		fi, err := os.Stat(part)
		if err != nil {
			t.Fatal(err)
		}
		if total += fi.Size(); fi.Mode().Perm()&0o007 != 0 {
			t.Errorf("%s has mode %v", part, fi.Mode())
		}
	}
	if total > int64(pve.ConsoleLogMax) || total <= int64(pve.ConsoleLogSize) {
		t.Errorf("of %d bytes the log keeps %d, wanted more than %d, at most %d", printed, total, pve.ConsoleLogSize, pve.ConsoleLogMax)
	}
	end, err := os.ReadFile(pve.ConsoleLog(logs))
	if err != nil || !bytes.HasSuffix(end, []byte("the end\r\n")) {
		t.Errorf("%v: the log does not end as the output does", err)
	}
	t.Logf("%d bytes printed, %d kept", printed, total)
}
