package lab

import (
	"bytes"
	"context"
	"io"
	"sync"

	"golang.org/x/crypto/ssh"
)

// A tty is the terminal of a session in line mode: what is typed is echoed, can be
// corrected, and reaches the program when the line has ended.
type tty struct {
	mu         sync.Mutex
	rows, cols uint32
}

type ttyKey struct{}

// ttyOf returns the terminal of the session that a program runs in; nil if it has
// none.
func ttyOf(ctx context.Context) *tty {
	t, _ := ctx.Value(ttyKey{}).(*tty)
	return t
}

// openTerminal answers pty-req (RFC 4254, 6.2).
func (s *session) openTerminal(payload []byte) bool {
	var want struct {
		Term          string
		Cols, Rows    uint32
		Width, Height uint32
		Modes         string
	}
	if ssh.Unmarshal(payload, &want) != nil {
		return false
	}
	s.tty = &tty{rows: want.Rows, cols: want.Cols}
	s.ctx = context.WithValue(s.ctx, ttyKey{}, s.tty)
	return true
}

// changed takes a window-change (RFC 4254, 6.7).
func (t *tty) changed(payload []byte) bool {
	var now struct{ Cols, Rows, Width, Height uint32 }
	if ssh.Unmarshal(payload, &now) != nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows, t.cols = now.Rows, now.Cols
	return true
}

func (t *tty) size() (rows, cols uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rows, t.cols
}

// The keys that the line discipline heeds.
const (
	keyInterrupt = 0x03 // Ctrl-C
	keyEnd       = 0x04 // Ctrl-D
	keyBackspace = 0x08
	keyKill      = 0x15 // Ctrl-U
	keyDelete    = 0x7f
)

// edit passes to dst the lines that are typed, and echoes. It returns at the end
// that is typed on an empty line, or with the first error.
func (t *tty) edit(dst io.Writer, typed io.Reader, echo io.Writer) error {
	var line []byte
	buf := make([]byte, 256)
	for {
		n, err := typed.Read(buf)
		for _, c := range buf[:n] {
			var shown []byte
			ended := false
			switch {
			case c == '\r' || c == '\n':
				line, shown, ended = append(line, '\n'), []byte("\n"), true
			case c == keyEnd && len(line) == 0:
				return nil
			case c == keyEnd:
				ended = true
			case c == keyInterrupt:
				// The model has no signals for a program that reads; it gets an empty line.
				line, shown, ended = []byte("\n"), []byte("^C\n"), true
			case c == keyBackspace || c == keyDelete:
				if len(line) > 0 {
					line, shown = line[:len(line)-1], []byte("\b \b")
				}
			case c == keyKill:
				shown, line = bytes.Repeat([]byte("\b \b"), len(line)), nil
			default:
				line, shown = append(line, c), []byte{c}
			}
			if _, err := echo.Write(shown); err != nil {
				return err
			}
			if ended {
				if _, err := dst.Write(line); err != nil {
					return err
				}
				line = nil
			}
		}
		if err != nil {
			return err
		}
	}
}

// A crlf writes line ends as a terminal wants them.
type crlf struct{ io.Writer }

func (c crlf) Write(b []byte) (int, error) {
	if _, err := c.Writer.Write(bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))); err != nil {
		return 0, err
	}
	return len(b), nil
}
