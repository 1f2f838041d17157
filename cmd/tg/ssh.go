package main

import (
	"context"
	"fmt"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/sshhost"
)

// sshOptions returns what ssh(1) would use, with questions where somebody can
// answer them; elsewhere an unknown host key is refused.
func (s *session) sshOptions(ctx context.Context) sshhost.Options {
	o := sshhost.DefaultOptions()
	o.Log = s.log()
	if !s.term.Asks() {
		return o
	}
	o.Confirm = func(host, fingerprint, keytype string) (bool, error) {
		return s.term.Confirm(ctx, fmt.Sprintf("%s shows a key that is not known yet: %s %s\nIs it the right one?", host, keytype, fingerprint))
	}
	o.Passphrase = func(path string) ([]byte, error) {
		return s.term.AskHidden(fmt.Sprintf("Passphrase of %s:", path))
	}
	return o
}

// dialLab connects to a running lab as to any node, by SSH.
func (s *session) dialLab(ctx context.Context, at lab.Endpoint, name string) (engine.Host, error) {
	return sshhost.DialEndpoint(ctx, sshhost.Endpoint{
		Addr: at.Addr, User: at.User, HostKey: at.HostKey, KeyFile: at.ClientKey, Name: name,
	}, sshhost.Options{Log: s.log()})
}
