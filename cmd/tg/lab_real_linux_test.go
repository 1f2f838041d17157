package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/lab/labtest"
	"github.com/tengil/tengil/engine/lab/lxc"
)

// needLXC skips the test where containers cannot run for real. Where CI is set
// that is a failure: make setup has installed what is needed.
func needLXC(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs containers for real; not in short runs")
	}
	missing := ""
	for _, f := range lxc.Check() {
		if f.Problem != "" && (f.Needed || f.What != "sshd") {
			missing += "\n\t" + f.Problem + "; to mend it: " + f.Fix
		}
	}
	if _, err := exec.LookPath("busybox"); err != nil {
		missing += "\n\tbusybox, which the containers run, is not installed; to mend it: make setup"
	}
	switch {
	case missing != "" && os.Getenv("CI") != "":
		t.Fatal("real containers are not tested:" + missing)
	case missing != "":
		t.Skip("real containers are not tested:" + missing)
	}
}

// needReal skips what takes minutes of its own, unless make real runs the tests.
func needReal(t testing.TB) {
	t.Helper()
	needLXC(t)
	if os.Getenv("REAL") != "1" && os.Getenv("EXHAUSTIVE") != "1" {
		t.Skip("make real")
	}
}

// A realLab is a directory in which a lab with real containers is started and
// ended.
type realLab struct {
	testing.TB
	dir   string
	links []string // of the machine, before
}

// newRealLab returns a lab that does not run yet, and of which nothing may be left
// when the test ends.
func newRealLab(t testing.TB) *realLab {
	t.Helper()
	// Not where other tests have their files: device nodes do not work in /dev/shm.
	dir, err := os.MkdirTemp("/var/tmp", "tg-real-")
	if err != nil {
		t.Fatal(err)
	}
	l := &realLab{TB: t, dir: filepath.Join(dir, "lab"), links: links(t)}
	t.Cleanup(func() {
		l.tg("lab", "stop")
		l.nothingIsLeft()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return l
}

// tg runs tg, which must succeed.
func (l *realLab) tg(args ...string) {
	l.Helper()
	cmd := exec.Command("tg", args...)
	cmd.Env = append(os.Environ(), "TG_LAB_DIR="+l.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		said, _ := os.ReadFile(filepath.Join(l.dir, "serve.log"))
		l.Fatalf("tg %s: %v\n%s%s", strings.Join(args, " "), err, out, said)
	}
}

// start starts the lab, with the images of the transcripts.
func (l *realLab) start() {
	l.Helper()
	l.tg("lab", "start", "--real")
	labtest.PlaceImages(l, filepath.Join(l.dir, "root"))
}

func (l *realLab) shell(ctx context.Context, command, stdin string) (exit int, stdout, stderr string, err error) {
	at, running := lab.Find(l.dir)
	if !running {
		return 0, "", "", fmt.Errorf("the lab does not answer")
	}
	var out, errs bytes.Buffer
	exit, err = lab.Shell(ctx, at, command, strings.NewReader(stdin), &out, &errs)
	return exit, out.String(), errs.String(), err
}

// must runs a command on the lab that has to succeed and returns what it printed.
func (l *realLab) must(command string) string {
	l.Helper()
	exit, out, errs, err := l.shell(l.Context(), command, "")
	if exit != 0 || err != nil {
		l.Fatalf("%s: exit status %d, %v\n%s%s", command, exit, err, out, errs)
	}
	return out
}

// create makes a container.
func (l *realLab) create(id int, options string) {
	l.Helper()
	l.must(fmt.Sprintf("pct create %d local:vztmpl/app.tar --rootfs local-zfs:1 --hostname ct%d --ostype unmanaged --arch amd64 %s", id, id, options))
}

// processes returns the processes of the lab: those that it has started, and all
// in its cgroups.
func (l *realLab) processes() map[int]string {
	l.Helper()
	all := map[int]string{}
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		l.Fatal(err)
	}
	for _, proc := range procs {
		pid, _ := strconv.Atoi(filepath.Base(proc))
		environ, _ := os.ReadFile(proc + "/environ") // it may have ended
		cmdline, _ := os.ReadFile(proc + "/cmdline")
		groups, _ := os.ReadFile(proc + "/cgroup")
		if strings.Contains(string(environ), "TG_LAB_DIR="+l.dir+"\x00") || strings.Contains(string(cmdline), l.dir) ||
			strings.Contains(string(groups), labCgroups(l.dir)) {
			all[pid] = strings.TrimSpace(strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return all
}

// pidOf returns the process of the lab whose command line contains a text.
func (l *realLab) pidOf(text string) int {
	l.Helper()
	for pid, line := range l.processes() {
		if strings.Contains(line, text) {
			return pid
		}
	}
	l.Fatalf("no process of the lab has %q: %v", text, l.processes())
	return 0
}

// over waits until no process of the lab is left.
func (l *realLab) over() {
	l.Helper()
	if err := waitFor(l.Context(), 20*time.Second, func() bool { return len(l.processes()) == 0 }); err != nil {
		l.Fatalf("processes of the lab are left: %v", l.processes())
	}
}

// nothingIsLeft checks that the machine is as it was before the lab.
func (l *realLab) nothingIsLeft() {
	l.Helper()
	if left := l.processes(); len(left) > 0 {
		l.Errorf("processes are left: %v", left)
	}
	if left, err := lxc.Cgroups(labCgroups(l.dir)); err != nil || len(left) > 0 {
		l.Errorf("cgroups are left: %v, %v", left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), l.dir) {
		l.Errorf("mounts are left: %v\n%s", err, mounts)
	}
	for _, link := range links(l.TB) {
		if !slices.Contains(l.links, link) && (strings.HasPrefix(link, "veth") || link == lxc.Bridge) {
			l.Errorf("interface %s is left", link)
		}
	}
}

// links are the network interfaces of the machine.
func links(t testing.TB) []string {
	t.Helper()
	list, err := os.ReadDir("/sys/class/net")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// TestRealContainersConform holds containers that run for real to the transcripts
// to which the model is held.
func TestRealContainersConform(t *testing.T) {
	needLXC(t)
	labtest.Conform(t, "../../engine/lab/testdata/conformance", true, func(t *testing.T) labtest.Shell {
		l := newRealLab(t)
		l.start()
		return l.shell
	})
}

// TestARealLabLeavesNothing ends a lab in every way: what ran in it ends with it,
// and the next start finds a node after a power failure.
func TestARealLabLeavesNothing(t *testing.T) {
	needLXC(t)
	l := newRealLab(t)
	l.start()
	l.create(101, "--onboot 1 --net0 name=eth0,bridge=vmbr0,ip=10.10.10.21/24 --mp0 'local-zfs:1,mp=/mapped,idmap=u:1000:1000:1'")
	l.create(102, "--net0 name=eth0,bridge=vmbr0,ip=10.10.10.22/24")
	l.tg("lab", "stop")
	kill := func(texts ...string) func() {
		return func() {
			l.Helper()
			var pids []int
			for _, text := range texts {
				pids = append(pids, l.pidOf(text))
			}
			for _, pid := range pids {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
					l.Fatal(err)
				}
			}
		}
	}
	const initial, monitor, other = " lab init ", "[lxc monitor] ", "dnsmasq"
	outer := func() { _ = syscall.Kill(l.outer(), syscall.SIGKILL) } // it runs: who it is was just read
	inner := func() { _ = syscall.Kill(l.inner(), syscall.SIGKILL) }
	for _, c := range []struct {
		name string
		ends []func()
	}{
		{"it is asked to", []func(){func() { l.tg("lab", "stop"); l.nothingIsLeft() }}},
		{"the outer process is killed", []func(){outer}},
		{"PID 1 is killed", []func(){kill(initial)}},
		{"the lab itself is killed", []func(){inner}},
		{"a monitor is killed, then the outer process", []func(){kill(monitor), outer}},
		{"a monitor is killed, then the lab itself", []func(){kill(monitor), inner}},
		{"all is killed, from the inside out", []func(){kill(monitor, other), inner}},
		{"all is killed, from the outside in", []func(){kill(initial, monitor)}},
	} {
		l.start()
		if got := l.must("pct status 101 && pct status 102"); got != "status: running\nstatus: stopped\n" {
			t.Fatalf("before %s: 101 and 102 are\n%s\nwant running and stopped", c.name, got)
		}
		l.must("pct start 102 && pct exec 102 -- true && pct exec 101 -- touch /mapped/file")
		for _, end := range c.ends {
			end()
		}
		l.over()
		if _, running := lab.Find(l.dir); running {
			t.Errorf("after %s the lab still answers", c.name)
		}
		l.tg("lab", "stop")
		l.nothingIsLeft()
	}
}

// outer is the process that encloses the lab.
func (l *realLab) outer() int {
	l.Helper()
	at, running := lab.Find(l.dir)
	if !running {
		l.Fatal("the lab does not run")
	}
	return at.PID
}

// inner is the process of the lab itself, whose command line is that of the outer
// one.
func (l *realLab) inner() int {
	l.Helper()
	for pid, line := range l.processes() {
		if pid != l.outer() && strings.Contains(line, " lab serve ") && !strings.Contains(line, " lab init ") {
			return pid
		}
	}
	l.Fatalf("the lab itself is not among %v", l.processes())
	return 0
}

// TestAKilledMonitorEndsItsContainer: the container is stopped then, and starts
// again.
func TestAKilledMonitorEndsItsContainer(t *testing.T) {
	needLXC(t)
	l := newRealLab(t)
	l.start()
	l.create(101, "")
	l.must("pct start 101")
	if err := syscall.Kill(l.pidOf("[lxc monitor] "), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var status string
	err := waitFor(t.Context(), 20*time.Second, func() bool {
		status = l.must("pct status 101")
		return status == "status: stopped\n"
	})
	if err != nil {
		t.Fatalf("it is %q, want stopped", status)
	}
	l.must("pct start 101 && pct exec 101 -- true")
}

// TestRealFilesKeepWhatTheImageSays looks at what no command of the node shows:
// extended attributes, and the memory that a container may use.
func TestRealFilesKeepWhatTheImageSays(t *testing.T) {
	needLXC(t)
	l := newRealLab(t)
	l.start()
	l.create(101, "--memory 128")
	root := filepath.Join(l.dir, "root/rpool/data/subvol-101-disk-0")
	value := make([]byte, 64)
	n, err := unix.Lgetxattr(filepath.Join(root, "srv/noted"), "user.note", value)
	if err != nil || string(value[:n]) != "kept" {
		t.Errorf("user.note = %q, %v; want kept", value[:max(n, 0)], err)
	}
	n, err = unix.Lgetxattr(filepath.Join(root, "srv/capable"), "security.capability", value)
	if want := "\x01\x00\x00\x03\x00\x04\x00\x00" + strings.Repeat("\x00", 12) + "\xa0\x86\x01\x00"; err != nil || string(value[:n]) != want {
		t.Errorf("security.capability = %q, %v; want %q, for the container's root alone", value[:max(n, 0)], err, want)
	}
	l.must("pct start 101")
	for _, mib := range []int{128, 64, 256} {
		l.must(fmt.Sprintf("pct set 101 --memory %d", mib))
		if got := l.memory(101); got != mib<<20 {
			t.Errorf("with --memory %d it may use %d bytes", mib, got)
		}
	}
}

// TestASnapshotIsOfOneMoment: a container that writes two files one after the other
// has them in step in every snapshot, and goes on.
func TestASnapshotIsOfOneMoment(t *testing.T) {
	needLXC(t)
	l := newRealLab(t)
	l.start()
	l.create(101, "")
	l.must("pct start 101")
	root := filepath.Join(l.dir, "root/rpool/data/subvol-101-disk-0")
	if err := os.WriteFile(filepath.Join(root, "between"), make([]byte, 64<<20), 0o644); err != nil { // what takes time to copy
		t.Fatal(err)
	}
	go func() { // ends with the container
		_, _, _, _ = l.shell(context.Background(), `pct exec 101 -- sh -c 'i=0; while :; do i=$((i+1)); echo $i >>/first; echo $i >>/srv/second; done'`, "")
	}()
	last := func(dir, name string) int {
		data, _ := os.ReadFile(filepath.Join(dir, name)) // it is not there at first
		lines := strings.Fields(string(data))
		if len(lines) == 0 {
			return 0
		}
		n, _ := strconv.Atoi(lines[len(lines)-1]) // it is a number
		return n
	}
	for i := range 3 {
		before := last(root, "srv/second")
		if err := waitFor(t.Context(), 20*time.Second, func() bool { return last(root, "srv/second") > before }); err != nil {
			t.Fatalf("after %d snapshots it does not go on: %v", i, err)
		}
		name := fmt.Sprintf("s%d", i)
		l.must("pct snapshot 101 " + name)
		at := filepath.Join(l.dir, "zfs", "rpool%2Fdata%2Fsubvol-101-disk-0@"+name)
		first, second := last(at, "first"), last(at, "srv/second")
		if first != second && first != second+1 {
			t.Errorf("snapshot %d has %d in the first file and %d in the second", i, first, second)
		}
	}
	l.must("pct stop 101")
}

// memory is how many bytes a container may use.
func (l *realLab) memory(id int) int {
	l.Helper()
	roots, err := lxc.Cgroups(labCgroups(l.dir))
	if err != nil {
		l.Fatal(err)
	}
	for _, root := range roots {
		for _, name := range []string{"memory.max", "memory.limit_in_bytes"} {
			if data, err := os.ReadFile(filepath.Join(root, "ct", strconv.Itoa(id), name)); err == nil {
				n, _ := strconv.Atoi(strings.TrimSpace(string(data))) // "max" is no number
				return n
			}
		}
	}
	l.Fatalf("CT %d has no cgroup of memory in %v", id, roots)
	return 0
}
