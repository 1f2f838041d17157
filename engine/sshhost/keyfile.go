package sshhost

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/crypto/ssh"
)

// A keyFile is one file of a key.
type keyFile struct {
	path   string
	public ssh.PublicKey // nil if not known
	signer ssh.Signer    // nil if err is not
	err    error         // why it cannot sign
}

func named(files []keyFile, key ssh.PublicKey) bool {
	return slices.ContainsFunc(files, func(f keyFile) bool { return f.public != nil && sameKey(f.public, key) })
}

// openKeyFile reads a key. As for ssh, the public half is enough where the agent
// has the other.
func openKeyFile(name string, passphrase func(string) ([]byte, error), asking func()) keyFile {
	s, err := readKey(name, passphrase, asking)
	if err == nil {
		return keyFile{path: name, public: s.PublicKey(), signer: s}
	}
	f := keyFile{path: name, err: err}
	var missing *ssh.PassphraseMissingError
	if errors.As(err, &missing) && missing.PublicKey != nil {
		f.public = missing.PublicKey
		return f
	}
	if f.public, err = readPublic(name); err != nil {
		f.public, err = readPublic(name + ".pub")
	}
	if err == nil && !errors.As(f.err, &missing) {
		f.err = errors.New("no private key there, and not in the agent")
	}
	return f
}

// needsPassphrase is the error for an encrypted key where nobody can be asked.
type needsPassphrase struct{ error }

func (needsPassphrase) Error() string {
	return "it needs a passphrase, and there is nobody to ask"
}

func (n needsPassphrase) Unwrap() error { return n.error }

// readKey reads a private key. An encrypted one is decrypted only when the server
// accepts it, so that nobody is asked for a passphrase in vain.
func readKey(name string, passphrase func(string) ([]byte, error), asking func()) (ssh.Signer, error) {
	pem, err := os.ReadFile(name)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, err
	}
	s, err := ssh.ParsePrivateKey(pem)
	var missing *ssh.PassphraseMissingError
	if !errors.As(err, &missing) {
		return s, err
	}
	if passphrase == nil {
		return nil, needsPassphrase{err}
	}
	pub := missing.PublicKey
	if pub == nil { // old PEM formats keep it in the other file only
		if pub, err = readPublic(name + ".pub"); err != nil {
			return nil, fmt.Errorf("its public half: %w", err)
		}
	}
	return &lockedKey{pub: pub, unlock: func() (ssh.Signer, error) {
		asking()
		return unlock(name, pem, passphrase)
	}}, nil
}

// A keyError says why a key that the server accepted cannot sign.
type keyError struct {
	path string
	err  error
}

func (e *keyError) Error() string { return fmt.Sprintf("key file %s: %v", e.path, e.err) }
func (e *keyError) Unwrap() error { return e.err }

// unlock asks for the passphrase, like ssh three times.
func unlock(name string, pem []byte, passphrase func(string) ([]byte, error)) (ssh.Signer, error) {
	for left := 2; ; left-- {
		phrase, err := passphrase(name)
		if err != nil {
			return nil, &keyError{name, err}
		}
		s, err := ssh.ParsePrivateKeyWithPassphrase(pem, phrase)
		switch {
		case errors.Is(err, x509.IncorrectPasswordError) && left > 0:
		case errors.Is(err, x509.IncorrectPasswordError):
			return nil, &keyError{name, fmt.Errorf("wrong passphrase: %w", err)}
		case err != nil:
			return nil, &keyError{name, err}
		default:
			return s, nil
		}
	}
}

func readPublic(name string) (ssh.PublicKey, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey(b)
	return pub, err
}

// A lockedKey is an ssh.Signer that decrypts its key when it is first needed. It
// is used by one goroutine, in one handshake.
type lockedKey struct {
	pub    ssh.PublicKey
	unlock func() (ssh.Signer, error)
	signer ssh.Signer
}

func (k *lockedKey) PublicKey() ssh.PublicKey { return k.pub }

func (k *lockedKey) Sign(r io.Reader, data []byte) (*ssh.Signature, error) {
	return k.SignWithAlgorithm(r, data, "")
}

// SignWithAlgorithm implements ssh.AlgorithmSigner: without it, RSA keys sign
// with SHA-1, which servers refuse.
func (k *lockedKey) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	if k.signer == nil {
		s, err := k.unlock()
		if err != nil {
			return nil, err
		}
		k.signer = s
	}
	if as, ok := k.signer.(ssh.AlgorithmSigner); ok && algorithm != "" {
		return as.SignWithAlgorithm(rand.Reader, data, algorithm)
	}
	return k.signer.Sign(rand.Reader, data)
}
