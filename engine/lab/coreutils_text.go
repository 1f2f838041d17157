package lab

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// lines reads the lines of files, or of standard input, without their ends.
func (p *proc) lines(me string, names []string) (lines []string, exit int) {
	for _, name := range orStdin(names) {
		f, err := p.use(name)
		var data []byte
		if err == nil {
			data, err = io.ReadAll(f)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			exit = p.failf(2, "%s: cannot read: %s: %s", me, name, strerror(err))
			continue
		}
		for line := range bytes.Lines(data) {
			lines = append(lines, strings.TrimSuffix(string(line), "\n"))
		}
	}
	return lines, exit
}

// sortProgram is sort with -r, -u and -n.
func sortProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "r u n"}, 2)
	if !ok {
		return exit
	}
	lines, exit := p.lines("sort", names)
	number := func(s string) int {
		n, _ := strconv.Atoi(regexp.MustCompile(`^\s*-?\d*`).FindString(s)) // none is 0
		return n
	}
	slices.SortStableFunc(lines, func(a, b string) int {
		if d := number(a) - number(b); o.has("n") && d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	if o.has("u") {
		lines = slices.Compact(lines)
	}
	if o.has("r") {
		slices.Reverse(lines)
	}
	for _, l := range lines {
		fmt.Fprintln(p.stdout, l)
	}
	return exit
}

// seqProgram is seq [FIRST] LAST.
func seqProgram(p *proc) int {
	first, last := 1, 0
	var err error
	switch len(p.argv) {
	case 2:
		last, err = strconv.Atoi(p.argv[1])
	case 3:
		var err1 error
		first, err1 = strconv.Atoi(p.argv[1])
		last, err = strconv.Atoi(p.argv[2])
		err = errors.Join(err1, err)
	default:
		return p.failf(1, "seq: the lab models seq [FIRST] LAST")
	}
	if err != nil {
		return p.failf(1, "seq: invalid floating point argument: %v", err)
	}
	w := bufio.NewWriter(p.stdout)
	for i := first; i <= last; i++ {
		fmt.Fprintln(w, i)
	}
	_ = w.Flush() // a closed pipe is no error here
	return 0
}

// awkProgram is awk '[/RE/]{print $N}', which picks fields.
func awkProgram(p *proc) int {
	_, args, exit, ok := p.options(grammar{}, 2)
	if !ok {
		return exit
	}
	form := regexp.MustCompile(`^\s*(?:/((?:[^/\\]|\\.)*)/)?\s*\{\s*print(?:\s+\$(\d+))?\s*\}\s*$`)
	if len(args) == 0 || !form.MatchString(args[0]) {
		return p.failf(2, "awk: the lab models '/RE/{print $N}'")
	}
	m := form.FindStringSubmatch(args[0])
	re, err := regexp.Compile(m[1])
	if err != nil {
		return p.failf(2, "awk: %v", err)
	}
	field, _ := strconv.Atoi(m[2]) // none is the line
	lines, exit := p.lines("awk", args[1:])
	for _, l := range lines {
		if !re.MatchString(l) {
			continue
		}
		if words := strings.Fields(l); field > len(words) {
			l = ""
		} else if field > 0 {
			l = words[field-1]
		}
		fmt.Fprintln(p.stdout, l)
	}
	return exit
}

// psProgram is ps -eo with args, cmd, comm and pid. It shows the programs that
// the model runs; a node has more.
func psProgram(p *proc) int {
	o, _, exit, ok := p.options(grammar{names: "e A o: C: p: ww w"}, 1)
	if !ok {
		return exit
	}
	columns := strings.Split(strings.Join(o["o"], ","), ",")
	if !o.has("o") {
		columns = []string{"pid", "cmd"}
	}
	heads := map[string]string{"pid": "    PID", "args": "COMMAND", "cmd": "CMD", "comm": "COMMAND"}
	rows := [][]string{nil}
	for _, c := range columns {
		name, head, named := strings.Cut(c, "=")
		if heads[name] == "" {
			return p.failf(1, "error: the lab's ps does not model column %q", name)
		}
		if !named {
			head = heads[name]
		}
		rows[0] = append(rows[0], head)
	}
	for _, r := range p.node.pids.all() {
		var row []string
		for _, c := range columns {
			name, _, _ := strings.Cut(c, "=")
			switch name {
			case "pid":
				row = append(row, fmt.Sprintf("%7d", r.pid))
			case "comm":
				row = append(row, strings.Fields(r.args)[0])
			default:
				row = append(row, r.args)
			}
		}
		rows = append(rows, row)
	}
	for i, row := range rows {
		if line := strings.Join(row, " "); i > 0 || strings.TrimSpace(line) != "" {
			fmt.Fprintln(p.stdout, line)
		}
	}
	return 0
}

// gzipProgram is gzip -c and gunzip-like gzip -dc, to standard output.
func gzipProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "c k d n 1 9"}, 1)
	if !ok {
		return exit
	}
	if !o.has("c") && len(names) > 0 {
		return p.failf(1, "gzip: the lab models gzip -c")
	}
	for _, name := range orStdin(names) {
		f, err := p.use(name)
		if err != nil {
			exit = p.failf(1, "gzip: %s: %s", name, strerror(err))
			continue
		}
		if o.has("d") {
			var r *gzip.Reader
			if r, err = gzip.NewReader(f); err == nil {
				_, err = p.copy(p.stdout, r)
			}
		} else {
			w := gzip.NewWriter(p.stdout)
			_, err = p.copy(w, f)
			err = errors.Join(err, w.Close())
		}
		if err := errors.Join(err, f.Close()); err != nil {
			exit = p.failf(1, "gzip: %s: %s", name, strerror(err))
		}
	}
	return exit
}

// sedProgram is sed [-i] [-n] 's/RE/TEXT/[g][p]' [FILE...].
func sedProgram(p *proc) int {
	o, args, exit, ok := p.options(grammar{names: "i n E r e:"}, 1)
	if !ok {
		return exit
	}
	script := o.last("e")
	if !o.has("e") && len(args) > 0 {
		script, args = args[0], args[1:]
	}
	edit, err := parseSed(script)
	if err != nil {
		return p.failf(1, "sed: -e expression #1: %v", err)
	}
	for _, name := range orStdin(args) {
		f, err := p.use(name)
		var data []byte
		if err == nil {
			data, err = io.ReadAll(f)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			exit = p.failf(2, "sed: can't read %s: %s", name, strerror(err))
			continue
		}
		var out strings.Builder
		for line := range strings.Lines(string(data)) {
			text, changed := edit.line(strings.TrimSuffix(line, "\n"))
			if !o.has("n") {
				out.WriteString(text + "\n")
			}
			if changed && edit.print {
				out.WriteString(text + "\n")
			}
		}
		if !o.has("i") {
			fmt.Fprint(p.stdout, out.String())
			continue
		}
		if err := p.node.writeFile(p.abs(name), []byte(out.String()), 0o644); err != nil {
			exit = p.failf(4, "sed: couldn't edit %s: %s", name, strerror(err))
		}
	}
	return exit
}

// A sedEdit is one command s of sed.
type sedEdit struct {
	re         *regexp.Regexp
	with       string
	all, print bool
}

func parseSed(script string) (sedEdit, error) {
	if len(script) < 4 || script[0] != 's' {
		return sedEdit{}, errors.New("the lab models s/RE/TEXT/ alone")
	}
	parts := strings.Split(script[2:], script[1:2])
	if len(parts) != 3 {
		return sedEdit{}, errors.New("unterminated `s' command")
	}
	re, err := regexp.Compile(parts[0])
	with := strings.NewReplacer("$", "$$", `\n`, "\n", "&", "${0}", `\1`, "${1}", `\2`, "${2}").Replace(parts[1])
	return sedEdit{re: re, with: with, all: strings.Contains(parts[2], "g"), print: strings.Contains(parts[2], "p")}, err
}

// line edits one line.
func (e sedEdit) line(text string) (string, bool) {
	at := e.re.FindStringSubmatchIndex(text)
	switch {
	case at == nil:
		return text, false
	case e.all:
		return e.re.ReplaceAllString(text, e.with), true
	}
	return text[:at[0]] + string(e.re.ExpandString(nil, e.with, text, at)) + text[at[1]:], true
}
