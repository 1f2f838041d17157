package recipe

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tengil/tengil/engine"
)

// Bounds on how deep an expression nests. Parser and compiler descend into
// expressions on the stack, which in Go cannot overflow without ending the
// program, so a file is looked through before it is parsed.
const (
	maxBrackets = 100  // brackets inside brackets
	maxRun      = 1000 // words and signs without a comma, line end or bracket between
	maxLambdas  = 200  // in one statement; a comma does not end a lambda
)

// checkSource refuses a file that may nest too deep, or is not text. It knows
// comments and strings but no grammar.
func checkSource(file string, src []byte) error {
	if at := invalidUTF8(src); at >= 0 {
		line := 1 + bytes.Count(src[:at], []byte("\n"))
		return &engine.Error{Pos: engine.Pos{File: file, Line: line, Col: 1}, Err: errors.New("the line is not valid UTF-8")}
	}
	if at := strings.IndexFunc(string(src), misleads); at >= 0 {
		r, _ := utf8.DecodeRune(src[at:])
		line, start := 1+bytes.Count(src[:at], []byte("\n")), bytes.LastIndexByte(src[:at], '\n')+1
		err := fmt.Errorf("the file holds the character %U, which editors do not show as it is read; in a string write %s", r, escape(r))
		if r == '\ufeff' {
			err = errors.New("the file holds a byte order mark; save it as UTF-8 without one")
		}
		return &engine.Error{Pos: engine.Pos{File: file, Line: line, Col: 1 + utf8.RuneCount(src[start:at])}, Err: err}
	}
	lines := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(src)) // as the parser takes them
	s := nesting{file: file, src: lines, line: 1, runs: []int{0}}
	for s.i < len(s.src) {
		s.token()
		if len(s.runs) > maxBrackets {
			return s.errorf("brackets nest deeper than %d", maxBrackets)
		}
		if s.runs[len(s.runs)-1] > maxRun {
			return s.errorf("an expression has more than %d parts", maxRun)
		}
		if s.lambdas > maxLambdas {
			return s.errorf("a statement has more than %d lambdas", maxLambdas)
		}
	}
	return nil
}

// misleads reports whether r lets a reader see something else than what is
// evaluated.
func misleads(r rune) bool { return r != '\t' && r != '\n' && r != '\r' && engine.Misleads(r) }

// escape is what a string holds in place of r.
func escape(r rune) string {
	switch {
	case r < 0x80: // a byte above has no \x in Starlark
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

// invalidUTF8 returns where src is not UTF-8, or -1.
func invalidUTF8(src []byte) int {
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

type nesting struct {
	file, src string
	i, line   int
	lambdas   int   // since the statement began
	runs      []int // for each open bracket: words and signs since the last separator
}

func (s *nesting) errorf(format string, a ...any) error {
	return &engine.Error{Pos: engine.Pos{File: s.file, Line: s.line, Col: 1}, Err: fmt.Errorf(format, a...)}
}

// token passes over one word, sign, string or comment.
func (s *nesting) token() {
	run := &s.runs[len(s.runs)-1]
	switch c := s.src[s.i]; {
	case c == '#':
		s.skip(strings.IndexByte(s.src[s.i:], '\n'))
		return
	case c == '"' || c == '\'':
		s.text(c)
		*run++
		return
	case strings.IndexByte("([{", c) >= 0:
		*run++
		s.runs = append(s.runs, 0)
	case strings.IndexByte(")]}", c) >= 0:
		if len(s.runs) > 1 {
			s.runs = s.runs[:len(s.runs)-1]
		}
	case c == '\n':
		s.line++
		if len(s.runs) == 1 && !strings.HasSuffix(s.src[:s.i], "\\") {
			*run, s.lambdas = 0, 0
		}
	case c == ',' || c == ';':
		*run = 0
	case isWord(c):
		n := strings.IndexFunc(s.src[s.i:], func(r rune) bool { return r >= 0x80 || !isWord(byte(r)) })
		if strings.HasPrefix(s.src[s.i:], "lambda") {
			s.lambdas++
		}
		s.skip(n)
		*run++
		return
	case c > ' ' && c != '\\':
		*run++
	}
	s.i++
}

// skip passes over n bytes, or to the end if n is negative.
func (s *nesting) skip(n int) {
	if n < 0 {
		n = len(s.src) - s.i
	}
	s.i += n
}

// text passes over a string. What is not closed is left to the parser.
func (s *nesting) text(quote byte) {
	end := string(quote)
	if triple := strings.Repeat(end, 3); strings.HasPrefix(s.src[s.i:], triple) {
		end = triple
	}
	for s.i += len(end); s.i < len(s.src) && !strings.HasPrefix(s.src[s.i:], end); s.i++ {
		switch s.src[s.i] {
		case '\\':
			s.i++
			if s.i < len(s.src) && s.src[s.i] == '\n' {
				s.line++
			}
		case '\n':
			s.line++
			if len(end) == 1 {
				return
			}
		}
	}
	s.i = min(s.i+len(end), len(s.src))
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
