package engine

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Pos is a place in a recipe; the zero Pos means "not from a recipe".
type Pos struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Col  int    `json:"col"`
}

// String returns "file:line:col", or "" for the zero Pos.
func (p Pos) String() string {
	if p == (Pos{}) {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// An Error says what went wrong, where, and what to do about it.
type Error struct {
	Pos  Pos
	Via  []Pos  // "called from", innermost first
	Step StepID // "" before a step exists
	Err  error  // the cause; never nil
	Hint string // what the reader can do; "" if there is nothing useful
}

// maxCause is how many bytes of a cause Error shows. Causes repeat what was got,
// which may be a megabyte of a recipe or what a program printed.
const maxCause = 1000

// Error returns the message in the order where, which step, what happened, called
// from, hint. What happened is cut to maxCause and made harmless, see Shown.
func (e *Error) Error() string {
	var b strings.Builder
	for _, s := range []string{e.Pos.String(), string(e.Step)} {
		if s != "" {
			b.WriteString(s + ": ")
		}
	}
	b.WriteString(Shown(e.Err.Error(), maxCause))
	for _, v := range e.Via {
		b.WriteString("\n  called from " + v.String())
	}
	if e.Hint != "" {
		b.WriteString("\n  hint: " + strings.ReplaceAll(e.Hint, "\n", "\n      "))
	}
	return b.String()
}

// Shown returns s for people to read: of more than max bytes the middle is left
// out, and what is no printable character, tab or line end is escaped as in Go.
func Shown(s string, max int) string {
	if len(s) > max {
		head, tail := max*2/3, max/3
		s = strings.ToValidUTF8(s[:head], "") + fmt.Sprintf(" …%d bytes left out… ", len(s)-head-tail) + strings.ToValidUTF8(s[len(s)-tail:], "")
	}
	plain := func(r rune) bool { return unicode.IsPrint(r) || r == '\n' || r == '\t' }
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case plain(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// WithHint returns err with a hint that the loops show under the message. The
// innermost hint wins. It returns nil for a nil err.
func WithHint(err error, hint string) error {
	if err == nil || hint == "" || HintOf(err) != "" {
		return err
	}
	return &hinted{err, hint}
}

// HintOf returns the hint attached to err by WithHint, or "".
func HintOf(err error) string {
	var h *hinted
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}

type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// ErrTransient marks what may succeed when simply tried again: a lock timeout, a
// registry that answers 429 or 5xx, a dropped connection. Match with errors.Is.
var ErrTransient = errors.New("transient")

// ErrForwarding is wrapped by Host.Dial where the node's SSH server lets nobody
// connect through it, which does not change by itself. Match with errors.Is.
var ErrForwarding = errors.New("forwarding is not allowed")

// Transient wraps err so that errors.Is(err, ErrTransient) holds; the text stays.
func Transient(err error) error { return &transient{err} }

type transient struct{ error }

func (t *transient) Unwrap() []error { return []error{t.error, ErrTransient} }

// A BusyError says that the other side answered, and asks to be asked later. It is
// transient.
type BusyError struct {
	Err   error
	After time.Duration // it wants to be left alone for so long; 0 if it did not say
}

func (e *BusyError) Error() string { return e.Err.Error() }

// Unwrap makes errors.Is(err, ErrTransient) hold.
func (e *BusyError) Unwrap() []error { return []error{e.Err, ErrTransient} }
