package ui

import (
	"errors"
	"os"
	"regexp"
	"sync"

	"golang.org/x/term"

	"github.com/tengil/tengil/engine"
)

// Talks reports whether a person can talk to a program through tg: what is typed
// comes from a terminal and what is shown goes to one.
func (t *Terminal) Talks() bool {
	in, out, ok := t.files()
	return ok && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd()))
}

func (t *Terminal) files() (in, out *os.File, ok bool) {
	in, inOK := t.In.(*os.File)
	out, outOK := t.Raw.(*os.File)
	return in, out, inOK && outOK
}

var termType = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9.+_-]{0,60}$`)
})

// Talk hands the terminal over to a program on a node: every key reaches that,
// Ctrl-C too. The caller must call done to have it back.
func (t *Terminal) Talk(typ string) (handed *engine.Terminal, done func(), err error) {
	in, out, ok := t.files()
	if !ok || !t.Talks() {
		return nil, nil, errors.New("this is no terminal")
	}
	if !termType().MatchString(typ) {
		typ = "dumb"
	}
	size := func() engine.WindowSize {
		cols, rows := sizeOf(out)
		return engine.WindowSize{Rows: rows, Cols: cols}
	}
	was, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, nil, err
	}
	resized, stop := watchSize(size)
	return &engine.Terminal{Type: typ, Size: size(), Resized: resized}, func() {
		stop()
		_ = term.Restore(int(in.Fd()), was) // there is nothing to do about a terminal that is gone
	}, nil
}
