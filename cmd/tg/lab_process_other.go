//go:build !unix

package main

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab"
)

// errNoLab says that the lab does not run here: its node keeps files by names that
// this system has no way to write, and is asked things by signals.
var errNoLab = engine.WithHint(errors.New("the practice node does not run on "+runtime.GOOS),
	"run tg on Linux or macOS for it (WSL is enough); nodes over SSH work from here")

func (*session) labAt(context.Context, string) (lab.Endpoint, error) {
	return lab.Endpoint{}, errNoLab
}

func (*session) labSpawn(context.Context, string, labFlags) (lab.Endpoint, error) {
	return lab.Endpoint{}, errNoLab
}

func stopProcess(context.Context, int) error { return errNoLab }

func catchLabSignals(time.Duration) (asked <-chan labAsk, release func()) {
	return nil, func() {}
}

func keepLab(context.Context, string, int) (running bool, err error) { return false, errNoLab }

func leaveLab(context.Context, string, int) error { return errNoLab }
