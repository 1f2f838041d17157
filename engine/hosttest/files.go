package hosttest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/tengil/tengil/engine"
)

func (s suite) read(t *testing.T, name string) (string, error) {
	t.Helper()
	a, err := s.Batch(t.Context(), []engine.Ask{engine.AskFile(name)})
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.File(name)
	return string(b), err
}

func (s suite) holds(t *testing.T, name, want string) {
	t.Helper()
	if got, err := s.read(t, name); err != nil || got != want {
		t.Errorf("%s holds %.60q, %v; want %.60q", name, got, err, want)
	}
}

func writeFile(t *testing.T, s suite) {
	dir := s.fresh(t, "write")
	for _, c := range []struct {
		name, file, data string
		perm             fs.FileMode
		mode             string
	}{
		{"new, in new directories", "/a/b/file", "hello\n", 0o640, "640"},
		{"over an old one", "/a/b/file", "other", 0o600, "600"},
		{"mode not given", "/plain", "x", 0, "600"},
		{"empty", "/empty", "", 0o644, "644"},
		{"name with blanks and quotes", "/it's a \"file\" $(id)", "x", 0o600, "600"},
		{"any bytes", "/bytes", "\x00\xff\r\n\x00", 0o600, "600"},
		{"large", "/large", strings.Repeat("large ", 300_000), 0o600, "600"},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := dir + c.file
			err := s.WriteFile(t.Context(), engine.File{Name: name, Data: []byte(c.data), Perm: c.perm})
			if err != nil {
				t.Fatal(err)
			}
			s.holds(t, name, c.data)
			if got := strings.TrimSpace(s.run(t, "stat", "-c", "%a", name)); got != c.mode {
				t.Errorf("mode %s, want %s", got, c.mode)
			}
		})
	}
	for _, d := range []string{"/a", "/a/b"} {
		if got := strings.TrimSpace(s.run(t, "stat", "-c", "%a", dir+d)); got != "700" {
			t.Errorf("parent %s has mode %s, want 700", d, got)
		}
	}
	if got := s.list(t, dir+"/a/b"); got != "file\n" {
		t.Errorf("beside the file: %q", got)
	}
}

func writeFileWas(t *testing.T, s suite) {
	name := s.fresh(t, "was") + "/file"
	write := func(data string, was []byte) error {
		return s.WriteFile(t.Context(), engine.File{Name: name, Data: []byte(data), Was: was})
	}
	if err := write("one", []byte("zero")); !errors.Is(err, engine.ErrChanged) {
		t.Errorf("no such file: got %v, want %v", err, engine.ErrChanged)
	}
	if err := write("one", []byte{}); err != nil {
		t.Errorf("must not exist, and does not: %v", err)
	}
	if err := write("two", []byte{}); !errors.Is(err, engine.ErrChanged) {
		t.Errorf("must not exist, and does: got %v, want %v", err, engine.ErrChanged)
	}
	if err := write("two", []byte("one")); err != nil {
		t.Errorf("as it was: %v", err)
	}
	if err := write("three", []byte("one")); !errors.Is(err, engine.ErrChanged) {
		t.Errorf("changed: got %v, want %v", err, engine.ErrChanged)
	}
	s.holds(t, name, "two")
	if got := s.list(t, s.dir+"/was"); got != "file\n" {
		t.Errorf("beside the file: %q", got)
	}
}

// writeFileLock lets many add their letter; none gets lost.
func writeFileLock(t *testing.T, s suite) {
	dir := s.fresh(t, "locked")
	name, lock := dir+"/file", dir+"/locks/lock"
	const writers = 6
	done := make(chan error, writers)
	for range writers {
		go func() { done <- s.addLetter(t.Context(), name, lock) }()
	}
	for range writers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	s.holds(t, name, strings.Repeat("x", writers))
}

func (s suite) addLetter(ctx context.Context, name, lock string) error {
	for {
		a, err := s.Batch(ctx, []engine.Ask{engine.AskFile(name)})
		if err != nil {
			return err
		}
		was, err := a.File(name)
		if errors.Is(err, fs.ErrNotExist) {
			was = []byte{}
		} else if err != nil {
			return err
		}
		err = s.WriteFile(ctx, engine.File{Name: name, Data: append(bytes.Clone(was), 'x'), Was: was, Lock: lock})
		if !errors.Is(err, engine.ErrChanged) {
			return err
		}
	}
}

func writeFileFails(t *testing.T, s suite) {
	dir := s.fresh(t, "fails")
	s.write(t, dir+"/file", "old")
	s.run(t, "mkdir", dir+"/dir")
	for _, f := range []engine.File{
		{Name: dir + "/file/below"}, {Name: dir + "/dir"}, {Name: "relative"}, {Name: dir + "/a\x00b"}, {Name: dir + "/../up"}, {Name: ""},
	} {
		f.Data = []byte("new")
		if err := s.WriteFile(t.Context(), f); err == nil {
			t.Errorf("%q: got no error", f.Name)
		}
	}
	s.holds(t, dir+"/file", "old")
	if got := s.list(t, dir); got != "dir\nfile\n" {
		t.Errorf("left %q", got)
	}
	if got := s.list(t, dir+"/dir"); got != "" {
		t.Errorf("left %q in the directory", got)
	}
}

// writeFileCancelled cancels a write that waits for a lock.
func writeFileCancelled(t *testing.T, s suite) {
	dir := s.fresh(t, "write-cancelled")
	s.write(t, dir+"/file", "old")
	held, err := s.Hold(t.Context(), engine.Lock{Path: dir + "/lock"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err = s.WriteFile(ctx, engine.File{Name: dir + "/file", Data: []byte("new"), Lock: dir + "/lock"})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	if err := held.Close(); err != nil {
		t.Error(err)
	}
	s.free(t, dir+"/lock")
	s.holds(t, dir+"/file", "old")
	if got := s.list(t, dir); got != "file\nlock\n" {
		t.Errorf("left %q", got)
	}
}
