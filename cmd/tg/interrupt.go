package main

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// Interrupts are the two steps in which Ctrl-C stops tg: the first ends the
// context, so that nothing new is started; the second closes cut, so that what
// still runs is ended too. A third kills tg as it would any program.
type interrupts struct {
	cut     chan struct{}
	count   atomic.Int32
	release func()
}

func catchInterrupts(parent context.Context) (context.Context, *interrupts) {
	ctx, cancel := context.WithCancel(parent)
	i := &interrupts{cut: make(chan struct{})}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-signals:
			case <-over:
				return
			}
			if i.count.Add(1) == 1 {
				cancel()
				continue
			}
			close(i.cut)
			signal.Stop(signals)
			return
		}
	}()
	i.release = func() {
		signal.Stop(signals)
		close(over)
		<-ended
		cancel()
	}
	return ctx, i
}

// caught reports whether tg was interrupted.
func (i *interrupts) caught() bool { return i.count.Load() > 0 }
