package sshhost

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/tengil/tengil/engine"
)

// A hostKeys checks the key of one hop.
type hostKeys struct {
	hop     hop
	known   ssh.HostKeyCallback
	confirm func(host, fingerprint, keytype string) (bool, error)
	asking  func() // called before the user is asked
	err     error  // why the key was refused; the handshake hides it in text
}

func newHostKeys(h hop, o Options, asking func()) (*hostKeys, error) {
	var files []string
	for _, f := range h.knownHosts {
		_, err := os.Stat(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	known, err := knownhosts.New(files...)
	if err != nil {
		return nil, fmt.Errorf("known hosts: %w", err)
	}
	return &hostKeys{hop: h, known: known, confirm: o.Confirm, asking: asking}, nil
}

// algorithms returns what to negotiate: the types for which the host has a known
// key first, so that a host with several keys shows one that can be checked.
func (k *hostKeys) algorithms() []string {
	all := ssh.SupportedAlgorithms().HostKeys
	var first []string
	for _, w := range k.wanted() {
		first = append(first, keyAlgorithms(w.Key.Type())...)
	}
	var out []string
	for _, a := range slices.Concat(first, all) {
		if !slices.Contains(out, a) && (slices.Contains(all, a)) {
			out = append(out, a)
		}
	}
	return out
}

// wanted returns the known keys of the host.
func (k *hostKeys) wanted() []knownhosts.KnownKey {
	var ke *knownhosts.KeyError
	if errors.As(k.known(k.hop.addr, &net.TCPAddr{}, noKey{}), &ke) {
		return ke.Want
	}
	return nil
}

// noKey is a key that no file holds.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return []byte("none") }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

// check is an ssh.HostKeyCallback.
func (k *hostKeys) check(addr string, remote net.Addr, key ssh.PublicKey) error {
	k.err = k.judge(k.known(addr, remote, key), key)
	return k.err
}

func (k *hostKeys) judge(err error, key ssh.PublicKey) error {
	var ke *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &revoked):
		err := fmt.Errorf("host key of %s is revoked in %s:%d: %s %s", k.hop.name,
			revoked.Revoked.Filename, revoked.Revoked.Line, key.Type(), ssh.FingerprintSHA256(key))
		return engine.WithHint(err, "a key is revoked when somebody else may have it; let the node make new host keys")
	case !errors.As(err, &ke):
		return fmt.Errorf("host key of %s: %w", k.hop.name, err)
	case len(ke.Want) > 0:
		return k.changed(ke.Want, key)
	}
	return k.unknown(key)
}

func (k *hostKeys) changed(want []knownhosts.KnownKey, key ssh.PublicKey) error {
	known := want[0]
	for _, w := range want {
		if w.Key.Type() == key.Type() {
			known = w
		}
	}
	err := fmt.Errorf("host key of %s has changed: got %s %s, wanted %s %s as in %s:%d",
		k.hop.name, key.Type(), ssh.FingerprintSHA256(key),
		known.Key.Type(), ssh.FingerprintSHA256(known.Key), known.Filename, known.Line)
	return engine.WithHint(err, fmt.Sprintf("somebody may be listening in, or the node was installed anew; "+
		"if you know that it was, remove the old key and connect again:\n    ssh-keygen -f %s -R %q",
		known.Filename, knownhosts.Normalize(k.hop.addr)))
}

func (k *hostKeys) unknown(key ssh.PublicKey) error {
	print := ssh.FingerprintSHA256(key)
	refused := fmt.Errorf("host key of %s is not known: %s %s", k.hop.name, key.Type(), print)
	if k.confirm == nil {
		return engine.WithHint(refused, "compare the fingerprint with that on the node's console, and connect once with ssh to accept it:\n    ssh "+k.hop.sshArgs())
	}
	k.asking()
	ok, err := k.confirm(k.hop.name, print, key.Type())
	if err != nil {
		return fmt.Errorf("%w: %w", refused, err)
	}
	if !ok {
		return engine.WithHint(refused, "it was not accepted; the node shows its fingerprints with:\n    ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
	}
	if len(k.hop.knownHosts) == 0 {
		return nil
	}
	return remember(k.hop.knownHosts[0], k.hop.addr, key)
}

// remember appends an accepted key to a known_hosts file.
func remember(file, addr string, key ssh.PublicKey) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("remember the host key: %w", err)
	}
	line := knownhosts.Line([]string{knownhosts.Normalize(addr)}, key) + "\n"
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remember the host key: %w", err)
	}
	if len(old) > 0 && old[len(old)-1] != '\n' {
		line = "\n" + line
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("remember the host key: %w", err)
	}
	_, err = f.WriteString(line)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("remember the host key: %w", err)
	}
	return nil
}
