package sshhost

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"testing"

	"golang.org/x/crypto/ssh"
)

// deafChain is a connection to a server that never answers who asks for a session.
func deafChain(t *testing.T) *chain {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	here, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	there, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	served := make(chan error, 1)
	go func() {
		conn, _, requests, err := ssh.NewServerConn(there, config)
		served <- err
		if err == nil {
			ssh.DiscardRequests(requests)
			conn.Close()
		}
	}()
	conn, channels, requests, err := ssh.NewClientConn(here, "deaf", &ssh.ClientConfig{User: "root", HostKeyCallback: ssh.FixedHostKey(signer.PublicKey())})
	if err = errors.Join(err, <-served); err != nil {
		t.Fatal(err)
	}
	c := &chain{clients: []*ssh.Client{ssh.NewClient(conn, channels, requests)}, ended: make(chan struct{})}
	t.Cleanup(c.close)
	return c
}

// A session that x/crypto has let go of is not waited for when the connection has
// ended.
func TestTheEndOfAConnectionEndsWhatWaitsForASession(t *testing.T) {
	c := deafChain(t)
	close(c.ended)
	if _, err := start(t.Context(), c, "true", nil); !errors.Is(err, errEnded) {
		t.Errorf("session: %v, want %v", err, errEnded)
	}
	if _, err := c.dial(t.Context(), "tcp", "10.0.0.1:80"); err == nil {
		t.Error("a connection was forwarded")
	}
}
