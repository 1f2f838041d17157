package lab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"text/tabwriter"
	"time"
)

// A transcript is what commands printed, one after the other, on a node with the
// genuine code of one version of pve-container.
type transcript struct {
	Scenario string           `json:"scenario"`
	Version  string           `json:"pve_container"`
	Steps    []transcriptStep `json:"steps"`

	name string // VERSION/FILE
	text string // the whole file
}

type transcriptStep struct {
	Argv   []string `json:"argv"`
	Stdin  *string  `json:"stdin"`
	Exit   *int     `json:"rc"` // nil where the connection was cut, -9 where it was killed
	Stdout string   `json:"stdout"`
	Stderr string   `json:"stderr"`
	Millis int      `json:"ms"`
}

const transcriptDir = "../../testdata/transcripts"

// readTranscripts reads every transcript there is, by name.
func readTranscripts(t *testing.T) []transcript {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(transcriptDir, "*", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts below %s: %v", transcriptDir, err)
	}
	var all []transcript
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tr := transcript{text: string(data)}
		if err := json.Unmarshal(data, &tr); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		tr.name = filepath.Base(filepath.Dir(file)) + "/" + strings.TrimSuffix(filepath.Base(file), ".json")
		all = append(all, tr)
	}
	return all
}

// TestTranscripts replays every transcript on a fresh lab of its version. What is
// listed in not-modelled.txt must differ, all else must be equal, so that the
// list can only shrink.
func TestTranscripts(t *testing.T) {
	all := readTranscripts(t)
	left := readExceptions(t, all)
	notes := readNotes(t, all)
	now := time.Now()
	results := make([]tally, len(all))
	t.Run("replay", func(t *testing.T) {
		for i, tr := range all {
			t.Run(tr.name, func(t *testing.T) {
				t.Parallel()
				// The bubble's clock runs as fast as nobody works: no lock timeout
				// and no pause takes time.
				synctest.Test(t, func(t *testing.T) {
					time.Sleep(time.Until(now))
					results[i] = replay(t, tr, notes[tr.name], left[tr.name])
				})
			})
		}
	})
	t.Log(summary(all, results))
	captured := map[string]map[string]bool{}
	for i, tr := range all {
		if results[i].ran == nil {
			return // it was not replayed
		}
		number, _, _ := strings.Cut(path.Base(tr.name), "-")
		for name := range results[i].ran {
			if captured[name] == nil {
				captured[name] = map[string]bool{}
			}
			captured[name][number] = true
		}
	}
	checkEvidence(t, captured)
}

// A tally counts the steps of a replayed transcript.
type tally struct {
	equal  int
	left   map[string]int // by class
	failed int
	ran    map[string]bool // commands that steps ran which are equal
}

// summary words how much of the transcripts comes out equal.
func summary(all []transcript, results []tally) string {
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "transcript\tsteps\tequal\tleft out\tfailed")
	equal, byVersion, byClass := 0, map[string]int{}, map[string]int{}
	total, out := 0, 0
	for i, tr := range all {
		r := results[i]
		left := 0
		for class, n := range r.left {
			byClass[class] += n
			left += n
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", tr.name, len(tr.Steps), r.equal, left, r.failed)
		equal, total, out = equal+r.equal, total+len(tr.Steps), out+left
		byVersion[tr.Version] += r.equal
	}
	_ = w.Flush() // to a buffer
	counts := func(m map[string]int, format string) string {
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(m)) {
			parts = append(parts, fmt.Sprintf(format, m[k], k))
		}
		return strings.Join(parts, ", ")
	}
	return fmt.Sprintf("\n%s%d of %d captured steps come out equal (%s), %d left out: %s\n",
		table.String(), equal, total, counts(byVersion, "%d for %s"), out, counts(byClass, "%d %s"))
}

// replay runs one transcript.
func replay(t *testing.T, tr transcript, notes stepNotes, left map[int]exception) tally {
	r := newReplayer(t, tr, notes)
	defer r.close()
	sum := tally{left: map[string]int{}, ran: map[string]bool{}}
	commands := dispatched()
	for next := range tr.Steps {
		before := len(r.record.all())
		for _, i := range r.step(next) {
			known, listed := left[i]
			diff := r.diff(i)
			switch {
			case diff == "" && listed:
				t.Errorf("%s %d: %q is modelled now: take it out of not-modelled.txt", tr.name, i, tr.Steps[i].Argv)
				sum.failed++
			case diff == "":
				sum.equal++
				for _, e := range r.record.all()[before:] {
					if counts(commands, e) {
						sum.ran[commandOf(e.Argv)] = true
					}
				}
			case listed:
				sum.left[known.class]++
				t.Logf("left out: %s %d: %q: %s (-captured +lab):\n%s", tr.name, i, tr.Steps[i].Argv, known.reason, diff)
			default:
				t.Errorf("%s %d: %q (-captured +lab):\n%s", tr.name, i, tr.Steps[i].Argv, diff)
				sum.failed++
			}
		}
	}
	return sum
}
