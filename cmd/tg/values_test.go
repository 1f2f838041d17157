package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseValuesFile(t *testing.T) {
	tests := []struct {
		name, file string
		want       map[string]string
		err        string
	}{
		{"lines with blanks and comments", "# pools\n\n pool = tank \nurl=http://a/?b=c\n", map[string]string{"pool": "tank", "url": "http://a/?b=c"}, ""},
		{"an object keeps numbers as written", `{"port": 8080, "size": 1e3, "on": true, "s": "x"}`, map[string]string{"port": "8080", "size": "1e3", "on": "true", "s": "x"}, ""},
		{"a nested object is refused", `{"a": {}}`, nil, `1:2: option "a" is neither a string nor a number nor true or false`},
		{"a key given twice is refused", "a=1\na=2\n", nil, `2:1: option "a" is given twice`},
		{"a line without = is refused", "a\n", nil, `1:1: the line is "a"; wanted key=value`},
		{"an empty file has no values", "", map[string]string{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseValuesFile([]byte(tt.file))
			if text(err) != tt.err {
				t.Fatalf("got error %q, want %q", text(err), tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestNearest(t *testing.T) {
	names := []string{"immich", "jellyfin", "alpine"}
	for word, want := range map[string]string{
		"imich": "immich", "immcih": "immich", "jelly": "jellyfin", "alpine-edge": "alpine", "zzz": "", "x": "", "": "",
	} {
		if got := nearest(word, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
