package pve

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConsoleLine(t *testing.T) {
	tests := map[string]string{
		"plain\r\n":                       "plain",
		"a\tb\n":                          "a\tb",
		"\x1b[1;32mINFO\x1b[0m ready\r\n": "INFO ready",
		"\x1b]0;title\x07text\x1b]8;;x\x1b\\link": "textlink",
		"\x1b[2J\x1b[Hgone\x1b(B":                 "gone",
		" 10%\r 50%\r100%\r\n":                    "100%",
		"evil\u202etxt\x00\x07\xff":               "eviltxt",
		"\x1b":                                    "",
		"caf\u00e9 \u2713":                        "caf\u00e9 \u2713",
	}
	for line, want := range tests {
		if got := ConsoleLine(line); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func TestConsoleTail(t *testing.T) {
	tests := []struct {
		name, end string
		whole     bool
		want      []string
	}{
		{"the last lines", "a\r\nb\r\n\r\nc\r\n", true, []string{"b", "c"}},
		{"a line that began before", "ret is x\r\nc\r\n", false, []string{"c"}},
		{"a line that has not ended", "a\r\nb", true, []string{"a", "b"}},
		{"a long line, cut between words", "a word-that-is-cut\r\n", true, []string{"a …"}},
		{"a long word", "word-that-is-cut\r\n", true, []string{"…"}},
		{"nothing", "\r\n", true, nil},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, ConsoleTail(test.end, test.whole, 2, 8)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}
