package lab

import (
	"context"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tengil/tengil/engine/lab/labtest"
)

// A clockedNode is a node in a bubble whose clock runs as fast as nobody works.
type clockedNode struct {
	*node
	t *testing.T
}

// clocked runs a test on a fresh node with such a clock, and the small web image.
func clocked(t *testing.T, test func(t *testing.T, n *clockedNode)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, err := newNode(labtest.TempDir(t), Options{})
		if err != nil {
			t.Fatal(err)
		}
		n.cut = func() {}
		placeImage(t, n, "/var/lib/vz/template/cache/web.tar", testImage{spec: webSpec("hello", nil)})
		test(t, &clockedNode{n, t})
		n.life.finish()
		n.background.Wait()
	})
}

// run runs a program to its end.
func (n *clockedNode) run(argv ...string) outcome {
	n.t.Helper()
	return <-n.start(n.t.Context(), argv...)
}

// start runs a program beside others.
func (n *clockedNode) start(ctx context.Context, argv ...string) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		var out, errs strings.Builder
		exit := n.exec(ctx, argv, rootEnv(), rootHome, eofReader{}, &out, &errs)
		done <- outcome{exit, out.String(), errs.String()}
	}()
	return done
}

func (n *clockedNode) create(id int) []string {
	return []string{"pct", "create", fmt.Sprint(id), "local:vztmpl/web.tar", "--rootfs", "local-zfs:1"}
}

func TestAStorageIsLockedWhileItsVolumesChange(t *testing.T) {
	const locked = "can't lock file '/var/lock/pve-manager/pve-storage-local-zfs' - got timeout\n"
	clocked(t, func(t *testing.T, n *clockedNode) {
		if got := n.run(n.create(101)...); got.Exit != 0 {
			t.Fatalf("create: %+v", got)
		}
		release, err := n.lock(t.Context(), "/run/lock/pve-manager/pve-storage-local-zfs", 0)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		want := outcome{255, "trying to acquire lock...\n", "unable to create CT 102 - " + locked}
		if diff := cmp.Diff(want, n.run(n.create(102)...)); diff != "" {
			t.Errorf("create under the lock (-want +got):\n%s", diff)
		}
		if waited := time.Since(began); waited != storageLockWait {
			t.Errorf("waited %v, want %v", waited, storageLockWait)
		}
		if got := n.guestIDs(); len(got) != 1 {
			t.Errorf("containers are %v, want 101 alone", got)
		}
		want = outcome{4, "", "trying to acquire lock...\n" + locked}
		if diff := cmp.Diff(want, n.run("pvesm", "free", "local-zfs:subvol-101-disk-0")); diff != "" {
			t.Errorf("free under the lock (-want +got):\n%s", diff)
		}
		destroyed := n.start(t.Context(), "pct", "destroy", "101")
		synctest.Wait()
		release()
		want = outcome{0, "trying to acquire lock...\n OK\n", ""}
		if diff := cmp.Diff(want, <-destroyed); diff != "" {
			t.Errorf("destroy as the lock is freed (-want +got):\n%s", diff)
		}
		if _, there := n.dataset("rpool/data/subvol-101-disk-0"); there {
			t.Error("the volume is still there")
		}
	})
}

// TestManyCreatesWaitForEachOther starts so many that the last would wait too
// long if the whole create held the storage's lock.
func TestManyCreatesWaitForEachOther(t *testing.T) {
	clocked(t, func(t *testing.T, n *clockedNode) {
		n.faults.add(Fault{Prefix: []string{"pct", "create", "101"}, When: During, Do: Pause, For: time.Minute})
		var all []<-chan outcome
		for id := 101; id < 111; id++ {
			all = append(all, n.start(t.Context(), n.create(id)...))
		}
		for i, done := range all {
			if got := <-done; got.Exit != 0 {
				t.Errorf("create %d: %+v", 101+i, got)
			}
		}
	})
}

// TestATaskAndItsSignals says who survives which signal to a pct create.
func TestATaskAndItsSignals(t *testing.T) {
	for _, test := range []struct {
		name   string
		signal func(n *clockedNode, command, worker *process)
		exit   int
		stays  bool // a locked config and a dataset are left behind
	}{
		{"SIGTERM to the command", func(_ *clockedNode, c, _ *process) { c.signal(syscall.SIGTERM) }, 255, false},
		{"SIGINT to the command", func(_ *clockedNode, c, _ *process) { c.signal(syscall.SIGINT) }, 255, false},
		{"SIGTERM to the worker", func(_ *clockedNode, _, w *process) { w.signal(syscall.SIGTERM) }, 255, false},
		{"SIGKILL to the command", func(_ *clockedNode, c, _ *process) { c.signal(syscall.SIGKILL) }, 137, true},
		{"SIGKILL to the worker", func(_ *clockedNode, _, w *process) { w.signal(syscall.SIGKILL) }, 255, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			clocked(t, func(t *testing.T, n *clockedNode) {
				n.faults.add(Fault{Prefix: []string{"pct", "create"}, When: During, Do: Pause, For: time.Minute})
				pid := 0
				done := n.start(withPID(t.Context(), func(p int) { pid = p }), n.create(101)...)
				synctest.Wait()
				var worker *process
				for _, row := range n.pids.all() {
					if strings.HasPrefix(row.args, "task ") && worker == nil {
						worker = n.pids.find(row.pid)
					}
				}
				test.signal(n, n.pids.find(pid), worker)
				if got := <-done; got.Exit != test.exit {
					t.Errorf("create ended as %+v, want exit %d", got, test.exit)
				}
				time.Sleep(time.Hour)
				conf, err := n.readFile("/etc/pve/lxc/101.conf")
				_, dataset := n.dataset("rpool/data/subvol-101-disk-0")
				if left := err == nil && string(conf) == "lock: create\n"; left != test.stays || dataset != test.stays {
					t.Errorf("config %q (%v), dataset %v; want them left behind: %v", conf, err, dataset, test.stays)
				}
				for _, row := range n.pids.all() {
					t.Errorf("%q still runs", row.args)
				}
			})
		})
	}
}

func TestLocksAreServedInOrder(t *testing.T) {
	clocked(t, func(t *testing.T, n *clockedNode) {
		release, err := n.lock(t.Context(), "/run/x.lock", 0)
		if err != nil {
			t.Fatal(err)
		}
		var order strings.Builder
		var all []<-chan outcome
		for _, name := range []string{"a", "b", "c"} {
			done := make(chan outcome, 1)
			go func() {
				exit := n.exec(t.Context(), []string{"flock", "/run/x.lock", "echo", name}, rootEnv(), rootHome, eofReader{}, &order, io.Discard)
				done <- outcome{Exit: exit}
			}()
			all = append(all, done)
			synctest.Wait()
		}
		release()
		for _, done := range all {
			<-done
		}
		if got := order.String(); got != "a\nb\nc\n" {
			t.Errorf("the lock was had in order %q", got)
		}
		if len(n.locks.files) > 0 {
			t.Errorf("files %v are locked though nobody holds them", n.locks.files)
		}
	})
}

func TestTasksAreListedWithTheirLogs(t *testing.T) {
	clocked(t, func(t *testing.T, n *clockedNode) {
		n.run(n.create(101)...)
		n.run("pct", "create", "102", "local:vztmpl/none.tar", "--rootfs", "local-zfs:1")
		running := n.start(t.Context(), "pct", "create", "103", "local:vztmpl/web.tar", "--rootfs", "local-zfs:1")
		<-running
		list := n.run("pvesh", "get", "/nodes/pve/tasks", "--vmid", "102", "--output-format", "json").Stdout
		if want := `"status":"unable to create CT 102 - volume 'local:vztmpl/none.tar' does not exist","type":"vzcreate"`; !strings.Contains(list, want) {
			t.Errorf("tasks of 102 are %s, want %s", list, want)
		}
		_, upid, _ := strings.Cut(list, `"upid":"`)
		upid, _, _ = strings.Cut(upid, `"`)
		log := n.run("pvesh", "get", "/nodes/pve/tasks/"+upid+"/log", "--output-format", "json").Stdout
		want := `[{"n":1,"t":"volume 'local:vztmpl/none.tar' does not exist"},{"n":2,"t":"TASK ERROR: unable to create CT 102 - volume 'local:vztmpl/none.tar' does not exist"}]` + "\n"
		if log != want {
			t.Errorf("log is %s, want %s", log, want)
		}
		status := n.run("pvesh", "get", "/nodes/pve/tasks/"+upid+"/status", "--output-format", "json").Stdout
		if !strings.Contains(status, `"exitstatus":"unable to create CT 102`) || !strings.Contains(status, `"status":"stopped"`) {
			t.Errorf("status is %s", status)
		}
	})
}
