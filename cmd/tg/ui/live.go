package ui

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/tengil/tengil/engine"
)

// A live view redraws a line for each row that is at work, in place. A row that
// has ended is written once more, above, and stays.
type live struct {
	mu    sync.Mutex
	term  *Terminal
	board *board
	drawn int // lines of the last frame
	names int // width of the widest name
}

func newLive(t *Terminal, b *board) *live {
	v := &live{term: t, board: b}
	for _, r := range b.rows {
		v.names = max(v.names, runewidth.StringWidth(r.name))
	}
	v.names = min(v.names, 32)
	return v
}

// event takes one event and settles the row that ended by it.
func (v *live) event(e engine.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	ended := v.board.take(e)
	if ended == nil {
		return
	}
	width, _ := v.term.size()
	var b strings.Builder
	b.WriteString(v.erase())
	b.WriteString(v.settled(ended, width) + "\n")
	v.write(b.String() + v.frame(e.Time))
}

// draw replaces the frame; now is for the times it shows.
func (v *live) draw(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	erase := v.erase()
	v.write(erase + v.frame(now))
}

// end removes the frame; rows that have ended stay.
func (v *live) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.write(v.erase())
}

func (v *live) write(s string) { _, _ = fmt.Fprint(v.term.RawOut(), s) }

// erase returns what takes the cursor to the start of the frame and clears it.
func (v *live) erase() string {
	n := v.drawn
	v.drawn = 0
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\r\x1b[J", n)
}

// frame returns the lines of what is at work. They are never wider or more than
// the terminal, as the cursor could not be taken back over that.
func (v *live) frame(now time.Time) string {
	width, height := v.term.size()
	var lines []string
	for _, r := range v.board.rows {
		if len(r.active) > 0 {
			lines = append(lines, v.working(r, width, now))
		}
	}
	if room := max(height-3, 1); len(lines) > room {
		more := len(lines) - room + 1
		lines = append(lines[:room-1], v.term.Quiet(cut(fmt.Sprintf("  … and %d more", more), width-1)))
	}
	lines = append(lines, v.footer(width, now))
	v.drawn = len(lines)
	return strings.Join(lines, "\n") + "\n"
}

// working returns the line of a row at work: name, phase, how far, for how long.
func (v *live) working(r *row, width int, now time.Time) string {
	w := r.shown()
	head := "  " + fitMiddle(r.name, v.names) + "  " + fit(w.label, phaseWidth)
	return v.line(head, w.detail(), Took(now.Sub(r.began)), width, notice)
}

// shown is the work that says most: the one with bytes, else the last started.
func (r *row) shown() *work {
	for _, w := range r.active {
		if w.size > 0 {
			return w
		}
	}
	return r.active[len(r.active)-1]
}

func (w *work) detail() string {
	if w.bytes == 0 && w.size == 0 {
		return w.text
	}
	s := Bytes(w.bytes)
	if w.size > 0 {
		s += " of " + Bytes(w.size)
	}
	if r := w.rate(); r > 0 {
		s += ", " + Bytes(r) + "/s"
	}
	if w.text != "" {
		s += "  " + w.text
	}
	return s
}

const (
	phaseWidth = 10
	tookWidth  = 6
)

// line puts head, detail and time beside each other; the time ends the line at
// most 100 columns wide, and the detail gives way.
func (v *live) line(head, detail, took string, width int, c tint) string {
	width = min(width-1, 100)
	room := width - runewidth.StringWidth(head) - 2 - 1 - tookWidth
	if room < 8 {
		return v.term.tinted(c, cut(head, width))
	}
	return v.term.tinted(c, head) + "  " + fit(detail, room) + " " + v.term.Quiet(fmt.Sprintf("%*s", tookWidth, took))
}

// settled returns the last line of a row.
func (v *live) settled(r *row, width int) string {
	name := fitMiddle(r.name, v.names)
	took := ""
	if !r.began.IsZero() {
		took = Took(r.ended.Sub(r.began))
	}
	switch {
	case r.failed != "":
		return v.line("✗ "+name, r.failed, took, width, bad)
	case r.skipped != "":
		return v.line("- "+name, "skipped: "+r.skipped, took, width, quiet)
	}
	return v.line("✓ "+name, r.times(), took, width, good)
}

// times returns how long each phase took that took any time to speak of:
// "pull 12s · create 4.1s".
func (r *row) times() string {
	var parts []string
	for _, p := range r.phases {
		if p.took < 50*time.Millisecond && len(r.phases) > 1 {
			continue
		}
		parts = append(parts, p.label+" "+Took(p.took))
	}
	return strings.Join(parts, " · ")
}

func (v *live) footer(width int, now time.Time) string {
	b := v.board
	s := fmt.Sprintf("  %d of %s done, %s", b.done, plural(b.total, "step"), Took(now.Sub(b.began)))
	if b.stopping != "" {
		return v.term.Notice(cut("  "+b.stopping+"; Ctrl-C again cuts what still runs", width-1))
	}
	return v.term.Quiet(cut(s, width-1))
}
