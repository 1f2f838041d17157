//go:build unix

package sshhost_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/sshhost"
)

// transient checks that err is, and that the next command works.
func transient(t *testing.T, h *sshhost.Host, err error) {
	t.Helper()
	if !errors.Is(err, engine.ErrTransient) {
		t.Errorf("got %v, want it transient", err)
	}
	if _, err := h.Run(t.Context(), engine.Cmd{Argv: []string{"true"}}); err != nil {
		t.Errorf("next command: %v", err)
	}
}

// fifo makes a named pipe and returns its name, and a function that waits until
// somebody has written to it.
func fifo(t *testing.T) (name string, written func()) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	return name, func() {
		t.Helper()
		if _, err := os.ReadFile(name); err != nil {
			t.Error(err)
		}
	}
}

// unlocked waits until nobody on this machine holds a lock.
func unlocked(t *testing.T, lock string) {
	t.Helper()
	if out, err := exec.Command("flock", "-w", "20", lock, "true").CombinedOutput(); err != nil {
		t.Errorf("still held: %v %s", err, out)
	}
}

func TestCutInBatch(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp) // of mktemp on the server
	s, e := endpoint(t)
	h := dialed(t, e, sshhost.Options{})
	defer h.Close()
	name, written := fifo(t)
	failed := make(chan error, 1)
	go func() {
		_, err := h.Batch(t.Context(), []engine.Ask{
			engine.AskRun("flock", name+".lock", "sh", "-c", `echo >"$1"; exec sleep 600`, "sh", name),
		})
		failed <- err
	}()
	written()
	s.cut()
	transient(t, h, <-failed)
	unlocked(t, name+".lock")
	holdsOnly(t, temp, 0)
}

func TestCutInWriteFile(t *testing.T) {
	s, e := endpoint(t)
	s.cutAfter = 300_000
	h := dialed(t, e, sshhost.Options{})
	defer h.Close()
	dir := t.TempDir()
	name := dir + "/file"
	if err := os.WriteFile(name, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := h.WriteFile(t.Context(), engine.File{Name: name, Data: make([]byte, 4<<20)})
	transient(t, h, err)
	if got, err := os.ReadFile(name); err != nil || string(got) != "old" {
		t.Errorf("got %.40q, %v; want the old content", got, err)
	}
	holdsOnly(t, dir, 1)
}

// holdsOnly waits until there are only n files in dir: the node cleans up after the
// client was told.
func holdsOnly(t *testing.T, dir string, n int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		if got, err := os.ReadDir(dir); err == nil && len(got) == n {
			return
		}
		<-tick.C
	}
	t.Errorf("a temporary file stayed in %s", dir)
}

func TestLeftoversAreSwept(t *testing.T) {
	h := sshhost.Local(sshhost.Options{})
	defer h.Close()
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{
		".file.tg-Ab12Cd":        11 * time.Minute, // left by a loss of power
		".file.tg-Ef34Gh":        9 * time.Minute,  // may be somebody's
		".file.tg-x.tg-Ab12Cd":   time.Hour,        // of file.tg-x
		".other file.tg-Ab12Cd":  time.Hour,
		".file.tg-Ab12Cd.backup": time.Hour,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		made := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(dir, name), made, made); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.WriteFile(t.Context(), engine.File{Name: dir + "/file"}); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.Name())
	}
	want := ".file.tg-Ab12Cd.backup\n.file.tg-Ef34Gh\n.file.tg-x.tg-Ab12Cd\n.other file.tg-Ab12Cd\nfile"
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

func TestLockOfFileIsBusy(t *testing.T) {
	h := sshhost.Local(sshhost.Options{LockWait: 50 * time.Millisecond})
	defer h.Close()
	dir := t.TempDir()
	held, err := h.Hold(t.Context(), engine.Lock{Path: dir + "/lock"})
	if err != nil {
		t.Fatal(err)
	}
	f := engine.File{Name: dir + "/file", Data: []byte("x"), Lock: dir + "/lock"}
	err = h.WriteFile(t.Context(), f)
	if !errors.Is(err, engine.ErrTransient) || !strings.Contains(err.Error(), dir+"/lock") {
		t.Errorf("got %v, want it transient and naming the lock", err)
	}
	if got, err := os.ReadDir(dir); err != nil || len(got) != 1 {
		t.Errorf("left %v, %v; want the lock alone", got, err)
	}
	if err := held.Close(); err != nil {
		t.Error(err)
	}
	if err := h.WriteFile(t.Context(), f); err != nil {
		t.Errorf("after release: %v", err)
	}
}

// TestSilentServer has the server stop answering in the middle of a command.
func TestSilentServer(t *testing.T) {
	s, e := endpoint(t)
	begin := s.freeze()
	h := dialed(t, e, sshhost.Options{KeepAlive: 20 * time.Millisecond})
	defer h.Close()
	started := make(chan struct{}, 1)
	failed := make(chan error, 1)
	go func() {
		_, err := h.Run(t.Context(), engine.Cmd{Argv: []string{"sh", "-c", "echo; exec sleep 600"}, Stdout: notify(started)})
		failed <- err
	}()
	<-started
	begin()
	transient(t, h, <-failed)
}

// TestHandshakeHangs connects to something that accepts and says nothing.
func TestHandshakeHangs(t *testing.T) {
	_, e := endpoint(t)
	e.Addr = silent(t)
	_, err := sshhost.DialEndpoint(t.Context(), e, sshhost.Options{ConnectTimeout: 50 * time.Millisecond})
	says(t, err, "connect to test", "no answer within 50ms")
	if !errors.Is(err, engine.ErrTransient) {
		t.Errorf("got %v, want it transient", err)
	}
}

func TestSessionsAtOnce(t *testing.T) {
	for _, c := range []struct {
		name      string
		max, want int // of the server; the most that must be seen
	}{
		{"never more than 8", 0, 8},
		{"as many as the server allows", 3, 3},
		{"one", 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, e := endpoint(t)
			peak, full := 0, make(chan struct{})
			s.max = c.max
			var once sync.Once
			s.opened = func(n int) {
				peak = max(peak, n)
				if n == c.want {
					once.Do(func() { close(full) })
				}
			}
			h := dialed(t, e, sshhost.Options{})
			defer h.Close()
			const commands = 30
			done := make(chan error, commands)
			for range commands {
				go func() { // none ends before as many as may run at once do
					_, err := h.Run(t.Context(), engine.Cmd{Argv: []string{"cat"}, Stdin: &gate{full}})
					done <- err
				}()
			}
			for range commands {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if peak != c.want {
				t.Errorf("%d sessions at once, want %d", peak, c.want)
			}
		})
	}
}

// A gate is a reader that ends when its channel is closed.
type gate struct{ open <-chan struct{} }

func (g *gate) Read([]byte) (int, error) { <-g.open; return 0, io.EOF }

func TestLockTakesTheOnlySession(t *testing.T) {
	s, e := endpoint(t)
	s.max = 1
	h := dialed(t, e, sshhost.Options{})
	defer h.Close()
	held, err := h.Hold(t.Context(), engine.Lock{Path: t.TempDir() + "/lock"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Run(t.Context(), engine.Cmd{Argv: []string{"true"}})
	says(t, err, "no session left", "MaxSessions")
	if err := held.Close(); err != nil {
		t.Error(err)
	}
	if _, err := h.Run(t.Context(), engine.Cmd{Argv: []string{"true"}}); err != nil {
		t.Errorf("after release: %v", err)
	}
}

func TestBatchAnswerTooLarge(t *testing.T) {
	h := sshhost.Local(sshhost.Options{})
	defer h.Close()
	name := t.TempDir() + "/large"
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 65<<20); err != nil {
		t.Fatal(err)
	}
	_, err := h.Batch(t.Context(), []engine.Ask{engine.AskFile(name)})
	if err == nil || !strings.Contains(err.Error(), "too large: wanted at most 64 MiB") {
		t.Errorf("got %v, want that the answer is too large", err)
	}
	if errors.Is(err, engine.ErrTransient) {
		t.Errorf("%v is transient", err)
	}
}

// TestUnreadable logs in as a user who may not read a file that there is.
func TestUnreadable(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to run the commands of the server as somebody else")
	}
	s, e := endpoint(t)
	s.uid = 65534 // nobody
	h := dialed(t, e, sshhost.Options{})
	defer h.Close()
	dir, err := os.MkdirTemp("/tmp", "tg-unreadable")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]fs.FileMode{"/secret": 0o600, "/open": 0o644} {
		if err := os.WriteFile(dir+name, []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
	}
	a, err := h.Batch(t.Context(), []engine.Ask{engine.AskFile(dir + "/secret"), engine.AskFile(dir + "/open"), engine.AskGlob(dir + "/*")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.File(dir + "/secret"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("file: got %v, want %v", err, fs.ErrPermission)
	}
	if b, err := a.File(dir + "/open"); err != nil || string(b) != "x" {
		t.Errorf("file beside it: got %q, %v", b, err)
	}
	if _, err := a.Glob(dir + "/*"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("glob: got %v, want %v", err, fs.ErrPermission)
	}
}

// TestCutInputIsNeverComplete cuts the input of programs that no SIGTERM ends.
func TestCutInputIsNeverComplete(t *testing.T) {
	for _, c := range []struct{ name, script string }{
		{"ignores SIGTERM", `trap '' TERM; %s`},
		{"left the process group", `exec setsid sh -c '%s' sh "$1"`},
		{"left a child in another group", `exec 3<&0; setsid sh -c '%s' sh "$1" <&3 & exec sleep 600 <&3`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, e := endpoint(t)
			h := dialed(t, e, sshhost.Options{})
			defer h.Close()
			dir := t.TempDir()
			// Says when it has read, then waits for more; killed at the end of the test.
			script := fmt.Sprintf(c.script, `echo $$ >"$1/pid"; head -c 4 >"$1/begin"; echo >&2; cat >"$1/rest"; echo >"$1/whole"`)
			r, w := io.Pipe()
			defer w.Close()
			started := make(chan struct{}, 1)
			failed := make(chan error, 1)
			go func() {
				_, err := h.Run(t.Context(), engine.Cmd{
					Argv: []string{"sh", "-c", script, "sh", dir}, Stdin: r, Stderr: notify(started),
				})
				failed <- err
			}()
			if _, err := w.Write([]byte("half of it")); err != nil {
				t.Fatal(err)
			}
			<-started
			s.cut()
			if err := <-failed; !errors.Is(err, engine.ErrTransient) {
				t.Errorf("got %v, want it transient", err)
			}
			stillReads(t, dir)
		})
	}
}

// stillReads checks that the program that wrote dir/pid waits for more input for as
// long as it can be told, and ends it.
func stillReads(t *testing.T, dir string) {
	t.Helper()
	pid, err := os.ReadFile(dir + "/pid")
	if err != nil {
		t.Fatal(err)
	}
	// The frame sends its second SIGTERM after a second; only then is all over.
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	if _, err := os.Stat(dir + "/whole"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the program took a cut input for complete (%v)", err)
	}
	id, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err != nil {
		t.Fatal(err)
	}
	group, err := syscall.Getpgid(id)
	if err != nil {
		t.Fatalf("the program has ended: %v", err)
	}
	if err := syscall.Kill(-group, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}
