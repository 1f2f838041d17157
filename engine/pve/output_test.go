package pve

import (
	"strings"
	"testing"
)

func TestParseFileStat(t *testing.T) {
	argv := []string{"stat", "-c", "%u %g %a %F", "/srv"}
	for _, c := range []struct {
		out  string
		want FileStat // the zero value for an error
	}{
		{"0 0 755 directory\n", FileStat{"0", "0", "755", "directory"}},
		{"100005 100033 1777 symbolic link\n", FileStat{"100005", "100033", "1777", "symbolic link"}},
		{"0 0 0 regular empty file\n", FileStat{"0", "0", "0", "regular empty file"}},
		{"0 0 755 directory", FileStat{}}, // cut off
		{"0 0 755 dir", FileStat{}},
		{"0 0 755\n", FileStat{}},
		{"0 0 755 directory\n0 0 755 directory\n", FileStat{}},
		{"root root 755 directory\n", FileStat{}},
		{"0 0 789 directory\n", FileStat{}},
		{"-1 0 755 directory\n", FileStat{}},
		{"0  0 755 directory\n", FileStat{}},
		{"0\n0 755 directory\n", FileStat{}},
		{"0 0 755 a thing\n", FileStat{}},
		{"", FileStat{}},
	} {
		got, err := ParseFileStat(argv, []byte(c.out))
		if got != c.want || (err == nil) == (c.want == FileStat{}) {
			t.Errorf("%q is read as %+v, %v", c.out, got, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "stat -c %u %g %a %F /srv: wanted owner, group, mode and type, got ") {
			t.Errorf("error of %q is %v", c.out, err)
		}
	}
}
