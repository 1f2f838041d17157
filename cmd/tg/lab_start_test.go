package main

import (
	"context"
	"io"
	"runtime"
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

// stay calls stayLab, as long as ctx goes.
func stay(ctx context.Context, l *lab.Lab) (asks chan<- labAsk, over <-chan error) {
	asked, ended := make(chan labAsk), make(chan error, 1)
	go func() { ended <- stayLab(ctx, l, time.Hour, asked) }()
	return asked, ended
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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	asks, over := stay(ctx, l)
	asks <- labLeave
	leave()
	if err := <-over; err != nil || ctx.Err() != nil {
		t.Errorf("it stays: %v, %v", err, ctx.Err())
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
			asks, over := stay(t.Context(), l)
			for _, ask := range asked {
				asks <- ask
			}
			leave()
			for l.Sessions() > 0 {
				runtime.Gosched()
			}
			for range 10 {
				select {
				case asks <- labLeave:
				case err := <-over:
					t.Fatalf("it has left: %v", err)
				}
			}
		})
	}
}
