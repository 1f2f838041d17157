package lab

import (
	"strings"
	"testing"

	"github.com/tengil/tengil/engine/lab/labtest"
)

func TestShellTellsOutputAndStatus(t *testing.T) {
	l, err := Open(t.Context(), Options{Dir: labtest.TempDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var out, errs strings.Builder
	status, err := Shell(t.Context(), l.Endpoint(), "cat; echo problem >&2; exit 3", strings.NewReader("input"), &out, &errs)
	if err != nil || status != 3 || out.String() != "input" || errs.String() != "problem\n" {
		t.Errorf("got status %d, %q, %q, %v; want 3, %q, %q", status, &out, &errs, err, "input", "problem\n")
	}
}

func TestShellNeedsARunningLab(t *testing.T) {
	l, err := Open(t.Context(), Options{Dir: labtest.TempDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	at := l.Endpoint()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if status, err := Shell(t.Context(), at, "true", strings.NewReader(""), nil, nil); err == nil || status != exitNoConnection {
		t.Errorf("got status %d, %v; want %d and an error", status, err, exitNoConnection)
	}
}
