package sshhost

import (
	"context"
	"fmt"
	"net"

	"golang.org/x/crypto/ssh"

	"github.com/tengil/tengil/engine"
)

// An Endpoint says how to reach an SSH server whose key is known beforehand.
type Endpoint struct {
	Addr    string // host:port
	User    string
	HostKey string // as in authorized_keys: "ssh-ed25519 AAAA…"
	KeyFile string // private key without a passphrase
	Name    string // what Host.Name returns; Addr if empty
}

// DialEndpoint connects to e, and looks at no file but e.KeyFile. Of o it uses
// ConnectTimeout, KeepAlive, LockWait, AuditLog and Log. The caller must close the
// Host.
func DialEndpoint(ctx context.Context, e Endpoint, o Options) (*Host, error) {
	if e.Name == "" {
		e.Name = e.Addr
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(e.HostKey))
	if err != nil {
		return nil, fmt.Errorf("host key of %s: %w", e.Name, err)
	}
	signer, err := readKey(e.KeyFile, nil, func() {})
	if err != nil {
		return nil, engine.WithHint(fmt.Errorf("key file of %s: %s: %w", e.Name, e.KeyFile, err),
			"whoever started the server keeps its keys; look up anew how to reach it")
	}
	h := hop{name: e.Name, user: e.User, addr: e.Addr, timeout: o.connectTimeout(), pinned: true}
	creds := &credentials{}
	creds.add(signer, "file "+e.KeyFile)
	return connected(ctx, e.Name, o, func(ctx context.Context) (*chain, error) {
		client, err := dialPinned(ctx, h, key, creds)
		if err != nil {
			return nil, err
		}
		return &chain{clients: []*ssh.Client{client}, ended: make(chan struct{})}, nil
	})
}

func dialPinned(ctx context.Context, h hop, key ssh.PublicKey, creds *credentials) (*ssh.Client, error) {
	conn, err := dialTCP(ctx, nil, h)
	if err != nil {
		return nil, err
	}
	a := newAttempt(ctx, conn, h)
	var refused error
	a.hostKeyErr = func() error { return refused }
	a.credentials = func() *credentials { return creds }
	check := func(_ string, _ net.Addr, got ssh.PublicKey) error {
		if !sameKey(got, key) {
			refused = wrongKey(h, got, key)
		}
		return refused
	}
	return a.handshake(check, keyAlgorithms(key.Type()))
}

func wrongKey(h hop, got, want ssh.PublicKey) error {
	err := fmt.Errorf("host key of %s at %s: got %s %s, wanted %s %s", h.name, h.addr,
		got.Type(), ssh.FingerprintSHA256(got), want.Type(), ssh.FingerprintSHA256(want))
	return engine.WithHint(err, "another server listens there now; look up anew how to reach it")
}

// keyAlgorithms returns the signature algorithms of a type of key, best first.
func keyAlgorithms(keyType string) []string {
	if keyType == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{keyType}
}
