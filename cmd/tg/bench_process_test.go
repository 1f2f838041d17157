package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// processRuns is how often each command line is run; the median counts.
const processRuns = 20

// BenchmarkProcesses: how long a person waits for a command that asks no node,
// from fork to exit.
func BenchmarkProcesses(b *testing.B) {
	tg := buildTG(b)
	facts := filepath.Join(b.TempDir(), "facts.json")
	if err := writeJSON(facts, imagined()); err != nil {
		b.Fatal(err)
	}
	others := [][]string{{"git", "version"}, {"ssh", "-V"}, {"ansible", "--version"}}
	commands := []struct {
		argv  []string
		bound time.Duration
	}{
		{[]string{tg, "version"}, 15 * time.Millisecond},
		{[]string{tg, "recipes", "list"}, 50 * time.Millisecond},
		{[]string{tg, "plan", "immich", "--facts", facts}, 50 * time.Millisecond},
	}
	var rows []row
	var took []time.Duration
	for _, c := range commands {
		d := medianOf(b, c.argv)
		took = append(took, d)
		rows = append(rows, row{commandLine(c.argv), ms(d), "≤ " + ms(c.bound), ""})
	}
	for _, argv := range others {
		if _, err := exec.LookPath(argv[0]); err != nil {
			rows = append(rows, row{commandLine(argv), "not installed", "", ""})
			continue
		}
		rows = append(rows, row{commandLine(argv), ms(medianOf(b, argv)), "", "the alternatives, in the same call"})
	}
	show(b, rows...)
	for i, c := range commands {
		b.ReportMetric(float64(took[i].Microseconds())/1000, "ms/"+c.argv[1])
	}
	for i, c := range commands {
		holds(b, took[i] <= c.bound, "%s took %s; wanted at most %s", commandLine(c.argv), ms(took[i]), ms(c.bound))
	}
}

func medianOf(b *testing.B, argv []string) time.Duration {
	b.Helper()
	env := []string{"HOME=" + b.TempDir()}
	var all []time.Duration
	for range processRuns {
		d, _ := timed(b, env, argv...)
		all = append(all, d)
	}
	return median(all)
}

// commandLine prints an argv without the directories of its words.
func commandLine(argv []string) string {
	line := filepath.Base(argv[0])
	for _, a := range argv[1:] {
		if filepath.IsAbs(a) {
			a = filepath.Base(a)
		}
		line += " " + a
	}
	return line
}

// freshHome makes an empty home directory and returns its setting.
func freshHome(b *testing.B) (dir, env string) {
	b.Helper()
	dir = filepath.Join(b.TempDir(), "home")
	if err := os.MkdirAll(filepath.Join(dir, ".ssh"), 0o700); err != nil {
		b.Fatal(err)
	}
	return dir, "HOME=" + dir
}
