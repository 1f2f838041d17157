package recipe

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"go.starlark.net/syntax"

	"github.com/tengil/tengil/engine"
)

// syntaxError converts what the parser returns. The parser points behind the
// token that it cannot take; what is wrong is at its beginning, and what is likely
// missing, before it.
func syntaxError(err error, src []byte) error {
	var e syntax.Error
	if !errors.As(err, &e) {
		return err
	}
	out := &engine.Error{Pos: position(e.Pos), Err: errors.New(e.Msg)}
	m := gotToken.FindStringSubmatch(e.Msg)
	if m == nil {
		return out
	}
	lines := strings.Split(strings.ReplaceAll(string(src), "\r\n", "\n"), "\n")
	if at := tokenStart(lines, out.Pos, m[1]); at.Line > 0 {
		out.Pos = at
	}
	switch want := m[2]; {
	case m[1] == "end of file":
		if open := unclosed(lines); open != "" {
			out.Hint = open
		}
	case want == "','" && startsValue(m[1]):
		out.Hint = "a comma may be missing before it"
		if open := unclosed(lines); open != "" {
			out.Hint = open
		}
	}
	return out
}

// gotToken is how the parser names a token that it cannot take, and what it would.
var gotToken = regexp.MustCompile(`got ('.+?'|[a-z ]+)(?:, want (.+))?$`)

// startsValue reports whether a token can begin an argument or element.
func startsValue(token string) bool {
	return token == "identifier" || strings.HasSuffix(token, "literal") || strings.Contains("'(' '[' '{'", token)
}

// tokenStart returns where the token before pos begins, the zero Pos if that
// cannot be told.
func tokenStart(lines []string, pos engine.Pos, token string) engine.Pos {
	if token == "newline" && pos.Line > 1 && pos.Col == 1 && pos.Line-2 < len(lines) {
		pos.Line--
		pos.Col = len([]rune(strings.TrimRight(lines[pos.Line-1], " \t"))) + 1
		return pos
	}
	if pos.Line < 1 || pos.Line > len(lines) {
		return engine.Pos{}
	}
	line := []rune(lines[pos.Line-1])
	if pos.Col < 2 || pos.Col-1 > len(line) {
		return engine.Pos{}
	}
	before := line[:pos.Col-1]
	n := 0
	switch text := strings.Trim(token, "'"); {
	case token == "identifier", token == "int literal", token == "float literal":
		for n < len(before) && (before[len(before)-1-n] == '_' || before[len(before)-1-n] == '.' && token != "identifier" ||
			unicode.IsLetter(before[len(before)-1-n]) || unicode.IsDigit(before[len(before)-1-n])) {
			n++
		}
	case token == "string literal", token == "bytes literal":
		n = stringLength(before)
	case strings.HasSuffix(string(before), text):
		n = len([]rune(text))
	}
	if n == 0 {
		return engine.Pos{}
	}
	pos.Col -= n
	return pos
}

// stringLength returns how long the string is that ends the line, 0 if it does not
// begin there.
func stringLength(before []rune) int {
	end := len(before) - 1
	quote := before[end]
	if quote != '"' && quote != '\'' {
		return 0
	}
	for i := end - 1; i >= 0; i-- {
		if before[i] == quote && (i == 0 || before[i-1] != '\\') {
			return end - i + 1
		}
	}
	return 0
}

// unclosed says which bracket of a file is not closed, "" if all are. It knows
// comments and strings on one line; a file with others of either has no hint.
func unclosed(lines []string) string {
	type open struct {
		bracket rune
		line    int
		col     int
	}
	var stack []open
	if strings.Contains(strings.Join(lines, "\n"), `"""`) || strings.Contains(strings.Join(lines, "\n"), "'''") {
		return ""
	}
	for i, line := range lines {
		var quote rune
		escaped := false
	chars:
		for j, c := range []rune(line) {
			switch {
			case quote != 0:
				if c == quote && !escaped {
					quote = 0
				}
				escaped = c == '\\' && !escaped
				continue
			case c == '"' || c == '\'':
				quote, escaped = c, false
				continue
			case c == '#':
				break chars
			case strings.ContainsRune("([{", c):
				stack = append(stack, open{c, i + 1, j + 1})
			case strings.ContainsRune(")]}", c) && len(stack) > 0:
				stack = stack[:len(stack)-1]
			}
		}
	}
	if len(stack) == 0 {
		return ""
	}
	last := stack[len(stack)-1]
	return fmt.Sprintf("the %q of line %d, column %d is not closed", string(last.bracket), last.line, last.col)
}
