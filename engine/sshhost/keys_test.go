//go:build unix

package sshhost_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// startAgent serves an ssh-agent that holds keys, and returns its socket.
func startAgent(t *testing.T, keys ...any) string {
	t.Helper()
	ring := agent.NewKeyring()
	for _, k := range keys {
		if err := ring.Add(agent.AddedKey{PrivateKey: k, Comment: "ben@laptop"}); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "agent") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close(); os.RemoveAll(dir) })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, c); c.Close() }()
		}
	}()
	return ln.Addr().String()
}

// a pair is a private key and what a server knows of it.
type pair struct {
	private ed25519.PrivateKey
	signer  ssh.Signer
}

func newPair(t *testing.T) pair {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pair{private, signer}
}

func (p pair) public() []byte { return ssh.MarshalAuthorizedKey(p.signer.PublicKey()) }

func (p pair) print() string { return ssh.FingerprintSHA256(p.signer.PublicKey()) }

// TestAgent logs in with keys that an agent holds. The server takes one key.
func TestAgent(t *testing.T) {
	good, other := newPair(t), newPair(t)
	for _, c := range []struct {
		name   string
		config string
		agent  []any
		files  map[string][]byte
		refuse []string // what the error says; nil if it works
	}{
		{"a key of the agent", "", []any{good.private}, nil, nil},
		{"the second key of the agent", "", []any{other.private, good.private}, nil, nil},
		{"a wrong key is named with its comment", "", []any{other.private}, nil,
			[]string{"agent key ben@laptop (" + other.print() + ")"}},
		{"IdentitiesOnly offers nothing else of the agent", "IdentitiesOnly yes\n  IdentityFile ~/other.pub", []any{good.private},
			map[string][]byte{"other.pub": other.public()}, []string{"other.pub not used: no private key there, and not in the agent"}},
		{"IdentitiesOnly with the public half of a key of the agent", "IdentitiesOnly yes\n  IdentityFile ~/good.pub", []any{other.private, good.private},
			map[string][]byte{"good.pub": good.public()}, nil},
		{"IdentitiesOnly with the private half away", "IdentitiesOnly yes\n  IdentityFile ~/good", []any{good.private},
			map[string][]byte{"good.pub": good.public()}, nil},
		{"IdentitiesOnly with an encrypted file of which the agent has the key", "IdentitiesOnly yes\n  IdentityFile ~/good", []any{good.private},
			map[string][]byte{"good": encrypted(t, good.private)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHome(t, "", "")
			h.server = newServer(t, good.signer.PublicKey())
			h.trust(t, h.server.hostKey)
			_, port, _ := net.SplitHostPort(h.server.addr())
			h.write(t, "config", "Host node\n  HostName 127.0.0.1\n  Port "+port+"\n  "+c.config+"\n")
			for name, data := range c.files {
				h.write(t, name, string(data))
			}
			h.opts.AgentSocket = startAgent(t, c.agent...)
			err := h.works(t, "node")
			switch {
			case c.refuse != nil:
				says(t, err, append(c.refuse, "log in to node as root")...)
			case err != nil:
				t.Error(err)
			}
		})
	}
}

func TestAgentIsGone(t *testing.T) {
	h := newHome(t, "", "")
	h.trust(t, h.server.hostKey)
	h.opts.AgentSocket = h.path("none")
	if err := h.works(t, "node"); err != nil {
		t.Errorf("with a key file: %v", err)
	}
	if err := os.Remove(h.path("id")); err != nil {
		t.Fatal(err)
	}
	says(t, h.works(t, "node"), "log in to node", "ssh-agent", h.path("none"))
}

// encrypted returns a key in the format of OpenSSH with the passphrase "secret".
func encrypted(t *testing.T, key ed25519.PrivateKey) []byte {
	t.Helper()
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "test", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

// encryptedRSA returns a key in the old format, which keeps no public half.
func encryptedRSA(t *testing.T) (private []byte, public ssh.PublicKey) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 people have such keys
	block, err := x509.EncryptPEMBlock(rand.Reader, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), []byte("secret"), x509.PEMCipherAES128) //nolint:staticcheck // people have such keys
	if err != nil {
		t.Fatal(err)
	}
	public, err = ssh.NewPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block), public
}

func TestPassphrase(t *testing.T) {
	ed := newPair(t)
	old, oldPublic := encryptedRSA(t)
	for _, c := range []struct {
		name    string
		private []byte
		public  ssh.PublicKey
	}{
		{"ed25519 in the format of OpenSSH", encrypted(t, ed.private), ed.signer.PublicKey()},
		{"RSA in PEM", old, oldPublic},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHome(t, "", "")
			h.server = newServer(t, c.public)
			h.trust(t, h.server.hostKey)
			_, port, _ := net.SplitHostPort(h.server.addr())
			h.write(t, "config", "Host node\n  HostName 127.0.0.1\n  Port "+port+"\n  IdentityFile ~/id\n")
			h.write(t, "id", string(c.private))
			h.write(t, "id.pub", string(ssh.MarshalAuthorizedKey(c.public)))

			says(t, h.works(t, "node"), "log in to node as root", h.path("id"), "needs a passphrase")
			if asked, err := h.worksWith(t, "wrong", "wrong", "wrong", "secret"); asked != 3 {
				t.Errorf("asked %d times, want 3", asked)
			} else {
				says(t, err, "log in to node as root", h.path("id"), "wrong passphrase", "ssh-add")
			}
			if asked, err := h.worksWith(t, "wrong", "secret"); err != nil || asked != 2 {
				t.Errorf("right at the second time: asked %d times, got %v", asked, err)
			}
		})
	}
}

// worksWith answers with one passphrase after the other, and tells how many it took.
func (h *home) worksWith(t *testing.T, phrases ...string) (asked int, err error) {
	t.Helper()
	h.opts.Passphrase = func(path string) ([]byte, error) {
		if path != h.path("id") {
			t.Errorf("asked for %s", path)
		}
		asked++
		return []byte(phrases[asked-1]), nil
	}
	err = h.works(t, "node")
	return asked, err
}

func TestPassphraseIsAskedForKeysThatCountOnly(t *testing.T) {
	h := newHome(t, "secret", "")
	h.server = newServer(t, newPair(t).signer.PublicKey())
	h.trust(t, h.server.hostKey)
	_, port, _ := net.SplitHostPort(h.server.addr())
	h.opts.Passphrase = func(string) ([]byte, error) {
		t.Error("asked for the passphrase of a key that the server does not take")
		return nil, errors.New("no")
	}
	h.write(t, "config", "Host node\n  HostName 127.0.0.1\n  Port "+port+"\n  IdentityFile ~/id\n")
	says(t, h.works(t, "node"), "log in to node", h.path("id"))
}
