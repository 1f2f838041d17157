package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
)

// grepProgram is grep with -q, -F, -E, -x, -v, -c, -i, -n, -h, -m, -s and -e.
func grepProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "q F E x v c i s e: h n m: a quiet"}, 2)
	if !ok {
		return exit
	}
	pattern := o.last("e")
	if !o.has("e") {
		if len(names) == 0 {
			return p.failf(2, "Usage: grep [OPTION]... PATTERNS [FILE]...")
		}
		pattern, names = names[0], names[1:]
	}
	re, err := grepPattern(o, pattern)
	if err != nil {
		return p.failf(2, "grep: %v", err)
	}
	g := grep{proc: p, o: o, re: re, named: len(names) > 1 && !o.has("h"), most: math.MaxInt}
	if o.has("m") {
		if g.most, err = strconv.Atoi(o.last("m")); err != nil {
			return p.failf(2, "grep: invalid max count")
		}
	}
	found := 0
	for _, name := range orStdin(names) {
		f, err := p.use(name)
		var data []byte
		if err == nil {
			data, err = io.ReadAll(f)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			if exit = 2; !o.has("s") {
				p.failf(2, "grep: %s: %s", name, strerror(err))
			}
			continue
		}
		found += g.file(name, data)
	}
	switch {
	case found > 0 && (exit == 0 || g.quiet()):
		return 0
	case exit == 0:
		return 1
	}
	return exit
}

func grepPattern(o options, pattern string) (*regexp.Regexp, error) {
	if o.has("F") {
		pattern = regexp.QuoteMeta(pattern)
	}
	if o.has("x") {
		pattern = "^(?:" + pattern + ")$"
	}
	if o.has("i") {
		pattern = "(?i)" + pattern
	}
	return regexp.Compile(pattern)
}

// A grep is one run of grep.
type grep struct {
	*proc
	o     options
	re    *regexp.Regexp
	named bool // each line begins with the name of its file
	most  int  // matches of one file
}

func (g grep) quiet() bool { return g.o.has("q") || g.o.has("quiet") }

// file prints what is asked for of one file, and returns how many lines match. A
// closed pipe is no error of grep's own.
func (g grep) file(name string, data []byte) int {
	found, number := 0, 0
	prefix := ""
	if g.named {
		prefix = name + ":"
	}
	for line := range bytes.Lines(data) {
		if number++; found == g.most {
			break
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		if g.re.Match(line) == g.o.has("v") {
			continue
		}
		found++
		switch {
		case g.quiet() || g.o.has("c"):
		case g.o.has("n"):
			fmt.Fprintf(g.stdout, "%s%d:%s\n", prefix, number, line)
		default:
			fmt.Fprintf(g.stdout, "%s%s\n", prefix, line)
		}
	}
	if g.o.has("c") && !g.quiet() {
		fmt.Fprintf(g.stdout, "%s%d\n", prefix, found)
	}
	return found
}
