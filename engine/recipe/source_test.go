package recipe

import (
	"fmt"
	"strings"
	"testing"

	"go.starlark.net/starlark"
)

func TestWhatMisleadsIsRefusedWithWhatToWrite(t *testing.T) {
	for _, r := range "\x00\x1b\x7f\u0085\u00ad\u200b\u202e\u2066\u3164\U000e0041" {
		err := checkSource("x.star", []byte("# one\nx = \"ä"+string(r)+"\"\n"))
		if err == nil {
			t.Errorf("%U is not refused", r)
			continue
		}
		text, write, _ := strings.Cut(err.Error(), "in a string write ")
		if want := fmt.Sprintf("x.star:2:7: the file holds the character %U,", r); !strings.HasPrefix(text, want) {
			t.Errorf("got %q, want %q", text, want)
		}
		v, err := starlark.EvalOptions(dialect(), &starlark.Thread{}, "x.star", `"`+write+`"`, nil)
		if s, _ := starlark.AsString(v); err != nil || s != string(r) {
			t.Errorf("%s is %q (%v), want %q", write, s, err, string(r))
		}
	}
	if err := checkSource("x.star", []byte("# äé漢字 👍🏽\tand\r\nx = 1\r")); err != nil {
		t.Error(err)
	}
}
