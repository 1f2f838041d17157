package ui

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	header := []string{"NAME", "CATEGORY", "SUMMARY"}
	rows := [][]string{
		{"immich", "photos", "Back up, browse and search photos and videos"},
		{"grüße", "日本", "short"},
		{"empty", "", ""},
	}
	tests := []struct {
		name  string
		width int
		want  string
	}{
		{"nothing is wrapped where there is no width", 0, `
NAME    CATEGORY  SUMMARY
immich  photos    Back up, browse and search photos and videos
grüße   日本      short
empty
`},
		{"the widest column is wrapped to the width", 45, `
NAME    CATEGORY  SUMMARY
immich  photos    Back up, browse and
                  search photos and videos
grüße   日本      short
empty
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			term := &Terminal{Out: &out, Width: tt.width}
			if err := term.Table(header, rows); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), out.String()); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
		})
	}
}
