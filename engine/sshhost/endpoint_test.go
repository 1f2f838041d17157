//go:build unix

package sshhost_test

import (
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/tengil/tengil/engine/sshhost"
)

func TestEndpointErrorsHaveHints(t *testing.T) {
	s, good := endpoint(t)
	otherFile, other := newKey(t)
	for _, c := range []struct {
		name   string
		change func(*sshhost.Endpoint)
		want   []string
	}{
		{"nothing listens", func(e *sshhost.Endpoint) { e.Addr = freeAddr(t) }, []string{"connect to test", "connection refused", "nothing listens on port"}},
		{"another host key", func(e *sshhost.Endpoint) { e.HostKey = string(ssh.MarshalAuthorizedKey(other.PublicKey())) },
			[]string{"host key of test", "got ssh-ed25519 " + ssh.FingerprintSHA256(s.hostKey), "wanted ssh-ed25519 " + ssh.FingerprintSHA256(other.PublicKey())}},
		{"another key of ours", func(e *sshhost.Endpoint) { e.KeyFile = otherFile },
			[]string{"log in to test as root", "file " + otherFile, ssh.FingerprintSHA256(other.PublicKey())}},
		{"no key file", func(e *sshhost.Endpoint) { e.KeyFile = "/none" }, []string{"key file of test", "/none", "no such file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := good
			c.change(&e)
			h, err := sshhost.DialEndpoint(t.Context(), e, sshhost.Options{})
			if err == nil {
				h.Close()
			}
			says(t, err, c.want...)
		})
	}
}
