package main

import (
	"os"
	"strings"
	"testing"
)

func TestWhatIsSpooledIsForNobodyElse(t *testing.T) {
	t.Parallel()
	name, remove, err := spool(strings.NewReader("private"))
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	fi, err := os.Stat(name)
	if err != nil || fi.Mode() != 0o600 || fi.Size() != int64(len("private")) {
		t.Errorf("the file is %v, %v; wanted mode 0600", fi, err)
	}
	remove()
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		t.Errorf("the file stays: %v", err)
	}
}
