//go:build unix

package sshhost_test

import (
	"context"
	"errors"
	"testing"
	"time"

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

// What is small is given up when the node does not answer, ended there, and can be
// done again.
func TestWhatTheNodeDoesNotAnswerIsEnded(t *testing.T) {
	for _, c := range []struct {
		name, program string
		do            func(ctx context.Context, h *sshhost.Host) error
	}{
		{"a batch", "uname", func(ctx context.Context, h *sshhost.Host) error {
			a, err := h.Batch(ctx, []engine.Ask{engine.AskRun("uname", "-n")})
			if err == nil {
				_, err = a.Run("uname", "-n")
			}
			return err
		}},
		{"a file", "mv", func(ctx context.Context, h *sshhost.Host) error {
			return h.WriteFile(ctx, engine.File{Name: "/run/hang/file"})
		}},
		{"a lock", "flock", func(ctx context.Context, h *sshhost.Host) error {
			lock, err := h.Hold(ctx, engine.Lock{Path: "/run/hang/lock"})
			if err != nil {
				return err
			}
			return lock.Close()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, err := lab.Open(t.Context(), lab.Options{Dir: labtest.TempDir(t)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			le := l.Endpoint()
			e := sshhost.Endpoint{Addr: le.Addr, User: le.User, HostKey: le.HostKey, KeyFile: le.ClientKey, Name: "lab"}
			l.Fault(lab.Fault{Prefix: []string{c.program}, Do: lab.Hang})
			impatient := dialed(t, e, sshhost.Options{Patience: 50 * time.Millisecond})
			var late *engine.TimeoutError
			if err := c.do(t.Context(), impatient); !errors.As(err, &late) || engine.HintOf(err) == "" {
				t.Errorf("error is %v", err)
			}
			if l.Pending() > 0 {
				t.Fatal("nothing hung")
			}
			if err := c.do(t.Context(), dialed(t, e, sshhost.Options{})); err != nil {
				t.Errorf("after that: %v", err)
			}
			for impatient.Sessions() > 0 && t.Context().Err() == nil {
				<-time.After(time.Millisecond)
			}
		})
	}
}
