package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
)

// handedTo starts a server that sessions are handed to, and returns its address.
func handedTo(t *testing.T) string {
	t.Helper()
	n := imageNode(t)
	n.programs = programs()
	n.life.begin(context.Background())
	k, err := loadKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("@tengil-lab-test-%d-%s", os.Getpid(), t.Name())
	ln, err := net.Listen("unix", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(n, k, ln, 0)
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
		n.life.finish()
	})
	return addr
}

// hand hands a command line over and returns the ends of its files that are not
// the command's, and its exit status when it has ended.
func hand(t *testing.T, ctx context.Context, addr, command string) (in, out, errs *os.File, exit <-chan int) {
	t.Helper()
	var theirs, ours [3]*os.File
	for i := range theirs {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		theirs[i], ours[i] = w, r
		if i == 0 {
			theirs[i], ours[i] = r, w
		}
		t.Cleanup(func() { ours[i].Close() })
	}
	done := make(chan int, 1)
	go func() {
		status, err := Hand(ctx, addr, command, theirs)
		for _, f := range theirs {
			f.Close()
		}
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		done <- status
	}()
	return ours[0], ours[1], ours[2], done
}

func TestAHandedSession(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root is heard")
	}
	in, out, errs, exit := hand(t, t.Context(), handedTo(t), "cat; echo bad >&2; exit 7")
	if _, err := io.WriteString(in, "good\n"); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(out)
	if err != nil || string(got) != "good\n" {
		t.Errorf("standard output %q, %v", got, err)
	}
	if got, err := io.ReadAll(errs); err != nil || string(got) != "bad\n" {
		t.Errorf("standard error %q, %v", got, err)
	}
	if status := <-exit; status != 7 {
		t.Errorf("exit status %d, want 7", status)
	}
}

// What a session runs ends with the program that handed it over.
func TestAHandedSessionEndsWithItsProgram(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root is heard")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, out, _, exit := hand(t, ctx, handedTo(t), "echo begun; sleep 1000")
	if _, err := io.ReadFull(out, make([]byte, len("begun\n"))); err != nil {
		t.Fatal(err)
	}
	cancel()
	if status := <-exit; status != exitNoConnection {
		t.Errorf("exit status %d, want %d", status, exitNoConnection)
	}
	if got, err := io.ReadAll(out); err != nil || len(got) > 0 { // ends when the lab has closed its end too
		t.Errorf("more of standard output: %q, %v", got, err)
	}
}

func TestAHandedSessionOfSomebodyElse(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("this is root")
	}
	status, err := Hand(t.Context(), handedTo(t), "true", [3]*os.File{os.Stdin, os.Stdout, os.Stderr})
	if err == nil || status != exitNoConnection {
		t.Errorf("status %d, %v; want %d and an error", status, err, exitNoConnection)
	}
}
