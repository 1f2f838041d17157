package lab

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// An Endpoint says how to reach a running lab. It is kept as endpoint.json in
// the lab's directory while the lab runs.
type Endpoint struct {
	Addr      string `json:"addr"`       // 127.0.0.1:PORT
	HostKey   string `json:"host_key"`   // as in authorized_keys: "ssh-ed25519 AAAA…"
	User      string `json:"user"`       // root
	ClientKey string `json:"client_key"` // file with the private key that is let in
	PID       int    `json:"pid"`
	PVE       string `json:"pve"`     // release: 9.1 or 9.2
	GPU       string `json:"gpu"`     // intel, amd, nvidia or none
	Storage   string `json:"storage"` // zfs, dir or lvmthin
	Pull      bool   `json:"pull,omitempty"`
	Real      bool   `json:"real,omitempty"` // containers run with LXC
	SSHD      bool   `json:"sshd,omitempty"` // OpenSSH's server is at Addr
	Term      Term   `json:"term,omitempty"`
}

// A Term says how long a lab is meant to stay. The lab only tells others of it:
// whoever opened the lab keeps to it.
type Term string

// The terms.
const (
	AsOpener     Term = ""        // as long as the program that opened it, which has other things to do
	UntilIdle    Term = "idle"    // until nobody has used it for a while
	UntilStopped Term = "stopped" // until it is stopped
)

func endpointFile(dir string) string { return filepath.Join(dir, "endpoint.json") }

func (e Endpoint) write(dir string) error {
	data, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(endpointFile(dir), append(data, '\n'), 0o600)
}

func removeEndpoint(dir string) error {
	err := os.Remove(endpointFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func readEndpoint(dir string) (Endpoint, error) {
	var e Endpoint
	data, err := os.ReadFile(endpointFile(dir))
	if err != nil {
		return e, err
	}
	return e, json.Unmarshal(data, &e)
}

// findTimeout bounds how long Find waits for an answer from this machine.
const findTimeout = 2 * time.Second

// Last returns the endpoint of the lab that ran in dir last, without looking
// whether it still answers; the error wraps fs.ErrNotExist if none ever did.
func Last(dir string) (Endpoint, error) { return readEndpoint(dir) }

// Find returns the endpoint of the lab that runs in dir; false if none answers.
func Find(dir string) (Endpoint, bool) {
	e, err := readEndpoint(dir)
	if err != nil {
		return Endpoint{}, false
	}
	c, err := net.DialTimeout("tcp", e.Addr, findTimeout)
	if err != nil {
		return Endpoint{}, false
	}
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(findTimeout)); err != nil {
		return Endpoint{}, false
	}
	hello := make([]byte, len(serverVersion))
	if _, err := c.Read(hello); err != nil || !strings.HasPrefix(string(hello), serverVersion[:len("SSH-2.0")]) {
		return Endpoint{}, false
	}
	return e, true
}

// Keys of a lab: the server's own and the one that it lets in.
type keys struct {
	host, client ssh.Signer
	clientFile   string
}

func (k keys) endpoint(addr string, n *node) Endpoint {
	return Endpoint{
		Addr:      addr,
		HostKey:   strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.host.PublicKey()))),
		User:      "root",
		ClientKey: k.clientFile,
		PID:       n.process(),
		PVE:       n.release(),
		GPU:       gpuName(n.state.GPU),
		Storage:   storageName(n.state.Disks),
		Pull:      n.pull,
		Real:      n.lxc != nil,
		SSHD:      n.lxc != nil && n.lxc.SSHD,
	}
}

// process is the one to ask that the lab ends.
func (n *node) process() int {
	if n.lxc != nil {
		return n.lxc.PID
	}
	return os.Getpid()
}

// loadKeys reads the keys of the lab in dir, making those that are missing.
func loadKeys(dir string) (keys, error) {
	k := keys{clientFile: filepath.Join(dir, "keys", "client")}
	if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		return k, err
	}
	var err error
	if k.host, err = loadKey(filepath.Join(dir, "keys", "host")); err != nil {
		return k, err
	}
	k.client, err = loadKey(k.clientFile)
	return k, err
}

func loadKey(name string) (ssh.Signer, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = newKey(name)
	}
	if err != nil {
		return nil, err
	}
	return ssh.ParsePrivateKey(data)
}

// newKey makes a key file that only its owner can read.
func newKey(name string) ([]byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "tengil lab")
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(block)
	return data, replaceFile(name, data, 0o600)
}
