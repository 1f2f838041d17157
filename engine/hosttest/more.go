package hosttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
)

func audit(t *testing.T, s suite) {
	dir := s.fresh(t, "audit")
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	note := func(argv ...string) *engine.Audit {
		return &engine.Audit{Time: at, App: "shop", Step: "pct_create/db", Argv: argv}
	}
	tag := fmt.Sprint("run-", time.Now().UnixNano()) // tells lines of this run
	_, err := s.Run(t.Context(), engine.Cmd{Argv: []string{"sh", "-c", "exit 7"}, Audit: note("sh", "it's\n***", tag)})
	var exit *engine.ExitError
	if !errors.As(err, &exit) || exit.Exit != 7 {
		t.Errorf("got %v, want exit status 7", err)
	} else if exit.Argv[2] != tag {
		t.Errorf("error shows %q, want the masked argv", exit.Argv)
	}
	reads := note("cat", tag)
	if _, err := s.Run(t.Context(), engine.Cmd{Argv: []string{"cat"}, Stdin: strings.NewReader("x"), Audit: reads}); err != nil {
		t.Error(err)
	}
	if reads.Stdin {
		t.Error("the Audit that was handed in was changed")
	}
	if err := s.WriteFile(t.Context(), engine.File{Name: dir + "/f", Data: []byte("x"), Audit: note("write", tag)}); err != nil {
		t.Error(err)
	}
	text, err := s.read(t, s.opts.auditLog())
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		Time      time.Time
		App, Step string
		Argv      []string
		Stdin     bool
		Exit      int
	}
	var got []line
	for l := range strings.Lines(text) {
		if !strings.Contains(l, tag) {
			continue
		}
		var one line
		if err := json.Unmarshal([]byte(l), &one); err != nil {
			t.Errorf("%q: %v", l, err)
		}
		got = append(got, one)
	}
	want := []line{
		{at, "shop", "pct_create/db", []string{"sh", "it's\n***", tag}, false, 7},
		{at, "shop", "pct_create/db", []string{"cat", tag}, true, 0},
		{at, "shop", "pct_create/db", []string{"write", tag}, false, 0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audit log (-want +got):\n%s", diff)
	}
	if mode := strings.TrimSpace(s.run(t, "stat", "-c", "%a", s.opts.auditLog())); mode != "600" {
		t.Errorf("audit log has mode %s, want 600", mode)
	}
}

func holdExclusive(t *testing.T, s suite) {
	lock := engine.Lock{
		Path: s.fresh(t, "hold") + "/locks/app.lock", Holder: "ben's laptop, tg run \"shop\"",
		Since: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	}
	held, err := s.Hold(t.Context(), lock)
	if err != nil {
		t.Fatal(err)
	}
	other := s.open(t)
	defer other.Close()
	for name, h := range map[string]engine.Host{"same host": s.Host, "another": other} {
		_, err := h.Hold(t.Context(), engine.Lock{Path: lock.Path, Holder: "someone else"})
		var le *engine.LockedError
		if !errors.As(err, &le) {
			t.Fatalf("%s: got %v, want a *LockedError", name, err)
		}
		if diff := cmp.Diff(&engine.LockedError{Path: lock.Path, Holder: lock.Holder, Since: lock.Since}, le); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if err := held.Close(); err != nil {
		t.Error(err)
	}
	if err := held.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	again, err := other.Hold(t.Context(), lock)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if mode := strings.TrimSpace(s.run(t, "stat", "-c", "%a", s.dir+"/hold/locks")); mode != "700" {
		t.Errorf("directory of the lock has mode %s, want 700", mode)
	}
}

func holdEnds(t *testing.T, s suite) {
	lock := engine.Lock{Path: s.fresh(t, "hold-ends") + "/lock", Holder: "first"}
	other := s.open(t)
	if _, err := other.Hold(t.Context(), lock); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	s.free(t, lock.Path)
}

func parallel(t *testing.T, s suite) {
	const n = 24 // more than there are sessions
	done := make(chan error, n)
	for i := range n {
		go func() {
			want := fmt.Sprint("number ", i)
			r, err := s.Run(t.Context(), engine.Cmd{Argv: []string{"cat"}, Stdin: strings.NewReader(want)})
			if err == nil && string(r.Stdout) != want {
				err = fmt.Errorf("got %q, want %q", r.Stdout, want)
			}
			done <- err
		}()
	}
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// dial asks for a port of this machine, so it says nothing about a remote Host but
// that a refusal is an error.
func dial(t *testing.T, s suite) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := s.Dial(t.Context(), "tcp", addr)
	if err == nil {
		conn.Close()
		t.Errorf("port without a listener: got a connection")
	}
}
