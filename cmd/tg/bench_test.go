package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// The benchmarks are the claims of docs/performance.md. Each measures its
// alternative in the same call, prints both, and fails when a bound is broken.
// They run with -benchtime 1x: every benchmark repeats what it measures itself.

// A row is one line of what a benchmark prints.
type row struct{ what, measured, bound, than string }

// show prints rows as a table on standard output, where the testing package
// would cut a long log short.
func show(b *testing.B, rows ...row) {
	b.Helper()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n  \tmeasured\tbound\tagainst\n")
	for _, r := range rows {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", r.what, r.measured, r.bound, r.than)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(0, "ns/op") // the time of the whole benchmark says nothing
}

// holds fails the benchmark if a bound is broken.
func holds(b *testing.B, ok bool, format string, a ...any) {
	b.Helper()
	if !ok {
		b.Fatalf("bound broken: "+format, a...)
	}
}

// ms prints a duration for people.
func ms(d time.Duration) string {
	if d >= 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

func times(slow, fast time.Duration) float64 { return slow.Seconds() / fast.Seconds() }

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// buildTG builds tg as make build does and returns its path.
func buildTG(b *testing.B) string {
	b.Helper()
	tg := filepath.Join(b.TempDir(), "tg")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", tg, ".").CombinedOutput(); err != nil {
		b.Fatalf("build tg: %v\n%s", err, out)
	}
	return tg
}

// timed runs a command to its end and returns how long that took, and what it
// printed on both streams.
func timed(b *testing.B, env []string, argv ...string) (time.Duration, string) {
	b.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return took, string(out)
}

// installed skips the benchmark where a program is missing, and says how to get it.
func installed(b *testing.B, program, debian string) {
	b.Helper()
	if _, err := exec.LookPath(program); err != nil {
		b.Skipf("%s is not installed, so there is nothing to compare with: apt-get install %s", program, debian)
	}
}
