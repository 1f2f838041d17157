package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/lab/labtest"
	"github.com/tengil/tengil/engine/pve"
)

func TestClocksThatDifferAreFound(t *testing.T) {
	asked := time.Unix(1_770_000_000, 500_000_000)
	answered := asked.Add(3 * time.Second)
	at := func(sec int64, synced string) *engine.Answers {
		all := map[string]engine.Answer{}
		for _, q := range pve.HealthAsks() {
			switch argv := q.Argv(); {
			case len(argv) > 0 && argv[0] == "date":
				all[q.Key()] = engine.Answer{Result: engine.Result{Stdout: []byte(strconv.FormatInt(sec, 10) + "\n")}}
			case len(argv) > 0 && argv[0] == "timedatectl":
				all[q.Key()] = engine.Answer{Result: engine.Result{Stdout: []byte(synced)}}
			default:
				all[q.Key()] = engine.NothingThere(q)
			}
		}
		return engine.NewAnswers(all)
	}
	for _, tt := range []struct {
		name   string
		off    int64 // seconds from asked
		synced string
		state  string
		says   string
	}{
		{"the same second", 0, "yes\n", stateOK, "as on this machine"},
		{"while it was asked", 3, "yes\n", stateOK, "as on this machine"},
		{"a little off", -59, "yes\n", stateOK, "as on this machine"},
		{"behind", -3600, "yes\n", stateProblem, "the node is 1h0m0s behind this machine"},
		{"ahead", 3603, "no\n", stateProblem, "the node is 1h0m0s ahead of this machine"},
		{"kept by nobody", 1, "no\n", stateNote, "as on this machine, but no time server keeps the node's clock right"},
		{"nothing tells who keeps it", 1, "", stateOK, "as on this machine"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := clock(at(asked.Unix()+tt.off, tt.synced), asked, answered)
			if c.State != tt.state || c.Says != tt.says || c.OK == (tt.state == stateProblem) {
				t.Errorf("got %+v, want %s: %s", c, tt.state, tt.says)
			}
		})
	}
}

func TestLimitsOfTheHostReachTheRun(t *testing.T) {
	got := limits(engine.Limits{Downloads: 1, Starts: 3})
	if diff := cmp.Diff(map[engine.Class]int{engine.Download: 1, engine.Start: 3}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The doctor asks twice, also where it looks into a directory for data and into that
// of a storage.
func TestTheDoctorTakesTwoRoundTrips(t *testing.T) {
	for _, c := range []struct {
		name, storage string
		choices       engine.Choices
		pool          string
	}{
		{"with ZFS", "", engine.Choices{}, "tank, "},
		{"in a directory", "dir", engine.Choices{Data: "/srv/data"}, "data, in /srv/data, "},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := lab.Open(t.Context(), lab.Options{Dir: labtest.TempDir(t), Storage: c.storage})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := os.Mkdir(filepath.Join(l.Root(), "srv/data"), 0o755); err != nil {
				t.Fatal(err)
			}
			host, err := dialBench(t.Context(), l.Endpoint())
			if err != nil {
				t.Fatal(err)
			}
			defer host.Close()
			at := &node{host, target{address: labName, choices: c.choices}}
			before, _ := at.rounds()
			said := map[string]string{}
			for _, c := range new(session).examineNode(t.Context(), at) {
				if c.State != stateOK {
					t.Errorf("%+v", c)
				}
				said[c.Name] += c.Says + "\n"
			}
			if after, counts := at.rounds(); after-before != 2 || !counts {
				t.Errorf("%d round trips", after-before)
			}
			if !strings.HasPrefix(said["pool"], c.pool) || !strings.Contains(said["space"], "/var/lib/vz (archives of images), ") {
				t.Errorf("said %q", said)
			}
		})
	}
}
