package ui

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// A Meter shows how much of something has gone through it, in place, where Out can
// be redrawn; elsewhere it shows nothing.
type Meter struct {
	term  *Terminal
	what  string
	total int64 // 0: not known
	began time.Time

	mu    sync.Mutex // who reads may do so a little longer than its owner waits
	done  int64
	drawn time.Time
	ended bool
}

// Meter returns one that has seen nothing yet.
func (t *Terminal) Meter(what string, total int64) *Meter {
	return &Meter{term: t, what: what, total: total, began: time.Now()}
}

// Reader returns r, metered.
func (m *Meter) Reader(r io.Reader) io.Reader { return metered{r, m} }

type metered struct {
	io.Reader
	*Meter
}

func (m metered) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.add(int64(n))
	return n, err
}

func (m *Meter) add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += n
	now := time.Now()
	if m.ended || !m.term.Live || now.Sub(m.drawn) < 200*time.Millisecond || now.Sub(m.began) < 500*time.Millisecond {
		return
	}
	m.drawn = now
	text := "  " + m.what + "  " + Bytes(m.done)
	if m.total > 0 {
		text += " of " + Bytes(m.total)
	}
	if s := now.Sub(m.began).Seconds(); s > 0 {
		text += ", " + Bytes(int64(float64(m.done)/s)) + "/s"
	}
	width, _ := m.term.size()
	_, _ = fmt.Fprint(m.term.RawOut(), "\r\x1b[K"+clean(cut(text, width-1))) // it shows at the next try
}

// End removes what is drawn.
func (m *Meter) End() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	if !m.drawn.IsZero() {
		_, _ = fmt.Fprint(m.term.RawOut(), "\r\x1b[K")
	}
}
