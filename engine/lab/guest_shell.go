package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// talk is a shell that a person types to: it asks for a line, runs it and goes on
// until exit or the end of input.
func (g *guestProc) talk() int {
	r, err := g.runner(nil)
	if err != nil {
		return g.failf(2, "sh: %v", err)
	}
	exit := 0
	for ps, text := "# ", ""; ; {
		fmt.Fprint(g.stderr, ps)
		line, err := readLine(g.stdin)
		if err != nil {
			return exit
		}
		text += line
		file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(text), "")
		if err != nil && syntax.IsIncomplete(err) {
			ps = "> "
			continue
		}
		ps, text = "# ", ""
		if err != nil {
			exit = g.failf(2, "sh: syntax error")
			continue
		}
		err = r.Run(g.ctx, file)
		var status interp.ExitStatus
		switch {
		case errors.As(err, &status):
			exit = int(status)
		case err != nil:
			return 2
		default:
			exit = 0
		}
		if r.Exited() || g.ctx.Err() != nil {
			return exit
		}
	}
}

// readLine reads one line and no more, since what follows may be for a program
// that the line starts.
func readLine(r io.Reader) (string, error) {
	var line bytes.Buffer
	for b := make([]byte, 1); ; {
		n, err := r.Read(b)
		if n == 1 {
			line.WriteByte(b[0])
			if b[0] == '\n' {
				return line.String(), nil
			}
		}
		if err != nil {
			return "", err
		}
	}
}

// guestStty prints the size of the terminal: stty size.
func guestStty(g *guestProc) int {
	t := ttyOf(g.ctx)
	if t == nil {
		return g.failf(1, "stty: standard input: Inappropriate ioctl for device")
	}
	if len(g.argv) != 2 || g.argv[1] != "size" {
		return g.failf(1, "stty: the lab models 'stty size' only")
	}
	rows, cols := t.size()
	fmt.Fprintf(g.stdout, "%d %d\n", rows, cols)
	return 0
}

// guestTty says whether there is a terminal.
func guestTty(g *guestProc) int {
	if ttyOf(g.ctx) == nil {
		fmt.Fprintln(g.stdout, "not a tty")
		return 1
	}
	fmt.Fprintln(g.stdout, "/dev/pts/1")
	return 0
}

// onTerminal reports whether a program's input is a terminal.
func (g *guestProc) onTerminal() bool {
	_, file := g.stdin.(*os.File)
	return file && ttyOf(g.ctx) != nil
}
