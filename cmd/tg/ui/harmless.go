package ui

import (
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/tengil/tengil/engine"
)

// A harmless writer lets nothing through that a terminal would obey but line
// ends, tabs and colours: names, notes and what a program on the node said may
// come from an image or from somebody else's container.
type harmless struct{ io.Writer }

// colour is the only sequence that tg itself writes to such a writer.
var colour = regexp.MustCompile(`^\x1b\[[0-9;]{0,8}m`)

// Write implements io.Writer; it counts what it was given, not what it wrote.
func (h harmless) Write(p []byte) (int, error) {
	if _, err := io.WriteString(h.Writer, clean(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// clean replaces what a terminal would obey by a dot.
func clean(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		if c := colour.FindString(s); c != "" {
			b.WriteString(c)
			s = s[len(c):]
			continue
		}
		i := strings.IndexFunc(s, obeyed)
		switch {
		case i < 0:
			b.WriteString(s)
			s = ""
		case i > 0:
			b.WriteString(s[:i])
			s = s[i:]
		default:
			_, n := utf8.DecodeRuneInString(s)
			b.WriteString("·")
			s = s[n:]
		}
	}
	return b.String()
}

// obeyed reports whether a terminal would do something on r instead of showing it,
// or show nothing.
func obeyed(r rune) bool { return r != '\n' && r != '\t' && engine.Misleads(r) }
