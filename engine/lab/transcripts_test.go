package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/google/go-cmp/cmp"
)

// A transcript is what commands printed, one after the other, on a node with the
// genuine code of one version of pve-container.
type transcript struct {
	Scenario string           `json:"scenario"`
	Version  string           `json:"pve_container"`
	Steps    []transcriptStep `json:"steps"`
}

type transcriptStep struct {
	Argv   []string `json:"argv"`
	Stdin  *string  `json:"stdin"`
	Exit   *int     `json:"rc"` // nil where the connection was cut
	Stdout string   `json:"stdout"`
	Stderr string   `json:"stderr"`
}

// transcriptFiles are the transcripts that concern containers.
func transcriptFiles() map[string][]string {
	return map[string][]string{
		"6.0.18": {
			"01-image-wins", "02-create-errors", "03-lifecycle", "05-mounts-ids", "12-locks-interruption", "13-odd-images", "13b-layers",
		},
		"6.1.10": {
			"01-image-wins", "02-create-errors", "03-lifecycle", "03b-lifecycle2", "04-pending-hotplug", "05-mounts-ids", "06-env",
			"06b-env-names", "07-entrypoint", "08-tags-description", "09-network", "10-json", "12-locks-interruption",
			"13-odd-images", "13b-layers", "15-update-swap", "15b-update-staged",
		},
	}
}

const transcriptDir = "../../testdata/transcripts"

// An exception is a step that the lab is known not to model.
type exception struct {
	reason string
	skip   bool // the step is not even run
}

// readExceptions reads not-modelled.txt: lines "VERSION/FILE STEP[-STEP] REASON",
// steps counted from 0; a "!" before the reason means not to run the step.
func readExceptions(t *testing.T) map[string]exception {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(transcriptDir, "not-modelled.txt"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]exception{}
	for i, line := range strings.Split(string(data), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.SplitN(line, " ", 3)
		if len(f) < 3 {
			t.Fatalf("not-modelled.txt:%d: %q; want FILE STEPS REASON", i+1, line)
		}
		first, last, ok := strings.Cut(f[1], "-")
		if !ok {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil {
			t.Fatalf("not-modelled.txt:%d: steps are %q; want N or N-M", i+1, f[1])
		}
		reason, skip := strings.CutPrefix(f[2], "!")
		for step := from; step <= to; step++ {
			out[fmt.Sprintf("%s %d", f[0], step)] = exception{strings.TrimSpace(reason), skip}
		}
	}
	return out
}

// TestTranscripts replays transcripts on fresh labs of their version. What
// is listed in not-modelled.txt must differ, all else must be equal, so that the
// list can only shrink.
func TestTranscripts(t *testing.T) {
	exceptions := readExceptions(t)
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "transcript\tsteps\tequal\tnot modelled\tfailed")
	for version, files := range transcriptFiles() {
		for _, file := range files {
			name := version + "/" + file
			t.Run(name, func(t *testing.T) {
				equal, other, failed := replay(t, name, exceptions)
				fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", name, equal+other+failed, equal, other, failed)
			})
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())
}

// replay runs one transcript and returns how many steps were equal, are known not to
// be, and failed.
func replay(t *testing.T, name string, exceptions map[string]exception) (equal, other, failed int) {
	data, err := os.ReadFile(filepath.Join(transcriptDir, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var tr transcript
	if err := json.Unmarshal(data, &tr); err != nil {
		t.Fatal(err)
	}
	n := capturedNode(t, tr, string(data))
	for i, s := range tr.Steps {
		key := fmt.Sprintf("%s %d", name, i)
		known, listed := exceptions[key]
		n.unrecorded(t, tr.Scenario, i)
		if listed && known.skip {
			other++
			continue
		}
		diff := n.replayStep(t, s)
		switch {
		case diff == "" && listed:
			t.Errorf("%s: %q is modelled now: take it out of not-modelled.txt", key, s.Argv)
			failed++
		case diff == "":
			equal++
		case listed:
			other++
		default:
			t.Errorf("%s: %q (-captured +lab):\n%s", key, s.Argv, diff)
			failed++
		}
	}
	return equal, other, failed
}

// replayStep runs a step and returns how it differs from what was captured.
func (n *replayNode) replayStep(t *testing.T, s transcriptStep) string {
	t.Helper()
	stdin := ""
	if s.Stdin != nil {
		stdin = *s.Stdin
	}
	argv := make([]string, len(s.Argv))
	for i, a := range s.Argv {
		argv[i] = n.renamed(a)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n.cut = cancel // what a lost connection does to the programs of its session
	var out, errs bytes.Buffer
	exit, ours := n.helper(t, argv, &out)
	if !ours {
		exit = n.exec(ctx, argv, rootEnv(), rootHome, strings.NewReader(stdin), &out, &errs)
	}
	got := outcome{exit, n.stable(s, out.String()), n.stable(s, errs.String())}
	want := outcome{exit, n.stable(s, s.Stdout), n.stable(s, s.Stderr)}
	if s.Exit != nil {
		want.Exit = *s.Exit
	}
	if anyFailure(argv) && want.Exit != 0 && got.Exit != 0 {
		got.Exit = want.Exit
	}
	return cmp.Diff(want, got)
}

// anyFailure reports whether a program's exit status of a failure says nothing:
// what pct and its like return is what errno happens to be.
func anyFailure(argv []string) bool {
	switch argv[0] {
	case "pct", "pvesh", "pvesm":
		return len(argv) < 2 || argv[1] != "exec"
	}
	return false
}
