package labtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Shell runs a command line on a lab, as one session would.
type Shell func(ctx context.Context, command, stdin string) (exit int, stdout, stderr string, err error)

// Conform runs every file of a directory of transcripts on a lab of its own, which
// open starts for it. A lab whose containers run for real also takes the steps
// that hold for such alone.
//
// In a transcript a line "$ COMMAND" begins a step; a "\" at its end joins it
// with the next line. What follows belongs to the step: "< TEXT" is a line of its
// standard input, "! TEXT" one of its standard error, "? N" the exit status ("? fails"
// is any but 0), and any other line one of its standard output. In these, "{{RE}}"
// stands for what a regular expression matches and a line "..." for any lines. The
// line "@ real: REASON" before a step says that it is for containers that run for
// real; "#" begins a comment. Empty lines count for nothing.
func Conform(t *testing.T, dir string, real bool, open func(t *testing.T) Shell) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts in %s: %v", dir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			steps, err := parseSteps(string(data))
			if err != nil {
				t.Fatalf("%s:%v", file, err)
			}
			shell := open(t)
			for _, s := range steps {
				if s.real != "" && !real {
					continue
				}
				if !s.run(t, file, shell) {
					return // what comes after it says no more
				}
			}
		})
	}
}

// A step is one command and what it does.
type step struct {
	line           int
	command, stdin string
	stdout, stderr []string // lines
	exit           int      // anyFailure for any but 0
	real           string   // why it holds for containers that run for real only
}

const anyFailure = -1

// parseSteps reads a transcript; errors begin with the line.
func parseSteps(text string) ([]step, error) {
	var steps []step
	real := ""
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if line == "" || line[0] == '#' {
			continue
		}
		kind, rest, marked := strings.Cut(line, " ")
		reason, forReal := strings.CutPrefix(line, "@ real: ")
		if forReal {
			real = reason
			continue
		}
		if marked && kind == "$" {
			s := step{line: i + 1, real: real}
			for strings.HasSuffix(rest, `\`) && i+1 < len(lines) {
				i++
				rest = strings.TrimSuffix(rest, `\`) + strings.TrimSpace(lines[i])
			}
			s.command, real = rest, ""
			steps = append(steps, s)
			continue
		}
		if len(steps) == 0 || real != "" {
			return nil, fmt.Errorf("%d: %q belongs to no step", i+1, line)
		}
		s := &steps[len(steps)-1]
		switch {
		case marked && kind == "<":
			s.stdin += rest + "\n"
		case marked && kind == "!":
			s.stderr = append(s.stderr, rest)
		case line == "? fails":
			s.exit = anyFailure
		case marked && kind == "?":
			exit, err := strconv.Atoi(rest)
			if err != nil {
				return nil, fmt.Errorf("%d: %w", i+1, err)
			}
			s.exit = exit
		default:
			s.stdout = append(s.stdout, line)
		}
	}
	return steps, nil
}

// stepTime bounds a step, so that one that hangs is told.
const stepTime = 2 * time.Minute

// run runs the step and reports whether it did what it should.
func (s step) run(t *testing.T, file string, shell Shell) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stepTime)
	defer cancel()
	exit, stdout, stderr, err := shell(ctx, s.command, s.stdin)
	if err != nil {
		t.Errorf("%s:%d: %s: %v", file, s.line, s.command, err)
		return false
	}
	ended := exit == s.exit || s.exit == anyFailure && exit != 0
	if ended && matches(s.stdout, stdout) && matches(s.stderr, stderr) {
		return true
	}
	want := strconv.Itoa(s.exit)
	if s.exit == anyFailure {
		want = "a failure"
	}
	t.Errorf("%s:%d: %s\nexit status %d, want %s\nstdout:\n%s\nwant:\n%s\nstderr:\n%s\nwant:\n%s", file, s.line, s.command,
		exit, want, stdout, strings.Join(s.stdout, "\n"), stderr, strings.Join(s.stderr, "\n"))
	return false
}

// matches reports whether a text has the lines, blanks at their ends aside.
func matches(lines []string, text string) bool {
	var re strings.Builder
	re.WriteString(`\A`)
	for _, line := range lines {
		if line == "..." {
			re.WriteString(`(?s:.*?)`)
			continue
		}
		rest := strings.TrimRight(line, " ")
		for {
			plain, more, found := strings.Cut(rest, "{{")
			re.WriteString(regexp.QuoteMeta(plain))
			if !found {
				break
			}
			pattern, after, _ := strings.Cut(more, "}}")
			re.WriteString("(?:" + pattern + ")")
			rest = after
		}
		re.WriteString(`[ \t]*\n`)
	}
	re.WriteString(`\z`)
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			kept.WriteString(line + "\n")
		}
	}
	ok, err := regexp.MatchString(re.String(), kept.String())
	return err == nil && ok
}
