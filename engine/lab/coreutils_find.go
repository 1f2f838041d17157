package lab

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// A finder is one run of find.
type finder struct {
	*proc
	min, max int // depths; max below 0 is without limit
	name     string
	kind     string // of -type: "f", "d", "l" or ""
	quit     bool   // after the first
	exit     int
}

// findProgram is find [PATH...] with -mindepth, -maxdepth, -type, -name, -print
// and -quit.
func findProgram(p *proc) int {
	f := finder{proc: p, max: -1}
	var roots []string
	args := p.argv[1:]
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") {
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
		if f.walk(root, st.info, 0) {
			break
		}
	}
	return f.exit
}

// parse reads the expression; what it returns is wrong with it.
func (f *finder) parse(args []string) string {
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		switch word {
		case "-print":
			continue
		case "-quit":
			f.quit = true
			continue
		case "-mindepth", "-maxdepth", "-type", "-name":
		default:
			return fmt.Sprintf("unknown predicate `%s'", word)
		}
		if len(args) == 0 {
			return fmt.Sprintf("missing argument to `%s'", word)
		}
		value := args[0]
		args = args[1:]
		depth, err := strconv.ParseUint(value, 10, 31)
		switch {
		case word == "-name":
			f.name = value
		case word == "-type":
			f.kind = value
		case err != nil:
			return fmt.Sprintf("Expected a positive decimal integer argument to %s, but got ‘%s’", word, value)
		case word == "-mindepth":
			f.min = int(depth)
		default:
			f.max = int(depth)
		}
	}
	return ""
}

// walk visits a file and what is below it; true means that find quits.
func (f *finder) walk(name string, fi fs.FileInfo, depth int) bool {
	if depth >= f.min && f.matches(name, fi) {
		fmt.Fprintln(f.stdout, name)
		if f.quit {
			return true
		}
	}
	if !fi.IsDir() || f.max >= 0 && depth >= f.max {
		return false
	}
	list, err := f.node.readDir(f.abs(name))
	if err != nil {
		f.exit = f.failf(1, "find: ‘%s’: %s", name, strerror(err))
	}
	for _, e := range list {
		below := strings.TrimSuffix(name, "/") + "/" + e.Name()
		st, err := f.look(below, false)
		if err != nil {
			continue // removed meanwhile
		}
		if f.walk(below, st.info, depth+1) {
			return true
		}
	}
	return false
}

func (f *finder) matches(name string, fi fs.FileInfo) bool {
	if f.name != "" {
		if ok, err := path.Match(f.name, path.Base(name)); !ok || err != nil {
			return false
		}
	}
	switch f.kind {
	case "f":
		return fi.Mode().IsRegular()
	case "d":
		return fi.IsDir()
	case "l":
		return fi.Mode()&fs.ModeSymlink != 0
	}
	return f.kind == ""
}
