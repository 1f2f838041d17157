package ui

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mattn/go-runewidth"

	"github.com/tengil/tengil/engine"
)

// Outputs writes the results of an app, the url last and so that it is seen.
func (t *Terminal) Outputs(outs []engine.PlanOutput) {
	if len(outs) == 0 {
		return
	}
	names := 0
	for _, o := range outs {
		names = max(names, runewidth.StringWidth(o.Name))
	}
	fmt.Fprintln(t.Out)
	write := func(o engine.PlanOutput) {
		value := o.Value.String()
		if o.Name == "url" {
			value = t.Strong(value)
		}
		line := "  " + fit(o.Name, names) + "  " + value
		if o.Doc != "" {
			line += "  " + t.Quiet(o.Doc)
		}
		fmt.Fprintln(t.Out, line)
	}
	for _, o := range outs {
		if o.Name != "url" {
			write(o)
		}
	}
	for _, o := range outs {
		if o.Name == "url" {
			write(o)
		}
	}
}

// PhaseLine returns "pull 12s, create 4.1s", or "" for none.
func PhaseLine(phases []Phase) string {
	var parts []string
	for _, p := range phases {
		parts = append(parts, p.Name+" "+Took(p.Took))
	}
	return strings.Join(parts, ", ")
}

// Failure writes what one step's failure was, to Err: where, what, the whole
// command that failed, and the hint.
func (t *Terminal) Failure(err error) {
	head, rest, _ := strings.Cut(err.Error(), "\n")
	fmt.Fprintln(t.Err, t.errTint(bad, head))
	if rest != "" {
		fmt.Fprintln(t.Err, rest)
	}
	var exit *engine.ExitError
	if errors.As(err, &exit) && len(exit.Argv) > 3 {
		fmt.Fprintln(t.Err, "  command: "+OneLine(exit.Argv))
	}
}

// errTint colours what goes to Err, which shows colours where Out does and
// somebody looks at both.
func (t *Terminal) errTint(c tint, s string) string {
	if !t.Asks() {
		return s
	}
	return t.tinted(c, s)
}

// Command returns argv so that it can be read, and pasted into a shell, again.
func Command(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = quote(a)
	}
	return strings.Join(words, " ")
}

func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@%+", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
