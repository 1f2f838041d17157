package labtest

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

func TestTempDirIsEmptyAndGoesWithItsTest(t *testing.T) {
	var dir string
	t.Run("a test", func(t *testing.T) {
		dir = TempDir(t)
		if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
			t.Errorf("it holds %v, %v; want nothing", list, err)
		}
		if other := TempDir(t); other == dir {
			t.Errorf("two labs got %q", dir)
		}
		if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the test: %v, want %v", err, fs.ErrNotExist)
	}
}
