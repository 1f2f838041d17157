package main

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
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
