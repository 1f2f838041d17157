package pve

import (
	"regexp"
	"strings"
)

// shellQuote is shell_quote of Perl's String::ShellQuote for one word, as PVE
// calls it: safe characters stay bare, other words go into single quotes, a
// single quote is written '\” and several in a row '"”"'. A word with "=" is
// quoted, as it could be an assignment.
func shellQuote(s string) string {
	if s == "" {
		return "''"
	}
	if strings.IndexFunc(s, isShellUnsafe) < 0 {
		return s
	}
	q := strings.ReplaceAll(s, "'", `'\''`)
	q = regexp.MustCompile(`('\\''){2,}`).ReplaceAllStringFunc(q, func(run string) string {
		return `'"` + strings.Repeat("'", len(run)/4) + `"'`
	})
	return strings.TrimSuffix(strings.TrimPrefix("'"+q+"'", "''"), "''")
}

func isShellUnsafe(r rune) bool {
	letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	return !letter && !('0' <= r && r <= '9') && !strings.ContainsRune("_!%+,-./:@^", r)
}
