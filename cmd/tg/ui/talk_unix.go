//go:build unix

package ui

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/tengil/tengil/engine"
)

// watchSize sends the size of the terminal whenever it has changed.
func watchSize(size func() engine.WindowSize) (resized <-chan engine.WindowSize, stop func()) {
	signals, sizes, over, ended := make(chan os.Signal, 1), make(chan engine.WindowSize), make(chan struct{}), make(chan struct{})
	signal.Notify(signals, syscall.SIGWINCH)
	go func() {
		defer close(ended)
		for {
			select {
			case <-signals:
			case <-over:
				return
			}
			select {
			case sizes <- size():
			case <-over:
				return
			}
		}
	}()
	return sizes, func() { signal.Stop(signals); close(over); <-ended }
}
