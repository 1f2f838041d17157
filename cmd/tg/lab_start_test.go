package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/lab/labtest"
)

// useLab logs in to a lab and stays until what it returns is called.
func useLab(t *testing.T, l *lab.Lab) (leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	in, out := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := lab.Shell(ctx, l.Endpoint(), "echo in; sleep 1000", strings.NewReader(""), out, io.Discard)
		out.CloseWithError(err)
	}()
	if _, err := in.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	return func() {
		cancel()
		<-ended
	}
}

// stayed calls stayLab, lets during happen and reports whether
// stayLab returned.
func stayed(t *testing.T, l *lab.Lab, idle time.Duration, during func(asks chan<- labAsk)) (ok bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asks, over := make(chan labAsk), make(chan error, 1)
	go func() { over <- stayLab(ctx, l, idle, asks) }()
	during(asks)
	select {
	case err := <-over:
		if err != nil {
			t.Error(err)
		}
		return true
	case <-time.After(askTimeout): // long after it would have ended
		return false
	}
}

func openLab(t *testing.T) *lab.Lab {
	t.Helper()
	l, err := lab.Open(t.Context(), lab.Options{Dir: labtest.TempDir(t), Term: lab.UntilIdle})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// A command that has just ended may still count as connected when the lab is asked
// to leave.
func TestALabLeavesWhenTheLastCommandHasEnded(t *testing.T) {
	t.Parallel()
	l := openLab(t)
	leave := useLab(t, l)
	ended := stayed(t, l, time.Hour, func(asks chan<- labAsk) {
		asks <- labLeave
		leave()
	})
	if !ended {
		t.Error("it stays")
	}
}

func TestALabThatIsKeptDoesNotLeave(t *testing.T) {
	t.Parallel()
	for name, asked := range map[string][]labAsk{
		"before it is asked to leave": {labKeep, labLeave}, "after it is asked to leave": {labLeave, labKeep},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := openLab(t)
			leave := useLab(t, l)
			ended := stayed(t, l, time.Hour, func(asks chan<- labAsk) {
				for _, ask := range asked {
					asks <- ask
				}
				leave()
			})
			if ended {
				t.Error("it has left")
			}
		})
	}
}
