package pve

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnwritable is wrapped by EncodeEntrypoint for a command line that LXC's
// syntax cannot express.
var ErrUnwritable = errors.New("cannot be written in LXC's command syntax")

// EncodeEntrypoint writes argv in the syntax that LXC itself splits
// (lxc_string_split_quoted in string_utils.c): words separated by white space,
// a word that starts with a quote runs to the next same quote, no escapes. An
// argument that needs quotes and holds both kinds has no spelling; put such a
// command in a file. The config parser removes a pair of quotes around the whole
// value; where that would happen, one end gets the other kind, else /usr/bin/env
// is put in front.
func EncodeEntrypoint(argv []string) (string, error) {
	if len(argv) == 0 {
		return "", errors.New("entrypoint is empty")
	}
	if argv[0] == "" {
		return "", errors.New("entrypoint starts with an empty word")
	}
	words := make([]string, len(argv))
	for i, arg := range argv {
		w, err := quoteWord(arg)
		if err != nil {
			return "", fmt.Errorf("word %d of the entrypoint, %q: %w", i+1, arg, err)
		}
		words[i] = w
	}
	s := strings.Join(words, " ")
	if !outerQuoted(s) {
		return s, nil
	}
	first, last := 0, len(argv)-1
	if q := requote(argv[first], s[0]); q != "" && last > 0 {
		words[first] = q
		return strings.Join(words, " "), nil
	}
	if q := requote(argv[last], s[0]); q != "" && last > 0 {
		words[last] = q
		return strings.Join(words, " "), nil
	}
	if strings.HasPrefix(argv[first], "-") || strings.Contains(argv[first], "=") {
		return "", fmt.Errorf("entrypoint starts with %q, which /usr/bin/env would take for its own: %w", argv[first], ErrUnwritable)
	}
	return "/usr/bin/env " + s, nil
}

func quoteWord(arg string) (string, error) {
	if r, i := ControlChars(arg); i >= 0 {
		return "", fmt.Errorf("holds the control character %U at byte %d", r, i)
	}
	bare := arg != "" && !strings.ContainsFunc(arg, isLXCSpace) && arg[0] != '\'' && arg[0] != '"'
	switch {
	case bare:
		return arg, nil
	case !strings.Contains(arg, `"`):
		return `"` + arg + `"`, nil
	case !strings.Contains(arg, `'`):
		return `'` + arg + `'`, nil
	}
	return "", fmt.Errorf("holds both kinds of quotes: %w", ErrUnwritable)
}

// requote quotes arg with the other kind than q, "" if it cannot.
func requote(arg string, q byte) string {
	other := `"`
	if q == '"' {
		other = `'`
	}
	if strings.Contains(arg, other) {
		return ""
	}
	return other + arg + other
}

// outerQuoted reports whether LXC's config parser would remove a pair of quotes
// around s (parse_line in confile.c).
func outerQuoted(s string) bool {
	return len(s) >= 2 && s[0] == s[len(s)-1] && (s[0] == '"' || s[0] == '\'')
}

func isLXCSpace(r rune) bool { return strings.ContainsRune(" \t\n\v\f\r", r) }

// SplitEntrypoint splits an entrypoint value as LXC does, the removal of outer
// quotes included.
func SplitEntrypoint(s string) []string {
	s = strings.TrimFunc(s, isLXCSpace)
	if outerQuoted(s) {
		s = s[1 : len(s)-1]
	}
	var out []string
	for {
		s = strings.TrimLeftFunc(s, isLXCSpace)
		if s == "" {
			return out
		}
		if s[0] == '"' || s[0] == '\'' {
			end := strings.IndexByte(s[1:], s[0])
			if end < 0 { // an unterminated quote drops the rest
				return out
			}
			out = append(out, s[1:1+end])
			s = s[end+2:]
			continue
		}
		end := strings.IndexFunc(s, isLXCSpace)
		if end < 0 {
			return append(out, s)
		}
		out = append(out, s[:end])
		s = s[end:]
	}
}

// ShellQuoteEntrypoint writes argv as PVE does for an image's command, with
// Perl's String::ShellQuote. What it makes of a quote is not what LXC splits.
func ShellQuoteEntrypoint(argv []string) string {
	words := make([]string, len(argv))
	for i, arg := range argv {
		words[i] = shellQuote(arg)
	}
	return strings.Join(words, " ")
}
