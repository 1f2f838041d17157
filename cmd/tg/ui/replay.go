package ui

import (
	"fmt"
	"strings"

	"github.com/tengil/tengil/engine"
)

// masked stands in a replayable line where a secret was. A shell that comes to it
// says so and, reading a script, ends.
const masked = `"${TENGIL_SECRET:?a secret stood here, which no log holds}"`

// Replay returns argv as a line of shell that runs the same again: bytes that a
// terminal would obey are escaped, and where a secret was masked the line fails.
func Replay(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		var parts []string
		for j, piece := range strings.Split(a, engine.Masked) {
			if j > 0 {
				parts = append(parts, masked)
			}
			if piece != "" || a == "" {
				parts = append(parts, replayWord(piece))
			}
		}
		words[i] = strings.Join(parts, "")
	}
	return strings.Join(words, " ")
}

// OneLine returns argv as Replay does, for reading: what is masked stays so.
func OneLine(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = replayWord(a)
	}
	return strings.Join(words, " ")
}

// NoReplay returns a line of shell that fails and says why.
func NoReplay(why string) string {
	return `: "${TENGIL_CONTENT:?` + strings.Map(func(r rune) rune {
		if strings.ContainsRune("\"$`\\}!\n", r) {
			return '_'
		}
		return r
	}, clean(why)) + `}"`
}

// replayWord quotes a word; $'…' where it holds what must not reach a terminal.
func replayWord(s string) string {
	if clean(s) == s && !strings.Contains(s, "\n") {
		return quote(s)
	}
	var b strings.Builder
	b.WriteString("$'")
	for _, c := range []byte(s) {
		switch {
		case c == '\'' || c == '\\':
			b.WriteString(`\` + string(c))
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteString("'")
	return b.String()
}
