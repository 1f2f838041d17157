package ui

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tengil/tengil/engine"
)

// A Style says how a run is shown while it goes on.
type Style int

// The styles. Auto is Live on a terminal that can be redrawn, else Lines.
const (
	Auto   Style = iota
	Lines        // a line for what has happened, on Terminal.Out
	Events       // every event as a line of JSON, on Terminal.Out
)

// A Watcher shows a run while it goes on.
type Watcher struct {
	term  *Terminal
	style Style
	board *board
	now   func() time.Time
}

// NewWatcher returns a Watcher for a run of p. now is the clock; nil means time.Now.
func NewWatcher(t *Terminal, p *engine.Plan, s Style, now func() time.Time) *Watcher {
	if now == nil {
		now = time.Now
	}
	if s == Auto && !t.Live {
		s = Lines
	}
	return &Watcher{term: t, style: s, board: newBoard(p, now()), now: now}
}

// During calls run with the function that takes its events, and shows them until
// it returns. Events must come one at a time.
func (w *Watcher) During(run func(events func(engine.Event))) {
	switch w.style {
	case Events:
		enc := json.NewEncoder(w.term.Out)
		run(func(e engine.Event) {
			w.board.take(e)
			_ = enc.Encode(e) // a reader that went away does not stop the run
		})
	case Lines:
		l := &lines{out: w.term.Out, board: w.board, told: map[engine.NodeID]time.Time{}}
		run(l.event)
	default:
		w.live(run)
	}
}

// live redraws ten times a second, so that times and bytes move.
func (w *Watcher) live(run func(events func(engine.Event))) {
	v := newLive(w.term, w.board)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				v.draw(w.now())
			case <-stop:
				return
			}
		}
	}()
	run(v.event)
	close(stop)
	<-stopped
	v.end()
}

// Phases returns for how long something of each phase ran.
func (w *Watcher) Phases() []Phase { return w.board.phases() }

// lines writes a line for what has ended, and now and then how far the rest is.
type lines struct {
	out   io.Writer
	board *board
	told  map[engine.NodeID]time.Time // when a node's progress was last told
}

// tellEvery is how often a line tells progress: often enough to see that it
// moves, seldom enough for a log.
const tellEvery = 10 * time.Second

func (l *lines) event(e engine.Event) {
	l.board.take(e)
	if e.Kind == engine.Stopping {
		fmt.Fprintln(l.out, l.board.stopping)
		return
	}
	if s := l.say(e); s != "" {
		fmt.Fprintf(l.out, "%s: %s\n", nodeName(l.board, e.Node), s)
	}
}

func (l *lines) say(e engine.Event) string {
	switch e.Kind {
	case engine.Started:
		l.told[e.Node] = e.Time
	case engine.Progress:
		w := l.board.row(e.Node).work(e.Node)
		if w == nil || e.Time.Sub(l.told[e.Node]) < tellEvery {
			return ""
		}
		l.told[e.Node] = e.Time
		return w.detail()
	case engine.Retrying:
		return "again: " + message(e)
	case engine.Done:
		return "done in " + Took(e.Took)
	case engine.Failed:
		return failed(e)
	case engine.Skipped:
		return "skipped: needs " + cause(e.Cause)
	}
	return ""
}

// nodeName names a node by its row and what it does: "db pull".
func nodeName(b *board, id engine.NodeID) string {
	name := b.row(id).name
	if l := label(id); l != "" && name != string(id) {
		return name + " " + l
	}
	return name
}

// bare returns what happened, without position, step and hint.
func bare(err error) error {
	var e *engine.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
