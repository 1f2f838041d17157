//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tengil/tengil/engine/lab/labtest"
)

const containersRecipe = `recipe(name = "many")
image = oci_pull("docker.io/library/alpine:3.22")
for i in range(%d):
    pct_create(
        "c%%d" %% i,
        image = image,
        memory = "64M",
        disk = "1G",
        ip = "10.10.%%d.%%d/16" %% (i // 250 + 20, i %% 250 + 1),
        ready = exec_ready(["true"]),
    )
`

// A measured is what a process of tg took.
type measured struct {
	took, cpu time.Duration
	peak      int64 // bytes of memory
	said      string
}

func (m measured) String() string {
	return fmt.Sprintf("%.1f s, processor %.1f s, peak memory %d MB", m.took.Seconds(), m.cpu.Seconds(), m.peak/1e6)
}

// deployContainers has tg, a process of its own, deploy n containers on a new lab,
// which is another, and then run again.
func deployContainers(tb testing.TB, tg string, n int) (first, again measured) {
	tb.Helper()
	dir := labtest.TempDir(tb)
	file := filepath.Join(dir, "many.star")
	if err := os.WriteFile(file, fmt.Appendf(nil, containersRecipe, n), 0o600); err != nil {
		tb.Fatal(err)
	}
	env := append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME=", "XDG_STATE_HOME=", "TG_HOST=", "TG_LAB_DIR="+filepath.Join(dir, "lab"), "USER=ben")
	run := func(args ...string) measured {
		tb.Helper()
		cmd := exec.CommandContext(tb.Context(), tg, args...)
		cmd.Env, cmd.Dir = env, dir
		began := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil {
			tb.Fatalf("tg %s: %v\n%s", strings.Join(args, " "), err, out[max(0, len(out)-4000):])
		}
		used := cmd.ProcessState
		peak := used.SysUsage().(*syscall.Rusage).Maxrss
		var own syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
			tb.Fatal(err)
		}
		if peak <= own.Maxrss {
			peak = 0 // it is that of this process: how much less tg needed is not known
		}
		if runtime.GOOS == "linux" {
			peak *= 1024 // it counts in KiB there
		}
		return measured{time.Since(began), used.UserTime() + used.SystemTime(), peak, string(out)}
	}
	run("lab", "start")
	tb.Cleanup(func() { stopLab(tb, filepath.Join(dir, "lab")) })
	first, again = run("--host", "lab", "run", file, "--yes"), run("--host", "lab", "run", file, "--yes")
	if !strings.Contains(again.said, "nothing to do") {
		tb.Errorf("the second run had something to do:\n%s", again.said[:min(len(again.said), 2000)])
	}
	list := run("--host", "lab", "ps")
	if running := strings.Count(list.said, " healthy "); running != n {
		tb.Errorf("%d containers of %d run:\n%s", running, n, list.said[:min(len(list.said), 2000)])
	}
	return first, again
}

// mostMemory is what tg may need for n containers: 150 MB for a thousand. Linux
// counts for a process the most that its parent held before it was started.
func mostMemory(n int) int64 { return int64(70+n*80/1000) * 1e6 }

// TestManyContainers deploys a thousand containers where the environment says
// EXHAUSTIVE=1, else so many that a bound by their number means something.
func TestManyContainers(t *testing.T) {
	n := 200
	switch {
	case os.Getenv("EXHAUSTIVE") == "1":
		n = 1000
	case testing.Short():
		n = 60
	}
	first, again := deployContainers(t, "tg", n)
	t.Logf("%d containers: first run %v; second run %v", n, first, again)
	for _, m := range []measured{first, again} {
		if m.peak > mostMemory(n) && !labtest.Raced {
			t.Errorf("tg needed %d MB; wanted at most %d", m.peak/1e6, mostMemory(n)/1e6)
		}
	}
}

// BenchmarkThousandContainers: a thousand containers on a new lab, and again.
func BenchmarkThousandContainers(b *testing.B) {
	first, again := deployContainers(b, buildTG(b), 1000)
	bound := fmt.Sprintf("≤ %d MB", mostMemory(1000)/1e6)
	show(b,
		row{"1,000 new containers on the lab: tg's peak memory", fmt.Sprintf("%d MB", first.peak/1e6), bound, ""},
		row{"tg's processor time", ms(first.cpu), "", ""},
		row{"time, the lab's included", ms(first.took), "", ""},
		row{"the same with nothing to do: tg's peak memory", fmt.Sprintf("%d MB", again.peak/1e6), bound, ""},
		row{"time", ms(again.took), "", ""},
	)
	b.ReportMetric(float64(first.peak)/1e6, "MB")
	b.ReportMetric(first.took.Seconds(), "s")
	for _, m := range []measured{first, again} {
		holds(b, m.peak <= mostMemory(1000), "tg needed %d MB; wanted at most %d", m.peak/1e6, mostMemory(1000)/1e6)
	}
}
