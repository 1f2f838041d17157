package ui

import (
	"fmt"
	"strings"
	"testing"
)

func TestNothingThatATerminalObeysGetsThroughButColours(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext\n":                         "plain\ttext\n",
		"\x1b[31mred\x1b[0m":                    "\x1b[31mred\x1b[0m",
		"a\x1b]0;title\ab":                      "a·]0;title·b",
		"a\x1b[2Jb\rc":                          "a·[2Jb·c",
		"a\u202eb\u2066c\u0085d\u200be":         "a·b·c·d·e",
		"\x1b[" + strings.Repeat("1;", 9) + "m": "·[" + strings.Repeat("1;", 9) + "m",
	} {
		var b strings.Builder
		n, err := fmt.Fprint(harmless{&b}, in)
		if err != nil || n != len(in) || b.String() != want {
			t.Errorf("%q becomes %q (%d, %v), want %q", in, b.String(), n, err, want)
		}
	}
}
