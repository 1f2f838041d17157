package labtest

import (
	"strings"
	"testing"
)

func TestStepsAreReadFromATranscript(t *testing.T) {
	steps, err := parseSteps("# a comment\n\n$ one \\\n    two\n< in\nout\n! err\n? 3\n@ real: a reason\n$ three\n? fails\n")
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != 2 {
		t.Fatalf("%d steps, want 2", len(steps))
	}
	one, two := steps[0], steps[1]
	if one.command != "one two" || one.stdin != "in\n" || one.exit != 3 || strings.Join(one.stdout, "|") != "out" || strings.Join(one.stderr, "|") != "err" || one.real != "" {
		t.Errorf("the first step is %+v", one)
	}
	if two.command != "three" || two.exit != anyFailure || two.real != "a reason" {
		t.Errorf("the second step is %+v", two)
	}
	for _, text := range []string{"out\n", "$ one\n? x\n", "$ one\n@ real: why\nout\n"} {
		if _, err := parseSteps(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestLinesOfATranscriptMatchWhole(t *testing.T) {
	for _, c := range []struct {
		lines, text string
		want        bool
	}{
		{"", "", true},
		{"", "a\n", false},
		{"a", "a\n", true},
		{"a", "a", true},
		{"a", "a \n\n", true},
		{"a", "", false},
		{"a", "ab\n", false},
		{"a", "a\nb\n", false},
		{"a.c", "abc\n", false},
		{`pid {{\d+}} of {{\w+}}`, "pid 12 of x\n", true},
		{`pid {{\d+}}`, "pid x\n", false},
		{"a\n...\nd", "a\nb\nc\nd\n", true},
		{"a\n...\nd", "a\nb\nc\n", false},
	} {
		var lines []string
		if c.lines != "" {
			lines = strings.Split(c.lines, "\n")
		}
		if got := matches(lines, c.text); got != c.want {
			t.Errorf("%q of %q: %t, want %t", c.lines, c.text, got, c.want)
		}
	}
}
