package lab

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestOpenWaitsUntilTheOwnerSaysWhereItListens(t *testing.T) {
	dir := t.TempDir()
	lock, err := takeDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	type opened struct {
		lab *Lab
		err error
	}
	second := make(chan opened, 1)
	go func() {
		l, err := Open(t.Context(), Options{Dir: dir})
		second <- opened{l, err}
	}()
	first, err := open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	first.lock = lock
	got := <-second
	var used *InUseError
	if !errors.As(got.err, &used) || used.Endpoint.PID != os.Getpid() {
		t.Errorf("got %v, want that process %d uses it", got.err, os.Getpid())
	}
	go func() {
		l, err := Open(t.Context(), Options{Dir: dir})
		second <- opened{l, err}
	}()
	if got := <-second; !errors.As(got.err, &used) {
		t.Errorf("while it runs: %v", got.err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenWaitsForALabThatEnds(t *testing.T) {
	dir := t.TempDir()
	lock, err := takeDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		l, err := Open(t.Context(), Options{Dir: dir})
		if err == nil {
			err = l.Close()
		}
		done <- err
	}()
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAHolderThatSaysNothingIsWaitedForNoLongerThanTheContext(t *testing.T) {
	dir := t.TempDir()
	lock, err := takeDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err = Open(ctx, Options{Dir: dir})
	var used *InUseError
	if !errors.As(err, &used) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestALabTakesNoDirectoryOfOthers(t *testing.T) {
	dir := t.TempDir()
	keep := filepath.Join(dir, "root")
	if err := os.Mkdir(keep, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: dir}); err == nil {
		t.Error("got no error")
	}
	if _, err := os.Stat(keep); err != nil {
		t.Error(err)
	}
}

func TestResetLeavesAnEmptyDirectory(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.SetHealth("web", Health{}), l.Close()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"serve.log", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Reset(dir); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Name() != "notes.txt" {
		t.Errorf("left are %v, want notes.txt alone", list)
	}
}

func TestALabRetiresOnlyWhenNobodyIsConnected(t *testing.T) {
	l := newGuestLab(t)
	c := l.connect()
	if l.Retire(0) {
		t.Fatal("it retired under a connection")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for !l.Retire(0) {
		if time.Now().After(deadline) {
			t.Fatal("it does not retire")
		}
	}
	if _, running := Find(l.node.dir); running {
		t.Error("a retired lab still takes connections")
	}
}
