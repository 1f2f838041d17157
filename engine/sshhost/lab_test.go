//go:build unix

package sshhost_test

import (
	"testing"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/hosttest"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/lab/labtest"
	"github.com/tengil/tengil/engine/sshhost"
)

func TestLabConforms(t *testing.T) {
	l, err := lab.Open(t.Context(), lab.Options{Dir: labtest.TempDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	le := l.Endpoint()
	e := sshhost.Endpoint{Addr: le.Addr, User: le.User, HostKey: le.HostKey, KeyFile: le.ClientKey, Name: "lab"}
	hosttest.Run(t, func(t *testing.T) engine.Host {
		return dialed(t, e, sshhost.Options{})
	}, hosttest.Options{Dir: "/run/hosttest"})
}
