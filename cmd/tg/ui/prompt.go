package ui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// ErrNobody is returned by questions when nobody can answer: input is
// no terminal.
var ErrNobody = errors.New("nobody to ask: not on a terminal")

// Ask writes a question to Prompt and returns the line that was answered, trimmed.
// The end of input is io.ErrUnexpectedEOF. When ctx ends first, so does Ask; the
// read of the terminal, which nothing can call off, is left behind.
func (t *Terminal) Ask(ctx context.Context, question string) (string, error) {
	if !t.Asks() {
		return "", ErrNobody
	}
	fmt.Fprint(t.Prompt, question+" ")
	type answer struct {
		line string
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := readLine(t.In)
		read <- answer{line, err}
	}()
	select {
	case a := <-read:
		if a.err != nil {
			fmt.Fprintln(t.Prompt)
		}
		return strings.TrimSpace(a.line), a.err
	case <-ctx.Done():
		fmt.Fprintln(t.Prompt)
		return "", ctx.Err()
	}
}

// Confirm asks a question whose answer is no unless it is y or yes.
func (t *Terminal) Confirm(ctx context.Context, question string) (bool, error) {
	answer, err := t.Ask(ctx, question+" [y/N]")
	if err != nil {
		return false, err
	}
	answer = strings.ToLower(answer)
	return answer == "y" || answer == "yes", nil
}

// readLine reads up to a newline and not beyond it, so that the next question
// finds the rest.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for c := make([]byte, 1); ; {
		n, err := r.Read(c)
		switch {
		case n == 1 && c[0] == '\n':
			return string(line), nil
		case n == 1:
			line = append(line, c[0])
		case errors.Is(err, io.EOF) && len(line) > 0:
			return string(line), nil
		case errors.Is(err, io.EOF):
			return "", io.ErrUnexpectedEOF
		case err != nil:
			return "", err
		}
	}
}

// AskHidden asks for something that is not shown while it is typed.
func (t *Terminal) AskHidden(question string) ([]byte, error) {
	f, ok := t.In.(*os.File)
	if !t.Asks() || !ok {
		return nil, ErrNobody
	}
	fmt.Fprint(t.Prompt, question+" ")
	defer fmt.Fprintln(t.Prompt)
	return term.ReadPassword(int(f.Fd()))
}
