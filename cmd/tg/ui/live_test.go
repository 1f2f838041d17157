package ui

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mattn/go-runewidth"

	"github.com/tengil/tengil/engine"
)

// A screen is as much of a terminal as the live view uses. It fails the test for
// a line that is wider than it, as that would wrap and leave rests behind.
type screen struct {
	t     *testing.T
	width int
	lines []string
	row   int
}

func (s *screen) Write(p []byte) (int, error) {
	text := string(p)
	for text != "" {
		if rest, ok := strings.CutPrefix(text, "\x1b["); ok {
			i := strings.IndexAny(rest, "AJm")
			switch rest[i] {
			case 'A':
				var n int
				if _, err := fmt.Sscanf(rest, "%dA", &n); err != nil || n > s.row {
					s.t.Errorf("cursor up %q from line %d", rest[:i+1], s.row)
				}
				s.row -= n
			case 'J':
				s.lines = s.lines[:s.row]
			}
			text = rest[i+1:]
			continue
		}
		switch text[0] {
		case '\r':
			text = text[1:]
			continue
		case '\n':
			s.row++
			text = text[1:]
			continue
		}
		for len(s.lines) <= s.row {
			s.lines = append(s.lines, "")
		}
		i := strings.IndexAny(text, "\x1b\r\n")
		if i < 0 {
			i = len(text)
		}
		s.lines[s.row] += text[:i]
		if w := runewidth.StringWidth(s.lines[s.row]); w >= s.width {
			s.t.Errorf("line is %d columns wide on a terminal of %d: %q", w, s.width, s.lines[s.row])
		}
		text = text[i:]
	}
	return len(p), nil
}

func (s *screen) String() string {
	var b strings.Builder
	for _, l := range s.lines {
		b.WriteString(strings.TrimRight(l, " ") + "\n")
	}
	return b.String()
}

// A film is a run of immich that the tests let pass, second by second.
type film struct {
	at    time.Time
	event func(engine.Event)
}

func (f *film) after(d time.Duration, kind engine.EventKind, node string, set ...func(*engine.Event)) {
	f.at = f.at.Add(d)
	e := engine.Event{Kind: kind, Time: f.at, Node: engine.NodeID(node)}
	for _, s := range set {
		s(&e)
	}
	f.event(e)
}

func of(done, total int64) func(*engine.Event) {
	return func(e *engine.Event) { e.Done, e.Total = done, total }
}

func took(d time.Duration) func(*engine.Event) { return func(e *engine.Event) { e.Took = d } }

func because(id string) func(*engine.Event) {
	return func(e *engine.Event) { e.Cause = engine.NodeID(id) }
}

func failing(text string) func(*engine.Event) {
	return func(e *engine.Event) {
		e.Err = &engine.Error{Pos: engine.Pos{File: "immich.star", Line: 3, Col: 1}, Err: errors.New(text)}
		e.Error = e.Err.Error()
	}
}

func planOf(needs map[string][]string, order ...string) *engine.Plan {
	p := &engine.Plan{}
	for _, id := range order {
		n := engine.PlanNode{Node: engine.Node{ID: engine.NodeID(id), Step: engine.Step{ID: engine.NodeID(id).Step()}}}
		for _, need := range needs[id] {
			n.Needs = append(n.Needs, engine.NodeID(need))
		}
		n.Diff.Changes = []engine.Change{{Action: engine.Create, Why: "not there"}}
		p.Nodes = append(p.Nodes, n)
	}
	return p
}

func immichPlan() *engine.Plan {
	return planOf(map[string][]string{
		"pct_create/db#create":        {"oci_pull/ghcr.io/postgres:14"},
		"pct_create/db#configure":     {"pct_create/db#create", "zfs_dataset/tank/db"},
		"pct_create/db#start":         {"pct_create/db#configure"},
		"pct_create/server#create":    {"oci_pull/ghcr.io/server:3"},
		"pct_create/server#configure": {"pct_create/server#create", "pct_create/db#start", "zfs_dataset/tank/shared"},
		"pct_create/db#ready":         {"pct_create/db#start", "zfs_dataset/tank/shared"},
	},
		"zfs_dataset/tank/shared", "zfs_dataset/tank/db", "oci_pull/ghcr.io/postgres:14", "oci_pull/ghcr.io/server:3",
		"pct_create/db#create", "pct_create/db#configure", "pct_create/db#start", "pct_create/db#ready",
		"pct_create/server#create", "pct_create/server#configure")
}

func TestLiveViewSettlesRowsAndRedrawsTheRest(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	sc := &screen{t: t, width: 80}
	term := &Terminal{Out: sc, Width: 80, Height: 24, Live: true, Color: true}
	v := newLive(term, newBoard(immichPlan(), began))
	f := &film{at: began, event: v.event}

	f.after(0, engine.Started, "zfs_dataset/tank/shared")
	f.after(0, engine.Started, "oci_pull/ghcr.io/postgres:14")
	f.after(0, engine.Started, "oci_pull/ghcr.io/server:3")
	f.after(200*time.Millisecond, engine.Done, "zfs_dataset/tank/shared", took(200*time.Millisecond))
	f.after(800*time.Millisecond, engine.Progress, "oci_pull/ghcr.io/postgres:14", of(10<<20, 402<<20))
	f.after(time.Second, engine.Progress, "oci_pull/ghcr.io/postgres:14", of(21<<20, 402<<20))
	v.draw(f.at.Add(time.Second))
	want := `
✓ tank/shared  dataset 0.2s                                                0.2s
  db           pull        21M of 402M, 11M/s                              3.0s
  server       pull                                                        3.0s
  1 of 10 steps done, 3.0s
`
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), sc.String()); diff != "" {
		t.Fatalf("screen after 3 s (-want +got):\n%s", diff)
	}

	f.after(10*time.Second, engine.Done, "oci_pull/ghcr.io/postgres:14", took(12*time.Second))
	f.after(0, engine.Started, "pct_create/db#create")
	f.after(0, engine.Failed, "oci_pull/ghcr.io/server:3", failing("registry says 404:\nnot found"), took(12*time.Second))
	f.after(0, engine.Skipped, "pct_create/server#create", because("oci_pull/ghcr.io/server:3"))
	f.after(0, engine.Skipped, "pct_create/server#configure", because("oci_pull/ghcr.io/server:3"))
	f.after(time.Second, engine.Retrying, "pct_create/db#create", func(e *engine.Event) { e.Error = "lock timeout" })
	v.draw(f.at)
	want = `
✓ tank/shared  dataset 0.2s                                                0.2s
✗ server       pull failed                                                  12s
  db           create      again: lock timeout                              13s
  5 of 10 steps done, 13s
`
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), sc.String()); diff != "" {
		t.Fatalf("screen after 13 s (-want +got):\n%s", diff)
	}

	f.after(0, engine.Stopping, "")
	v.draw(f.at)
	if !strings.Contains(sc.String(), "stopping; Ctrl-C again cuts") {
		t.Errorf("footer does not tell that the run stops:\n%s", sc)
	}
	v.end()
	want = `
✓ tank/shared  dataset 0.2s                                                0.2s
✗ server       pull failed                                                  12s
`
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), sc.String()); diff != "" {
		t.Errorf("screen at the end (-want +got):\n%s", diff)
	}
}

func TestLiveViewNeverOutgrowsTheTerminal(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var ids []string
	for i := range 30 {
		ids = append(ids, fmt.Sprintf("file/%02d-with-a-long-name-日本語-that-goes-on-and-on", i))
	}
	for _, size := range [][2]int{{20, 5}, {40, 10}, {200, 50}, {1, 1}} {
		sc := &screen{t: t, width: max(size[0], 2)}
		term := &Terminal{Out: sc, Width: size[0], Height: size[1], Live: true}
		v := newLive(term, newBoard(planOf(nil, ids...), began))
		f := &film{at: began, event: v.event}
		for _, id := range ids {
			f.after(time.Second, engine.Started, id)
			v.draw(f.at)
		}
		if got := len(sc.lines); got > max(size[1]-1, 2) {
			t.Errorf("%d lines on a terminal of %d", got, size[1])
		}
	}
}

func TestLines(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var out strings.Builder
	w := NewWatcher(&Terminal{Out: &out}, immichPlan(), Auto, func() time.Time { return began })
	w.During(func(events func(engine.Event)) {
		f := &film{at: began, event: events}
		f.after(0, engine.Started, "oci_pull/ghcr.io/postgres:14")
		f.after(0, engine.Started, "oci_pull/ghcr.io/server:3")
		f.after(time.Second, engine.Progress, "oci_pull/ghcr.io/postgres:14", of(1<<20, 402<<20))
		f.after(10*time.Second, engine.Progress, "oci_pull/ghcr.io/postgres:14", of(211<<20, 402<<20))
		f.after(time.Second, engine.Progress, "oci_pull/ghcr.io/postgres:14", of(212<<20, 402<<20))
		f.after(time.Second, engine.Done, "oci_pull/ghcr.io/postgres:14", took(13*time.Second))
		f.after(0, engine.Started, "pct_create/db#create")
		f.after(2*time.Second, engine.Failed, "pct_create/db#create", failing("disk full"))
		f.after(0, engine.Skipped, "pct_create/db#configure", because("pct_create/db#create"))
		f.after(time.Second, engine.Done, "oci_pull/ghcr.io/server:3", took(16*time.Second))
		f.after(time.Second, engine.Failed, "pct_create/server#create", func(e *engine.Event) { e.Err = fmt.Errorf("interrupted: %w", context.Canceled) })
	})
	want := `db pull: 211M of 402M, 21M/s
db pull: done in 13s
db create: failed
db configure: skipped: needs db (create)
server pull: done in 16s
server create: interrupted
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	// The two pulls overlap: together they lasted 16 s, not 29.
	wantPhases := []Phase{{"pull", 16 * time.Second}, {"create", 2 * time.Second}}
	if diff := cmp.Diff(wantPhases, w.Phases()); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
}

func TestEventsAreJSONLines(t *testing.T) {
	var out strings.Builder
	w := NewWatcher(&Terminal{Out: &out, Live: true}, immichPlan(), Events, nil)
	w.During(func(events func(engine.Event)) {
		f := &film{at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), event: events}
		f.after(0, engine.Started, "pct_create/db#create")
		f.after(time.Second, engine.Failed, "pct_create/db#create", failing("disk full"))
	})
	want := `{"event":"started","time":"2026-01-02T03:04:05Z","node":"pct_create/db#create"}
{"event":"failed","time":"2026-01-02T03:04:06Z","node":"pct_create/db#create","error":"immich.star:3:1: disk full"}
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestRemovalsHaveRowsOfTheirOwn(t *testing.T) {
	var out strings.Builder
	p := &engine.Plan{Orphans: []engine.Orphan{
		{Found: engine.Found{Step: "pct_create/db"}},
		{Found: engine.Found{Step: "zfs_dataset/tank/db"}, Keep: true},
	}}
	w := NewWatcher(&Terminal{Out: &out}, p, Lines, nil)
	w.During(func(events func(engine.Event)) {
		f := &film{at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), event: events}
		f.after(0, engine.Started, "pct_create/db#remove")
		f.after(time.Second, engine.Done, "pct_create/db#remove", took(time.Second))
	})
	if want := "db remove: done in 1.0s\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	if w.board.total != 1 {
		t.Errorf("the kept dataset counts: total is %d, want 1", w.board.total)
	}
}
