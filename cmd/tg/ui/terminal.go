// Package ui draws what tg shows: tables, plans, the progress of a run and its
// end, for people on a terminal, as plain lines elsewhere, as JSON for programs.
// It alone knows about widths, colours and cursors.
package ui

import (
	"io"
	"os"

	"golang.org/x/term"
)

// A Terminal is where a command reads and writes, and what can be done there.
type Terminal struct {
	In       io.Reader
	Out, Err io.Writer
	// Raw and RawErr are Out and Err for what must arrive as it is: files, and what
	// a program in a container writes. nil means Out and Err.
	Raw, RawErr io.Writer
	Width       int  // columns of Out; 0 when it is no terminal: nothing is cut
	Height      int  // lines of Out; 0 when it is no terminal
	Color       bool // Out shows colours
	Live        bool // Out can be redrawn in place
	// Prompt is where questions go: the terminal that In is, even when Out and Err
	// are not. nil when nobody can answer.
	Prompt io.Writer
	// Fits reports how large Out is now, so that a resized window is drawn right;
	// nil means Width and Height.
	Fits func() (width, height int)
}

// Open finds out what the three files are. NO_COLOR (any value) turns colours
// off, TERM=dumb turns colours and redrawing off.
func Open(in, out, err *os.File, getenv func(string) string) *Terminal {
	t := &Terminal{In: in, Out: harmless{out}, Err: harmless{err}, Raw: out, RawErr: err}
	dumb := getenv("TERM") == "dumb" || getenv("TERM") == ""
	if term.IsTerminal(int(out.Fd())) {
		t.Width, t.Height = sizeOf(out)
		t.Live = !dumb
		t.Color = !dumb && getenv("NO_COLOR") == ""
		t.Fits = func() (int, int) { return sizeOf(out) }
	}
	if term.IsTerminal(int(in.Fd())) {
		t.Prompt = promptTo(err)
	}
	return t
}

// promptTo returns where a question is seen: the controlling terminal, as Err may
// go elsewhere; nil if there is none.
func promptTo(err *os.File) io.Writer {
	// It stays open as long as the process, like the standard streams.
	if tty, openErr := os.OpenFile("/dev/tty", os.O_WRONLY, 0); openErr == nil {
		return tty
	}
	if term.IsTerminal(int(err.Fd())) {
		return err
	}
	return nil
}

// RawOut returns Raw, or Out where it is nil.
func (t *Terminal) RawOut() io.Writer {
	if t.Raw != nil {
		return t.Raw
	}
	return t.Out
}

// RawErrOut returns RawErr, or Err where it is nil.
func (t *Terminal) RawErrOut() io.Writer {
	if t.RawErr != nil {
		return t.RawErr
	}
	return t.Err
}

// Asks reports whether somebody can answer.
func (t *Terminal) Asks() bool { return t.Prompt != nil }

// sizeOf returns the size of a terminal, 80 by 24 for one that does not tell.
func sizeOf(f *os.File) (width, height int) {
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil || w <= 0 || h <= 0 {
		return 80, 24
	}
	return w, h
}

func (t *Terminal) size() (width, height int) {
	if t.Fits != nil {
		return t.Fits()
	}
	return t.Width, t.Height
}

// A tint is one of the few colours that tg uses, each with one meaning.
type tint string

const (
	good   tint = "32" // made, healthy
	notice tint = "33" // changes, waits, warns
	bad    tint = "31" // removed, failed, refused
	quiet  tint = "2"  // beside the point
	strong tint = "1"  // what to look at
)

// tinted returns s in a colour, if the terminal shows any.
func (t *Terminal) tinted(c tint, s string) string {
	if !t.Color || c == "" || s == "" {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}

// Strong returns s so that it stands out.
func (t *Terminal) Strong(s string) string { return t.tinted(strong, s) }

// Quiet returns s so that it stands back.
func (t *Terminal) Quiet(s string) string { return t.tinted(quiet, s) }

// Good returns s as something that is right.
func (t *Terminal) Good(s string) string { return t.tinted(good, s) }

// Bad returns s as something that is wrong.
func (t *Terminal) Bad(s string) string { return t.tinted(bad, s) }

// Notice returns s as something to mind.
func (t *Terminal) Notice(s string) string { return t.tinted(notice, s) }

// labels are the colours in which things stand apart that are of one kind.
var labels = []tint{"36", "33", "32", "35", "34", "96", "93", "92", "95", "94"}

// Label returns s in the colour of the i-th of several things.
func (t *Terminal) Label(i int, s string) string { return t.tinted(labels[max(i, 0)%len(labels)], s) }
