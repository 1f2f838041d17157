package builtins_test

import (
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/plan"
)

// newDirBench is a node without ZFS that keeps data in /srv/data.
func newDirBench(t *testing.T) *bench {
	t.Helper()
	b := openBenchOn(t, lab.Options{Storage: "dir"}, inDirectories)
	b.do("mkdir", "-p", "/srv/data")
	return b
}

// destroy plans the removal of the app with its data and does it, with faults.
func (b *bench) destroy(faults ...lab.Fault) error {
	b.t.Helper()
	p, err := plan.Destroy(b.t.Context(), b.host, builtins.Kinds(), "app", true)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := p.Refused(); len(err) > 0 {
		return err[0]
	}
	for _, f := range faults {
		b.lab.Fault(f)
	}
	_, err = exec.Run(b.t.Context(), p, b.host, exec.Options{Pause: time.Millisecond})
	return err
}

func (b *bench) path(name string) string { return filepath.Join(b.lab.Root(), name) }

func (b *bench) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) exists(name string) bool {
	_, err := os.Lstat(b.path(name))
	return err == nil
}

const oneDirectory = `zfs_dataset("data/x/y", owner = 5)`

// A removal that is cut at any command is finished by the next one; until then a
// run does not take what is left for whole.
func TestRemovalOfADirectoryIsFinishedAfterACut(t *testing.T) {
	t.Parallel()
	removes := func(argv []string) bool { return argv[0] == "rm" || argv[0] == "systemd-run" || argv[0] == "sh" }
	for nth := 1; ; nth++ {
		b := newDirBench(t)
		if err := b.run(b.plan(oneDirectory)); err != nil {
			t.Fatal(err)
		}
		b.write("srv/data/x+y/file", "x")
		broken := b.destroy(lab.Fault{Match: removes, Nth: nth, When: lab.After, Do: lab.Cut})
		if b.lab.Pending() > 0 {
			if nth < 4 {
				t.Errorf("only %d commands were cut", nth-1)
			}
			return
		}
		t.Run(fmt.Sprintf("after command %d", nth), func(t *testing.T) {
			if b.exists("srv/data/x+y") != b.exists("srv/data/x+y/file") && b.plan(oneDirectory).Refused() == nil {
				t.Error("a run takes what is left for whole")
			}
			if err := b.destroy(); err != nil {
				t.Fatalf("%v; the broken one said: %v", err, broken)
			}
			if left, err := os.ReadDir(b.path("srv/data")); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
			if left, err := filepath.Glob(b.path("etc/pve/priv/tengil/app/directory.*")); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

func TestHalfRemovedDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	b := newDirBench(t)
	if err := b.run(b.plan(oneDirectory)); err != nil {
		t.Fatal(err)
	}
	b.write("srv/data/x+y/file", "x")
	fault := lab.Fault{Prefix: []string{"rm", "-r"}, When: lab.Before, Do: lab.Fail, Stderr: "rm: I/O error\n"}
	if err := b.destroy(fault); err == nil {
		t.Fatal("the removal was to fail")
	}
	refused := b.plan(oneDirectory).Refused()
	if len(refused) != 1 || !strings.Contains(refused[0].Error(), "was begun and not finished") || !strings.Contains(refused[0].Error(), "tg destroy app --data") {
		t.Errorf("refused: %v", refused)
	}
}

// What must not be removed with a directory keeps it from being removed.
func TestDirectoryThatIsInUseStays(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(b *bench)
		want    string
	}{
		{"its disk is not mounted", func(b *bench) { b.write("etc/fstab", "UUID=1 /srv/data ext4 defaults 0 2\n") }, `nothing is mounted at "/srv/data"`},
		{"somebody else's container has it", func(b *bench) {
			b.write("etc/pve/nodes/pve/lxc/900.conf", "arch: amd64\nmp0: /srv/data/x+y/sub,mp=/x\n")
		}, "CT 900 mounts /srv/data/x+y/sub"},
		{"others may write beside it", func(b *bench) { b.do("chmod", "0777", "/srv/data") }, `others than root can write in "/srv/data", the directory for data`},
		{"others may write on the way to it", func(b *bench) { b.do("chmod", "0775", "/srv") }, `others than root can write in "/srv", on the way`},
		{"somebody owns what is on the way", func(b *bench) { b.do("chown", "1000", "/srv") }, `others than root can write in "/srv", on the way`},
		{"a link is on the way", func(b *bench) {
			b.do("mv", "/srv", "/opt/srv")
			b.do("ln", "-s", "/opt/srv", "/srv")
		}, `leads over the symbolic link "/srv" to "/opt/srv/data"`},
		{"there is a link in its place", func(b *bench) {
			b.do("mv", "/srv/data/x+y", "/srv/moved")
			b.do("ln", "-s", "/srv/moved", "/srv/data/x+y")
		}, "not the directory that tengil made"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newDirBench(t)
			if err := b.run(b.plan(oneDirectory)); err != nil {
				t.Fatal(err)
			}
			b.write("srv/data/x+y/file", "x")
			c.prepare(b)
			if err := b.destroy(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
			if !b.exists("srv/data/x+y/file") && !b.exists("srv/moved/file") && !b.exists("opt/srv/data/x+y/file") {
				t.Error("its content is gone")
			}
		})
	}
}

// A directory that somebody makes between plan and run is not taken.
func TestStrangersDirectoryIsNotTaken(t *testing.T) {
	t.Parallel()
	b := newDirBench(t)
	p := b.plan(oneDirectory)
	b.do("mkdir", "/srv/data/x+y")
	b.write("srv/data/x+y/file", "mine")
	if err := b.run(p); err == nil || !strings.Contains(err.Error(), "tengil did not make it") {
		t.Errorf("error is %v", err)
	}
	if left, err := filepath.Glob(b.path("etc/pve/priv/tengil/app/directory.*")); err != nil || len(left) > 0 {
		t.Errorf("it is marked: %v, %v", left, err)
	}
	if err := b.destroy(); err != nil {
		t.Fatal(err)
	}
	if !b.exists("srv/data/x+y/file") {
		t.Error("somebody's file is gone")
	}
}

const imaged = `web = pct_create("web", image = oci_pull("docker.io/library/alpine:3.22"), memory = %q, disk = "1G")` + "\n"

// A run that is killed while the root is mounted leaves the container locked. The
// next one, whatever it is about, ends that.
func TestNothingStopsAtAContainerThatARunLeftMounted(t *testing.T) {
	small := fmt.Sprintf(imaged, "64M")
	for _, c := range []struct{ name, recipe string }{
		{"a change", fmt.Sprintf(imaged, "128M")},
		{"a change that restarts", small + `device_attach(web, "/dev/net/tun")`},
		{"a new image", strings.ReplaceAll(small, "alpine:3.22", "nginx:1.29")},
		{"a larger root", strings.ReplaceAll(small, `"1G"`, `"2G"`)},
		{"a removal", ""},
	} {
		for _, stopped := range []bool{true, false} {
			if testing.Short() && stopped {
				continue
			}
			t.Run(fmt.Sprintf("%s stopped=%v", c.name, stopped), func(t *testing.T) {
				t.Parallel()
				b := newDirBench(t)
				if err := b.run(b.plan(small)); err != nil {
					t.Fatal(err)
				}
				if stopped {
					b.do("pct", "stop", "100")
				}
				b.do("pct", "mount", "100")
				if err := b.run(b.plan(c.recipe)); err != nil {
					t.Fatal(err)
				}
				if p := b.plan(c.recipe); !p.Empty() {
					t.Errorf("there is still to do:\n%s", plan.Text(p))
				}
			})
		}
	}
}

// A mount that fails leaves its lock, which goes with the error.
func TestFailedMountLeavesNoLock(t *testing.T) {
	t.Parallel()
	b := newDirBench(t)
	small := fmt.Sprintf(imaged, "64M")
	if err := b.run(b.plan(small)); err != nil {
		t.Fatal(err)
	}
	b.do("pct", "stop", "100")
	b.do("pct", "set", "100", "--mp9", "/srv/gone,mp=/x")
	if err := b.run(b.plan(small + "gpu_attach(web)")); err == nil {
		t.Fatal("the mount was to fail")
	}
	conf, err := os.ReadFile(b.path("etc/pve/nodes/pve/lxc/100.conf"))
	if err != nil || slices.Contains(strings.Split(string(conf), "\n"), "lock: mounted") {
		t.Errorf("%v, config:\n%s", err, conf)
	}
}

// The hint of what is protected is a command that lifts the protection.
func TestTheHintLiftsTheProtectionOfADirectory(t *testing.T) {
	t.Parallel()
	b := newDirBench(t)
	b.mustRun(`zfs_dataset("data/kept", protect = True)`)
	p, err := plan.Destroy(t.Context(), b.host, builtins.Kinds(), "app", true)
	if err != nil {
		t.Fatal(err)
	}
	refused := p.Refused()
	if text := plan.Text(p); len(refused) != 1 || !strings.Contains(text, "1 refused") {
		t.Fatalf("%v; plan:\n%s", refused, text)
	}
	_, command, _ := strings.Cut(p.Orphans[0].Hint, "\n    ")
	command = strings.Replace(command, " /etc/pve/", " "+b.path("etc/pve")+"/", 1)
	if out, err := osexec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	if err := b.destroy(); err != nil {
		t.Fatal(err)
	}
	if b.exists("srv/data/kept") {
		t.Error("the directory is still there")
	}
}
