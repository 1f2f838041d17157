package lab

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// A finder is one run of find.
type finder struct {
	*proc
	min, max int // depths; max below 0 is without limit
	expr     findExpr
	quitted  bool
	exit     int
}

// A found is a file that find looks at.
type found struct {
	name  string // as find prints it
	root  string // the operand that it is below
	st    fileStat
	prune bool // do not go below it
}

// A findExpr is a part of find's expression: a test or an action.
type findExpr func(f *finder, at *found) bool

// findProgram is find [PATH...] with -mindepth, -maxdepth, -type, -name, -path,
// -newermt, -mmin +N, -user, -not, -o, -prune, -print, -printf and -quit.
func findProgram(p *proc) int {
	f := finder{proc: p, max: -1}
	var roots []string
	args := p.argv[1:]
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") && args[0] != "!" {
		roots = append(roots, args[0])
		args = args[1:]
	}
	if msg := f.parse(args); msg != "" {
		return p.failf(1, "find: %s", msg)
	}
	if len(roots) == 0 {
		roots = []string{"."}
	}
	for _, root := range roots {
		st, err := p.look(root, false)
		if err != nil {
			f.exit = p.failf(1, "find: ‘%s’: %s", root, strerror(err))
			continue
		}
		f.walk(&found{name: root, root: root, st: st}, 0)
		if f.quitted {
			break
		}
	}
	return f.exit
}

// parse reads the expression; what it returns is wrong with it.
func (f *finder) parse(args []string) string {
	var either []findExpr // alternatives of -o
	var all []findExpr    // what is joined by and
	acts, not := false, false
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		value := ""
		switch word {
		case "-o", "-or":
			either = append(either, conjunction(all))
			all = nil
			continue
		case "!", "-not":
			not = !not
			continue
		case "-mindepth", "-maxdepth", "-type", "-name", "-path", "-printf", "-newermt", "-mmin", "-user":
			if len(args) == 0 {
				return fmt.Sprintf("missing argument to `%s'", word)
			}
			value, args = args[0], args[1:]
		case "-print", "-quit", "-prune":
		default:
			return fmt.Sprintf("unknown predicate `%s'", word)
		}
		if word == "-mindepth" || word == "-maxdepth" {
			depth, err := strconv.ParseUint(value, 10, 31)
			if err != nil {
				return fmt.Sprintf("Expected a positive decimal integer argument to %s, but got ‘%s’", word, value)
			}
			if word == "-mindepth" {
				f.min = int(depth)
			} else {
				f.max = int(depth)
			}
			continue
		}
		if word == "-newermt" {
			since, err := time.Parse(time.DateOnly, value)
			if err != nil {
				return fmt.Sprintf("I cannot figure out how to interpret ‘%s’ as a date or time", value)
			}
			value = strconv.FormatInt(since.Unix(), 10)
		}
		if word == "-mmin" {
			if n, err := strconv.Atoi(value); err != nil || n < 0 || value[0] != '+' {
				return fmt.Sprintf("invalid argument `%s' to `-mmin': the lab models +N", value)
			}
		}
		if word == "-user" && userName(0) != value && userName(wwwData) != value {
			return fmt.Sprintf("‘%s’ is not the name of a known user", value)
		}
		acts = acts || word == "-print" || word == "-printf" || word == "-quit"
		e := findTerm(word, value)
		if not {
			positive := e
			e = func(f *finder, at *found) bool { return !positive(f, at) }
			not = false
		}
		all = append(all, e)
	}
	either = append(either, conjunction(all))
	f.expr = func(f *finder, at *found) bool {
		for _, e := range either {
			if e(f, at) {
				return true
			}
		}
		return false
	}
	if !acts {
		test := f.expr
		f.expr = func(f *finder, at *found) bool {
			return test(f, at) && findPrint(f, at)
		}
	}
	return ""
}

func conjunction(all []findExpr) findExpr {
	return func(f *finder, at *found) bool {
		for _, e := range all {
			if !e(f, at) {
				return false
			}
		}
		return true
	}
}

func findPrint(f *finder, at *found) bool {
	fmt.Fprintln(f.stdout, at.name)
	return true
}

// findTerm returns a test or an action.
func findTerm(word, value string) findExpr {
	switch word {
	case "-name":
		return func(_ *finder, at *found) bool { return globbed(value, path.Base(at.name)) }
	case "-path":
		return func(_ *finder, at *found) bool { return globbed(value, at.name) }
	case "-type":
		return func(_ *finder, at *found) bool { return findType(at.st.info.Mode()) == value }
	case "-newermt":
		since, _ := strconv.ParseInt(value, 10, 64) // parse made it
		return func(_ *finder, at *found) bool { return at.st.info.ModTime().Unix() > since }
	case "-mmin":
		n, _ := strconv.Atoi(value) // parse looked
		return func(_ *finder, at *found) bool {
			return time.Since(at.st.info.ModTime()) > time.Duration(n)*time.Minute
		}
	case "-user":
		return func(_ *finder, at *found) bool { return userName(at.st.owner.UID) == value }
	case "-prune":
		return func(_ *finder, at *found) bool { at.prune = true; return true }
	case "-quit":
		return func(f *finder, _ *found) bool { f.quitted = true; return true }
	case "-printf":
		return func(f *finder, at *found) bool { f.printf(value, at); return true }
	}
	return findPrint
}

func globbed(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

func findType(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "f"
	case mode.IsDir():
		return "d"
	case mode&fs.ModeSymlink != 0:
		return "l"
	}
	return "s"
}

// printf prints a file as a format of -printf says.
func (f *finder) printf(format string, at *found) {
	link := ""
	if at.st.info.Mode()&fs.ModeSymlink != 0 {
		link, _ = os.Readlink(f.node.host(f.abs(at.name))) // gone meanwhile: none
	}
	below := strings.TrimPrefix(strings.TrimPrefix(at.name, at.root), "/")
	fmt.Fprint(f.stdout, strings.NewReplacer(
		"%p", at.name, "%P", below, "%f", path.Base(at.name), "%y", findType(at.st.info.Mode()),
		"%U", strconv.Itoa(at.st.owner.UID), "%G", strconv.Itoa(at.st.owner.GID), "%m", strconv.FormatUint(uint64(at.st.owner.Mode), 8),
		"%s", strconv.FormatInt(at.st.info.Size(), 10), "%l", link, "%%", "%", `\n`, "\n", `\t`, "\t", `\0`, "\x00",
	).Replace(format))
}

// walk visits a file and what is below it.
func (f *finder) walk(at *found, depth int) {
	if depth >= f.min {
		f.expr(f, at)
	}
	if f.quitted || at.prune || !at.st.info.IsDir() || f.max >= 0 && depth >= f.max {
		return
	}
	list, err := f.node.readDir(f.abs(at.name))
	if err != nil {
		f.exit = f.failf(1, "find: ‘%s’: %s", at.name, strerror(err))
	}
	for _, e := range list {
		below := strings.TrimSuffix(at.name, "/") + "/" + e.Name()
		st, err := f.look(below, false)
		if err != nil {
			continue // removed meanwhile
		}
		f.walk(&found{name: below, root: at.root, st: st}, depth+1)
		if f.quitted {
			return
		}
	}
}
