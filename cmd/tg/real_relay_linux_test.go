package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tengil/tengil/engine/lab"
)

// A relay is a network on the way to a server: it can refuse connections, and be
// slow.
type relay struct {
	addr, to string
	delay    time.Duration // each way
	lossy    bool          // one in a hundred pieces comes late, as when it was sent again

	mu      sync.Mutex
	conns   map[net.Conn]bool
	down    bool
	refused int
	work    sync.WaitGroup
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: ln.Addr().String(), to: to, conns: map[net.Conn]bool{}}
	r.work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return // closed
			}
			r.work.Go(func() { r.serve(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		r.refuse()
		r.work.Wait()
	})
	return r
}

// refuse ends all connections, and resets those that come from now on.
func (r *relay) refuse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down, r.refused = true, 0
	for c := range r.conns {
		_ = c.Close()
	}
}

// wasRefused returns how many connections were reset since refuse.
func (r *relay) wasRefused() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}

// accept takes connections again.
func (r *relay) accept() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = false
}

func (r *relay) serve(from *net.TCPConn) {
	to, err := net.Dial("tcp", r.to)
	if err != nil || !r.admit(from, to) {
		_ = from.SetLinger(0)
		_ = from.Close()
		if err == nil {
			_ = to.Close()
		}
		return
	}
	var both sync.WaitGroup
	both.Go(func() { r.carry(to, from) })
	both.Go(func() { r.carry(from, to) })
	both.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, from)
	delete(r.conns, to)
}

func (r *relay) admit(from, to net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		r.refused++
		return false
	}
	r.conns[from], r.conns[to] = true, true
	return true
}

// carry copies what comes, later, until either side ends; then both do.
func (r *relay) carry(to, from net.Conn) {
	type piece struct {
		data []byte
		due  time.Time
	}
	pieces := make(chan piece, 1024)
	r.work.Go(func() {
		defer close(pieces)
		for n := 1; ; n++ {
			buf := make([]byte, 16<<10)
			got, err := from.Read(buf)
			if got > 0 {
				delay := r.delay
				if r.lossy && n%100 == 0 {
					delay *= 3
				}
				pieces <- piece{buf[:got], time.Now().Add(delay)}
			}
			if err != nil {
				return
			}
		}
	})
	for p := range pieces {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.data); err != nil {
			_ = from.Close()
		}
	}
	_ = errors.Join(to.Close(), from.Close())
}

// over has tg reach the lab as a node of that name that HOME/.ssh/config
// describes, at an address; config is added.
func (r *realRig) over(t *testing.T, name, addr, config string) {
	t.Helper()
	at, running := lab.Find(r.dir)
	if !running {
		t.Fatal("the lab does not run")
	}
	host, port, _ := net.SplitHostPort(addr)
	r.ssh(t, "config", fmt.Sprintf("Host %s\n  HostName %s\n  Port %s\n%s\n", name, host, port, config))
	r.ssh(t, "known_hosts", knownHost(addr, at.HostKey))
	r.host = name
}

func knownHost(addr, key string) string {
	host, port, _ := net.SplitHostPort(addr)
	return fmt.Sprintf("[%s]:%s %s\n", host, port, key)
}

// ssh writes a file of HOME/.ssh.
func (r *realRig) ssh(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(r.home, ".ssh", name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
