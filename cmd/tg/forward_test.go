package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tengil/tengil/engine/sshhost"
)

// A counter is a server that says how much it was sent, once that has ended.
func counter(t *testing.T, addr string) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				n, err := io.Copy(io.Discard, conn)
				fmt.Fprint(conn, n, " ", err)
			}()
		}
	}()
	return ln
}

// startForward leads a port of this machine to addr, until stop is called.
func startForward(t *testing.T, addr string, failed func(error)) (at string, stop func() error) {
	t.Helper()
	host := sshhost.Local(sshhost.Options{})
	ln, err := listenNear(t.Context(), 0, "")
	if err != nil {
		t.Fatal(err)
	}
	f := &forward{
		listener: ln, failed: failed,
		dial: func(ctx context.Context) (net.Conn, error) { return host.Dial(ctx, "tcp", addr) },
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- f.serve(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return errors.Join(<-over, ignoreCanceled(host.Close()))
	})
	t.Cleanup(func() { _ = stop() })
	return ln.Addr().String(), stop
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func connectTo(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// Many connections are open at once, and each hears the answer to all that it
// said although it has closed its own half.
func TestForwardLeadsManyAtOnceAndHalfClosed(t *testing.T) {
	at, _ := startForward(t, counter(t, "127.0.0.1:0").Addr().String(), func(err error) { t.Error(err) })
	var conns []*net.TCPConn
	for range 20 {
		conns = append(conns, connectTo(t, at))
	}
	for i, c := range conns {
		if _, err := c.Write(bytes.Repeat([]byte("x"), 1000*i)); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range conns {
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(c)
		if want := fmt.Sprint(1000*i, " <nil>"); err != nil || string(said) != want {
			t.Errorf("connection %d was told %q, want %q: %v", i, said, want, err)
		}
	}
}

// Where nothing answers, connections end, that is told once, and it works again
// as soon as something does.
func TestForwardOutlivesTheApplication(t *testing.T) {
	server := counter(t, "127.0.0.1:0")
	addr := server.Addr().String()
	told := make(chan error, 10)
	at, stop := startForward(t, addr, func(err error) { told <- err })
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if said, err := io.ReadAll(connectTo(t, at)); len(said) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("without an application: %q, %v", said, err)
		}
	}
	counter(t, addr)
	c := connectTo(t, at)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(c); err != nil || string(said) != "0 <nil>" {
		t.Errorf("once it is back: %q, %v", said, err)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if len(told) != 1 {
		t.Errorf("%d times it was told that nothing answers, want once", len(told))
	}
	if err := <-told; !strings.Contains(err.Error(), "refused") {
		t.Errorf("told: %v", err)
	}
}

// Nothing is left when it ends, also of connections that wait for an answer.
func TestForwardEndsWithAllItsConnections(t *testing.T) {
	at, stop := startForward(t, counter(t, "127.0.0.1:0").Addr().String(), func(err error) { t.Error(err) })
	c := connectTo(t, at)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if said, err := io.ReadAll(c); len(said) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection goes on: %q, %v", said, err)
	}
	if again, err := net.Dial("tcp", at); err == nil {
		again.Close()
		t.Error("it still listens")
	}
}

func TestForwardTakesThePortOfTheApplicationIfItIsFree(t *testing.T) {
	first, err := listenNear(t.Context(), 0, "")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(first.Addr().String())
	far := net.JoinHostPort("192.0.2.7", port)
	other, err := listenNear(t.Context(), 0, far)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if other.Addr().String() == first.Addr().String() {
		t.Errorf("it listens on %s a second time", first.Addr())
	}
	taken := first.Addr().(*net.TCPAddr).Port
	if _, err := listenNear(t.Context(), taken, far); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("port %d of this machine: ", taken)) {
		t.Errorf("on a port that is taken and was asked for: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	same, err := listenNear(t.Context(), 0, far)
	if err != nil {
		t.Fatal(err)
	}
	defer same.Close()
	if same.Addr().String() != first.Addr().String() {
		t.Errorf("it listens on %s, want %s, which is free", same.Addr(), first.Addr())
	}
}

// openForward starts tg open, which forwards, and returns what it says as JSON, and
// how to end it.
func openForward(t *testing.T, cmd *exec.Cmd) (local string, stop func()) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != exitInterrupted {
			t.Errorf("tg open ended with status %d, want %d:\n%s", got, exitInterrupted, &errs)
		}
	})
	t.Cleanup(stop)
	var said struct{ App, URL, Local string }
	if err := json.NewDecoder(out).Decode(&said); err != nil {
		t.Fatalf("what tg open says: %v", err)
	}
	if !strings.HasPrefix(said.Local, "http://127.0.0.1:") || said.URL == "" || said.App == "" {
		t.Fatalf("tg open says %+v", said)
	}
	return said.Local, stop
}

// An application of the lab is reached through its SSH server without being asked
// to, by several at once.
func TestOpenLeadsIntoTheLab(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signal that stands for Ctrl-C")
	}
	home := t.TempDir()
	dir := filepath.Join(home, "lab")
	t.Cleanup(func() { stopLab(t, dir) })
	opener := filepath.Join(home, "bin", "xdg-open") // by no other name on other systems
	for name, text := range map[string]string{
		filepath.Join(home, "app.star"): `recipe(name = "app")
web = pct_create("web", image = oci_pull("docker.io/library/nginx:1.29"), ready = http_ready(80))
output("url", "http://%s:80/a?b=c" % web.address)
`,
		opener: "#!/bin/sh\nprintf '%s' \"$1\" >\"$HOME/opened.new\" && mv \"$HOME/opened.new\" \"$HOME/opened\"\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tg := func(args ...string) *exec.Cmd {
		cmd := exec.Command("tg", args...)
		cmd.Dir = home
		cmd.Env = append(os.Environ(), "TG_LAB_DIR="+dir, "TG_HOST=lab", "HOME="+home, "PATH="+filepath.Dir(opener)+string(os.PathListSeparator)+os.Getenv("PATH"))
		return cmd
	}
	if out, err := tg("run", "app.star", "--yes").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	args := []string{"open", "app", "-o", "json"}
	if runtime.GOOS != "linux" {
		args = append(args, "--forward", "--print")
	}
	local, stop := openForward(t, tg(args...))
	if !strings.HasSuffix(local, "/a?b=c") {
		t.Errorf("it leads to %s, which is another page", local)
	}
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			resp, err := http.Get(local)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || len(body) == 0 {
				t.Errorf("status %d, %q, %v", resp.StatusCode, body, err)
			}
		})
	}
	all.Wait()
	stop()
	if _, err := http.Get(local); err == nil {
		t.Error("it still leads there after Ctrl-C")
	}
	if runtime.GOOS == "linux" {
		if got, err := os.ReadFile(filepath.Join(home, "opened")); err != nil || string(got) != local {
			t.Errorf("the browser was given %q, want %q: %v", got, local, err)
		}
	}
}
