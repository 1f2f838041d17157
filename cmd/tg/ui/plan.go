package ui

import (
	"fmt"
	"strings"
)

// symbols are the first words of a plan's lines that say what happens.
var symbols = map[string]tint{
	"+": good,
	"~": notice,
	"±": notice,
	"-": bad,
	"!": bad,
}

// Plan writes the text of a plan, coloured line by line by the symbol that it
// begins with. Without colours it is the text itself.
func (t *Terminal) Plan(text string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		word, _, _ := strings.Cut(strings.TrimLeft(line, " "), " ")
		fmt.Fprintln(t.Out, t.tinted(symbols[word], line))
	}
}
