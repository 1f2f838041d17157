package pct

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// A LogReader reads the logs of containers as they grow, while LXC moves a full one
// aside and begins anew. It asks the node a question at a time and leaves nothing
// running there.
type LogReader struct{ logs []*readLog }

// A readLog is how far one log has been read.
type readLog struct {
	name   string // of the container
	log    Log
	there  bool   // the file has been seen
	inode  uint64 // of it
	offset int64  // in it
	rest   []byte // begins a line that has not ended
}

// LogText is what a log has that was not read before.
type LogText struct {
	Container string
	Lines     []string
	Lost      bool // the log has grown faster than it was read
	Missing   bool // there is no log yet
	// Written is when the log was last written to, Before when its older part was:
	// what is in the log itself came after that. Zero where nobody knows.
	Written, Before time.Time
}

// Add has the log of a container read, too.
func (r *LogReader) Add(name string, l Log) {
	r.logs = append(r.logs, &readLog{name: name, log: l})
}

func (l *readLog) older() string { return l.log.File + ".1" }

// A fileNow is a file as stat tells.
type fileNow struct {
	inode   uint64
	size    int64
	written time.Time
}

func (r *LogReader) statAsk() engine.Ask {
	argv := []string{"stat", "-c", "%i %s %Y %n"}
	for _, l := range r.logs {
		argv = append(argv, l.log.File)
		if l.log.Own {
			argv = append(argv, l.older())
		}
	}
	return engine.AskRun(argv...)
}

// files parses the answer; a file that is missing is left out of it.
func (r *LogReader) files(a *engine.Answers) (map[string]fileNow, error) {
	ans := a.Get(r.statAsk())
	if ans.Err != nil && !isExit(ans.Err) {
		return nil, ans.Err
	}
	files := map[string]fileNow{}
	for line := range strings.Lines(string(ans.Result.Stdout)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
		if len(f) != 4 {
			return nil, fmt.Errorf("stat: got %q, wanted inode, size, time and name", line)
		}
		inode, err1 := strconv.ParseUint(f[0], 10, 64)
		size, err2 := strconv.ParseInt(f[1], 10, 64)
		at, err3 := strconv.ParseInt(f[2], 10, 64)
		if err1 != nil || err2 != nil || err3 != nil {
			return nil, fmt.Errorf("stat: got %q, wanted inode, size, time and name", line)
		}
		files[f[3]] = fileNow{inode, size, time.Unix(at, 0)}
	}
	return files, nil
}

func (r *LogReader) look(ctx context.Context, h engine.Host) (map[string]fileNow, error) {
	a, err := h.Batch(ctx, []engine.Ask{r.statAsk()})
	if err != nil {
		return nil, err
	}
	return r.files(a)
}

// A piece is what is read of a file: from a byte on.
type piece struct {
	file string
	from int64
}

func (p piece) ask() engine.Ask {
	return engine.AskRun("tail", "-c", "+"+strconv.FormatInt(p.from+1, 10), p.file)
}

// fetch reads pieces of logs, by log; it leaves those out of which a file was replaced
// meanwhile.
func (r *LogReader) fetch(ctx context.Context, h engine.Host, was map[string]fileNow, wanted map[*readLog][]piece) (map[*readLog][][]byte, error) {
	asks := []engine.Ask{r.statAsk()}
	for _, pieces := range wanted {
		for _, p := range pieces {
			asks = append(asks, p.ask())
		}
	}
	a, err := h.Batch(ctx, asks)
	if err != nil {
		return nil, err
	}
	now, err := r.files(a)
	if err != nil {
		return nil, err
	}
	out := map[*readLog][][]byte{}
next:
	for l, pieces := range wanted {
		for _, p := range pieces {
			if now[p.file].inode != was[p.file].inode {
				continue next
			}
		}
		texts := [][]byte{}
		for _, p := range pieces {
			ans := a.Get(p.ask())
			if isExit(ans.Err) {
				continue next // it is gone
			}
			if ans.Err != nil {
				return nil, ans.Err
			}
			texts = append(texts, ans.Result.Stdout)
		}
		out[l] = texts
	}
	return out, nil
}

// lineGuess is how long a line is taken to be before any was seen.
const lineGuess = 256

// First returns the last lines of each log; all of them if lines is below 0.
func (r *LogReader) First(ctx context.Context, h engine.Host, lines int) ([]LogText, error) {
	done := map[*readLog]LogText{}
	window := int64(max(lines, 1)) * lineGuess
	for tries := 0; len(done) < len(r.logs) && tries < 20; tries++ {
		now, err := r.look(ctx, h)
		if err != nil {
			return nil, err
		}
		wanted := map[*readLog][]piece{}
		for _, l := range r.logs {
			if _, ok := done[l]; ok {
				continue
			}
			current, there := now[l.log.File]
			if !there {
				done[l] = LogText{Container: l.name, Missing: true}
				continue
			}
			from, over := int64(0), int64(-1) // over is the window's part in the older file
			if lines >= 0 {
				from = max(0, current.size-window)
				over = window - current.size
			}
			if old, ok := now[l.older()]; ok && l.log.Own && from == 0 && over != 0 {
				start := int64(0)
				if lines >= 0 {
					start = max(0, old.size-over)
				}
				wanted[l] = append(wanted[l], piece{l.older(), start})
			}
			wanted[l] = append(wanted[l], piece{l.log.File, from})
		}
		if len(wanted) == 0 {
			break
		}
		got, err := r.fetch(ctx, h, now, wanted)
		if err != nil {
			return nil, err
		}
		for l, texts := range got {
			pieces := wanted[l]
			_, older := now[l.older()]
			whole := pieces[0].from == 0 && (len(pieces) == 2 || !older || !l.log.Own)
			text := bytes.Join(texts, nil)
			if n := bytes.Count(text, []byte("\n")); !whole && n <= lines {
				continue // the window is too small
			}
			if !whole {
				text = text[bytes.IndexByte(text, '\n')+1:]
			}
			last := len(pieces) - 1
			l.there, l.inode, l.offset = true, now[l.log.File].inode, pieces[last].from+int64(len(texts[last]))
			t := LogText{Container: l.name, Lines: l.take(text), Written: now[l.log.File].written, Before: now[l.older()].written}
			if lines >= 0 {
				t.Lines = t.Lines[max(0, len(t.Lines)-lines):]
			}
			done[l] = t
		}
		window *= 8
	}
	out := make([]LogText, 0, len(r.logs))
	for _, l := range r.logs {
		t, ok := done[l]
		if !ok {
			return nil, fmt.Errorf("the log of %s grows faster than it can be read", l.name)
		}
		out = append(out, t)
	}
	return out, nil
}

// Next returns what the logs have got since.
func (r *LogReader) Next(ctx context.Context, h engine.Host) ([]LogText, error) {
	now, err := r.look(ctx, h)
	if err != nil {
		return nil, err
	}
	wanted, lost := map[*readLog][]piece{}, map[*readLog]bool{}
	for _, l := range r.logs {
		current, there := now[l.log.File]
		old, rotated := now[l.older()]
		rotated = rotated && l.log.Own
		switch {
		case !there:
		case l.there && current.inode == l.inode:
			if current.size < l.offset { // somebody has emptied it
				l.offset, l.rest = 0, nil
			}
			if current.size > l.offset {
				wanted[l] = []piece{{l.log.File, l.offset}}
			}
		case l.there && rotated && old.inode == l.inode:
			wanted[l] = []piece{{l.older(), l.offset}, {l.log.File, 0}}
		default:
			if lost[l] = l.there; rotated {
				wanted[l] = []piece{{l.older(), 0}}
			}
			wanted[l] = append(wanted[l], piece{l.log.File, 0})
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	got, err := r.fetch(ctx, h, now, wanted)
	if err != nil {
		return nil, err
	}
	var out []LogText
	for _, l := range r.logs {
		texts, ok := got[l]
		if !ok {
			continue // it was moved aside meanwhile: next time
		}
		if lost[l] {
			l.rest = nil
		}
		last := len(texts) - 1
		l.there, l.inode, l.offset = true, now[l.log.File].inode, wanted[l][last].from+int64(len(texts[last]))
		if lines := l.take(bytes.Join(texts, nil)); len(lines) > 0 || lost[l] {
			out = append(out, LogText{Container: l.name, Lines: lines, Lost: lost[l], Written: now[l.log.File].written})
		}
	}
	return out, nil
}

// Rest returns what begins lines that have not ended.
func (r *LogReader) Rest() []LogText {
	var out []LogText
	for _, l := range r.logs {
		if len(l.rest) > 0 {
			out = append(out, LogText{Container: l.name, Lines: []string{pve.ConsoleLine(string(l.rest))}})
		}
		l.rest = nil
	}
	return out
}

// maxLine bounds what is kept of a line that does not end.
const maxLine = 64 << 10

// take returns the lines that text ends, as plain text.
func (l *readLog) take(text []byte) []string {
	text = append(l.rest, text...)
	l.rest = nil
	var lines []string
	for len(text) > 0 {
		line, rest, ended := bytes.Cut(text, []byte("\n"))
		if !ended && len(line) < maxLine {
			l.rest = bytes.Clone(line)
			break
		}
		lines = append(lines, pve.ConsoleLine(string(line)))
		text = rest
	}
	return lines
}
