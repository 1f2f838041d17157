package sshhost

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// credentials are the keys to log in with, in the order in which they are offered,
// and what became of each that was considered.
type credentials struct {
	signers []ssh.Signer
	tried   []string // for messages: never a secret
}

// gather finds the keys for one hop: first those of IdentityFile, from the agent
// where it has them, then the rest of the agent, then the default files. asking is
// called before the user is asked for anything.
func gather(o Options, h hop, agentKeys []agentKey, agentErr error, asking func()) *credentials {
	c := &credentials{}
	files := h.keyFiles
	explicit := len(files) > 0
	if !explicit && o.Home != "" {
		for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
			files = append(files, filepath.Join(o.Home, ".ssh", name))
		}
	}
	if agentErr != nil {
		c.tried = append(c.tried, agentErr.Error())
	}
	var read []keyFile
	for _, name := range files {
		read = append(read, openKeyFile(name, o.Passphrase, asking))
	}
	for _, k := range agentKeys {
		if (!explicit && !h.onlyKeys) || named(read, k.signer.PublicKey()) {
			c.add(k.signer, k.what())
		}
	}
	for _, f := range read {
		c.addFile(f, explicit)
	}
	for _, k := range agentKeys {
		if !h.onlyKeys {
			c.add(k.signer, k.what())
		}
	}
	return c
}

// add offers a key once.
func (c *credentials) add(s ssh.Signer, what string) {
	if c.has(s.PublicKey()) {
		return
	}
	c.signers = append(c.signers, s)
	c.tried = append(c.tried, fmt.Sprintf("%s (%s)", what, ssh.FingerprintSHA256(s.PublicKey())))
}

func (c *credentials) has(key ssh.PublicKey) bool {
	return slices.ContainsFunc(c.signers, func(s ssh.Signer) bool { return sameKey(s.PublicKey(), key) })
}

// addFile offers the key of a file, or notes why it cannot; a default file need
// not be there, and what the agent offers needs no file.
func (c *credentials) addFile(f keyFile, wanted bool) {
	switch {
	case f.err == nil:
		c.add(f.signer, "file "+f.path)
	case f.public != nil && c.has(f.public):
	case wanted || !errors.Is(f.err, fs.ErrNotExist):
		c.tried = append(c.tried, fmt.Sprintf("file %s not used: %v", f.path, f.err))
	}
}

func sameKey(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

type agentKey struct {
	signer  ssh.Signer
	comment string
}

func (k agentKey) what() string { return strings.TrimSpace("agent key " + k.comment) }

// openAgent returns the keys of the agent, and its connection, which must stay open
// while they sign. Both are nil without an agent.
func openAgent(socket string) ([]agentKey, io.Closer, error) {
	if socket == "" {
		return nil, nil, nil
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, nil, fmt.Errorf("ssh-agent: %w", err)
	}
	client := agent.NewClient(conn)
	list, err := client.List()
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("ssh-agent: %w", err)
	}
	signers, err := client.Signers()
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("ssh-agent: %w", err)
	}
	comments := map[string]string{}
	for _, k := range list {
		comments[string(k.Marshal())] = k.Comment
	}
	var out []agentKey
	for _, s := range signers {
		out = append(out, agentKey{s, comments[string(s.PublicKey().Marshal())]})
	}
	return out, conn, nil
}
