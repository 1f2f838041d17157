//go:build !unix

package ui

import "github.com/tengil/tengil/engine"

// watchSize tells of no change: this system does not say when there is one.
func watchSize(func() engine.WindowSize) (resized <-chan engine.WindowSize, stop func()) {
	return nil, func() {}
}
