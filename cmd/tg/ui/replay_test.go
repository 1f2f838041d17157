package ui

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestReplayArrivesAsItWas(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	for _, argv := range [][]string{
		{"a b", "", "it's", "$HOME `id` \\", "-n", "é€"},
		{"two\nlines", "esc \x1b[2J", "tab\t", "\xff\xfe", "'\n\\", "\u202eturned", "1\x0123"},
	} {
		line := Replay(append([]string{"printf", "%s\\0"}, argv...))
		if clean(line) != line || strings.Contains(line, "\n") {
			t.Errorf("%q reaches the terminal", line)
		}
		out, err := exec.Command(bash, "-c", line).Output()
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); !slices.Equal(got, argv) {
			t.Errorf("%s\n gives %q, want %q", line, got, argv)
		}
	}
}

func TestALineThatLacksSomethingFails(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh")
	}
	for _, line := range []string{
		Replay([]string{"echo", "went on", "PASSWORD=***x"}),
		Replay([]string{"echo", "went on", "***"}),
		NoReplay("/etc/x was written}\"; echo went on; $(id)"),
	} {
		out, err := exec.Command(sh, "-c", line+"\necho went on").CombinedOutput()
		if err == nil || strings.HasSuffix(string(out), "went on\n") {
			t.Errorf("%s\nwent on: %q, %v", line, out, err)
		}
	}
}

func TestNoReplayEndsAScript(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	out, err := exec.Command(bash, "-c", NoReplay(OneLine([]string{"tee", "it's", "a } \"b\" `id`", "\x1b"}))+"\necho on").Output()
	if err == nil || len(out) != 0 {
		t.Errorf("printed %q, %v; wanted an end", out, err)
	}
}
