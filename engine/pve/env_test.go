package pve

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheckEnv(t *testing.T) {
	for _, c := range []struct {
		name, key, value string
		ok               bool
	}{
		{"plain", "DB_HOST", "10.0.0.1", true},
		{"empty value", "A", "", true},
		{"tab, quotes and UTF-8", "A", "\t\"q\" 'q' # é $HOME \\ =", true},
		{"name with a dash", "A-B", "1", false},
		{"name that starts with a digit", "1A", "1", false},
		{"empty name", "", "1", false},
		{"name with =", "A=B", "1", false},
		{"newline", "A", "1\nlxc.hook.pre-start: /bin/sh", false},
		{"carriage return", "A", "1\r", false},
		{"escape", "A", "\x1b[0m", false},
		{"delete", "A", "\x7f", false},
		{"C1 control character", "A", "\u0085", false},
		{"a byte that is no UTF-8", "A", "\xff", false},
		{"the replacement character itself", "A", "\uFFFD", true},
		{"trailing blank", "A", "1 ", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := CheckEnv(c.key, c.value); (err == nil) != c.ok {
				t.Errorf("error is %v, want ok: %v", err, c.ok)
			}
		})
	}
}

func TestMergeEnvKeepsTheOrderOfTheImage(t *testing.T) {
	image := []string{"PATH=/bin", "LANG=C", "PATH=/dup", "ODD"}
	got := MergeEnv(image, []KV{{"NEW", "1"}, {"LANG", "de"}, {"NEW", "2"}})
	want := []string{"PATH=/bin", "LANG=de", "ODD", "NEW=2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
