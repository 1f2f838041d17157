package sshhost

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxNoise is how much is kept of what comes before the first mark.
const maxNoise = 8 << 10

// A stream takes apart one output stream of a frame: what stands between its
// marks goes to body as it comes. It is used by one goroutine.
type stream struct {
	start   []byte
	held    []byte        // not yet decided on
	noise   []byte        // what came before the start, shortened
	begun   chan struct{} // closed when the start was seen
	started bool
	body    until
}

func newStream(m mark, sink io.Writer) *stream {
	return &stream{start: []byte(m.start()), begun: make(chan struct{}), body: until{end: []byte(m.end()), sink: sink}}
}

// ended reports whether the mark of the end was seen.
func (s *stream) ended() bool { return s.body.ended }

// Write takes what was read. It never fails.
func (s *stream) Write(p []byte) (int, error) {
	if s.started {
		return s.body.Write(p)
	}
	s.held = append(s.held, p...)
	i := bytes.Index(s.held, s.start)
	if i < 0 {
		drop := len(s.held) - suffixOf(s.held, s.start)
		s.noise = append(s.noise, s.held[:drop]...)
		s.noise = s.noise[:min(len(s.noise), maxNoise)]
		s.held = slices.Clone(s.held[drop:])
		return len(p), nil
	}
	rest := s.held[i+len(s.start):]
	s.started, s.noise, s.held = true, nil, nil
	close(s.begun)
	_, _ = s.body.Write(rest)
	return len(p), nil
}

// flush emits what is held when the stream ends without its mark.
func (s *stream) flush() {
	s.noise = append(s.noise, s.held...)
	s.held = nil
	s.body.flush()
}

// An until passes to sink what is written to it up to end, as it comes, and
// drops the rest, which a daemon left behind may have written.
type until struct {
	end  []byte
	sink io.Writer // may be nil

	held  []byte // may be the beginning of end
	ended bool
	err   error // the first error of sink; nothing more is written then
}

// Write never fails.
func (u *until) Write(p []byte) (int, error) {
	if u.ended {
		return len(p), nil
	}
	u.held = append(u.held, p...)
	if i := bytes.Index(u.held, u.end); i >= 0 {
		u.ended = true
		u.emit(u.held[:i])
		u.held = nil
		return len(p), nil
	}
	keep := suffixOf(u.held, u.end)
	u.emit(u.held[:len(u.held)-keep])
	u.held = append(u.held[:0], u.held[len(u.held)-keep:]...)
	return len(p), nil
}

// flush emits what is held when no more comes.
func (u *until) flush() {
	u.emit(u.held)
	u.held = nil
}

func (u *until) emit(p []byte) {
	if len(p) == 0 || u.err != nil || u.sink == nil {
		return
	}
	_, u.err = u.sink.Write(p)
}

// suffixOf returns the length of the longest end of p that mark begins with.
func suffixOf(p, mark []byte) int {
	for n := min(len(p), len(mark)-1); n > 0; n-- {
		if bytes.HasPrefix(mark, p[len(p)-n:]) {
			return n
		}
	}
	return 0
}

// maxOutput is how much a command's output is kept of, half from its beginning
// and half from its end.
const maxOutput = 16 << 20

// A capture keeps the beginning and the end of what is written to it.
type capture struct {
	limit int // 0 means maxOutput
	head  []byte
	tail  []byte // up to twice as long as kept, so that it is seldom moved
	lost  int64
}

// Write keeps p, or part of it. It never fails.
func (c *capture) Write(p []byte) (int, error) {
	half := c.half()
	n := min(len(p), half-len(c.head))
	c.head = append(c.head, p[:n]...)
	c.tail = append(c.tail, p[n:]...)
	if over := len(c.tail) - half; over > half {
		c.lost += int64(over)
		c.tail = append(c.tail[:0], c.tail[over:]...)
	}
	return len(p), nil
}

func (c *capture) half() int {
	if c.limit == 0 {
		return maxOutput / 2
	}
	return c.limit / 2
}

// Bytes returns what was kept, with a line that says how much is missing.
func (c *capture) Bytes() []byte {
	tail, lost := c.tail, c.lost
	if over := len(tail) - c.half(); over > 0 {
		tail, lost = tail[over:], lost+int64(over)
	}
	if lost == 0 {
		return append(c.head, tail...)
	}
	note := fmt.Sprintf("\n… %d bytes left out …\n", lost)
	return slices.Concat(c.head, []byte(note), tail)
}

// splitExit takes apart the standard error of a frame: what the program said, its
// status, and what was said after it.
func splitExit(m mark, stderr []byte) (said []byte, status int, after string, ok bool) {
	said, rest, ok := bytes.Cut(stderr, []byte(m.exit()))
	if !ok {
		return stderr, 0, "", false
	}
	line, tail, _ := strings.Cut(string(rest), "\n")
	if _, err := fmt.Sscanf(line, "%d", &status); err != nil {
		return said, 0, tail, false
	}
	return said, status, tail, true
}
