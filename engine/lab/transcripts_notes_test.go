package lab

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An exception is a step that the lab is known not to model, and why.
type exception struct {
	class  string // a word of exceptionClasses
	reason string
}

// exceptionClasses are the reasons for which a step may be left out; not-modelled.txt
// says what they mean.
func exceptionClasses() []string {
	return []string{"capture", "chance", "hardware", "kernel", "odd", "size", "tool"}
}

// readExceptions reads not-modelled.txt: lines "FILE STEP[-STEP] CLASS: REASON",
// steps counted from 0.
func readExceptions(t *testing.T, all []transcript) map[string]map[int]exception {
	t.Helper()
	out := map[string]map[int]exception{}
	for _, l := range readStepLines(t, "not-modelled.txt", all) {
		class, reason, ok := strings.Cut(l.rest, ": ")
		if !ok || !slices.Contains(exceptionClasses(), class) {
			t.Fatalf("%s: %q; want CLASS: REASON with one of %q", l.at, l.rest, exceptionClasses())
		}
		for _, name := range l.files {
			if out[name] == nil {
				out[name] = map[int]exception{}
			}
			for i := l.first; i <= l.last; i++ {
				out[name][i] = exception{class, reason}
			}
		}
	}
	return out
}

// A stepNote says how a step was run, which its transcript does not.
type stepNote struct {
	before []string      // scripts that ran unrecorded before it
	hold   string        // a lock that another program holds for a second as it starts
	wait   time.Duration // passes before it
	from   int           // it was begun before this earlier step, if set
	until  int           // it was waited for after this later step, if set
	pid    string        // the number of its process in the transcript
	skip   bool          // it is not run: what it would do here differs
	dies   bool          // its worker died when the connection was cut
	ignore []*regexp.Regexp
}

// stepNotes are the notes of one transcript by step.
type stepNotes map[int]*stepNote

// readNotes reads replay.txt: lines "FILE STEP[-STEP] VERB ARGUMENT"; the verbs are
// described there.
func readNotes(t *testing.T, all []transcript) map[string]stepNotes {
	t.Helper()
	out := map[string]stepNotes{}
	for _, l := range readStepLines(t, "replay.txt", all) {
		verb, arg, _ := strings.Cut(l.rest, " ")
		for _, name := range l.files {
			if out[name] == nil {
				out[name] = stepNotes{}
			}
			for i := l.first; i <= l.last; i++ {
				n := out[name][i]
				if n == nil {
					n = &stepNote{}
					out[name][i] = n
				}
				if err := n.add(verb, arg); err != nil {
					t.Fatalf("%s: %v", l.at, err)
				}
			}
		}
	}
	return out
}

func (n *stepNote) add(verb, arg string) (err error) {
	switch verb {
	case "sh":
		n.before = append(n.before, arg)
	case "hold":
		n.hold = arg
	case "wait":
		n.wait, err = time.ParseDuration(arg)
	case "from":
		n.from, err = strconv.Atoi(arg)
	case "until":
		n.until, err = strconv.Atoi(arg)
	case "pid":
		n.pid = arg
	case "skip":
		n.skip = true
	case "dies":
		n.dies = true
	case "ignore":
		var re *regexp.Regexp
		if !strings.HasPrefix(arg, "^") {
			arg = "^.*" + arg
		}
		re, err = regexp.Compile(`(?m)` + arg + `.*\n`)
		n.ignore = append(n.ignore, re)
	default:
		err = fmt.Errorf("unknown verb %q", verb)
	}
	return err
}

// A stepLine is a line about steps of transcripts.
type stepLine struct {
	at          string // where it is: "replay.txt:7"
	files       []string
	first, last int
	rest        string
}

// readStepLines reads a file of lines "FILE STEP[-STEP][,STEP[-STEP]] REST". FILE
// is VERSION/NAME, or NAME for every version that has it.
func readStepLines(t *testing.T, file string, all []transcript) []stepLine {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(transcriptDir, file))
	if err != nil {
		t.Fatal(err)
	}
	var out []stepLine
	for i, line := range strings.Split(string(data), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		at := fmt.Sprintf("%s:%d", file, i+1)
		f := strings.SplitN(line, " ", 3)
		if len(f) < 3 {
			t.Fatalf("%s: %q; want FILE STEPS and more", at, line)
		}
		var files []string
		for _, tr := range all {
			if tr.name == f[0] || strings.HasSuffix(tr.name, "/"+f[0]) {
				files = append(files, tr.name)
			}
		}
		if files == nil {
			t.Fatalf("%s: there is no transcript %q", at, f[0])
		}
		for part := range strings.SplitSeq(f[1], ",") {
			first, last, ok := strings.Cut(part, "-")
			if !ok {
				last = first
			}
			from, err1 := strconv.Atoi(first)
			to, err2 := strconv.Atoi(last)
			if err := cmp.Or(err1, err2); err != nil {
				t.Fatalf("%s: steps are %q; want N, N-M or several with commas", at, f[1])
			}
			out = append(out, stepLine{at: at, files: files, first: from, last: to, rest: f[2]})
		}
	}
	return out
}
