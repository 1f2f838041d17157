package lab

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestUsageOfARealLab(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{lxc: &Real{}}
		dir := t.TempDir()
		write := func(name, text string) {
			t.Helper()
			name = filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		check := func(when string, but map[string]bool, want usage) {
			t.Helper()
			if got := n.usage(dir, but); got != want {
				t.Errorf("%s: %+v, want %+v", when, got, want)
			}
		}
		below := map[string]bool{filepath.Join(dir, "mounted"): true}
		write("a", "12345")
		write("mounted/b", "123")
		check("at first", nil, usage{8, 2})
		check("without what is mounted", below, usage{5, 1})

		write("c", "1") // as a container does
		check("within its age", nil, usage{8, 2})
		n.record.add([]string{"zfs", "list"}, 0, false)
		check("after a program that changes nothing", nil, usage{8, 2})
		n.record.add([]string{"zfs", "set"}, 0, true)
		check("after one that may", nil, usage{9, 3})
		check("after one that may, without what is mounted", below, usage{6, 2})

		write("d", "1")
		time.Sleep(usageAge)
		check("later", nil, usage{10, 4})
	})
}
