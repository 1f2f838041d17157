//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tengil/tengil/engine/lab"
)

// labStartTimeout is how long a new lab may take until it answers.
const labStartTimeout = 20 * time.Second

// labAt returns where the lab listens, and starts one that ends by itself if none
// runs.
func (s *session) labAt(ctx context.Context, dir string) (lab.Endpoint, error) {
	if at, running := lab.Find(dir); running {
		return at, nil
	}
	return s.labSpawn(ctx, dir, labFlags{idle: labIdle})
}

// labSpawn starts this program again as the lab and returns when it answers. If
// another process starts one at the same time, either is as good.
func (s *session) labSpawn(ctx context.Context, dir string, f labFlags) (lab.Endpoint, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return lab.Endpoint{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, labStartTimeout)
	defer cancel()
	logName := filepath.Join(dir, "serve.log")
	for {
		ended, err := startLab(dir, logName, f)
		if err != nil {
			return lab.Endpoint{}, err
		}
		at, err := awaitLab(ctx, dir, ended)
		if err == nil {
			return at, nil
		}
		if !errors.Is(err, errYielded) {
			said, _ := os.ReadFile(logName) // the reason, if it had one to give
			return at, fmt.Errorf("the lab did not start: %s", orReason(bytes.TrimSpace(said), err, logName))
		}
	}
}

// startLab starts the process, in a session of its own, so that it outlives the
// terminal. What it says goes to a file beside the lab.
func startLab(dir, logName string, f labFlags) (ended <-chan error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(logName, os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(self, f.args()...)
	cmd.Env = append(os.Environ(), "TG_LAB_DIR="+dir)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }() // it ends with this process at the latest
	return over, nil
}

// errYielded says that a lab ended because another process ran it.
var errYielded = errors.New("another process runs it")

// awaitLab waits until a lab answers or the one that was started has ended.
func awaitLab(ctx context.Context, dir string, ended <-chan error) (lab.Endpoint, error) {
	var at lab.Endpoint
	var end error
	err := waitFor(ctx, labStartTimeout, func() bool {
		select {
		case end = <-ended:
			if end == nil {
				end = errYielded
			}
		default:
		}
		var running bool
		at, running = lab.Find(dir)
		if running {
			end = nil
		}
		return running || end != nil
	})
	return at, errors.Join(err, end)
}

func orReason(said []byte, err error, logName string) string {
	switch {
	case len(said) > 0:
		return string(bytes.TrimPrefix(said, []byte("tg: ")))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("it does not answer after %s; see %s", labStartTimeout, logName)
	}
	return err.Error()
}

// stopProcess asks a process to end and waits until it has.
func stopProcess(ctx context.Context, pid int) error {
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	if err := waitFor(ctx, labStopTimeout, func() bool { return hasEnded(pid) }); err != nil {
		return fmt.Errorf("process %d does not end: %w", pid, err)
	}
	return nil
}

// hasEnded reports whether a process has, also where its parent has not asked how.
func hasEnded(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // proc(5); none on other systems
	return bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" Z"))
}

// catchLabSignals returns what is asked of this process.
func catchLabSignals(idle time.Duration) (asked <-chan labAsk, release func()) {
	if idle == 0 {
		return nil, func() {}
	}
	signals, asks := make(chan os.Signal, 4), make(chan labAsk)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1)
	over := make(chan struct{})
	go func() {
		for {
			ask := labLeave
			select {
			case sig := <-signals:
				if sig == syscall.SIGUSR1 {
					ask = labKeep
				}
			case <-over:
				return
			}
			select {
			case asks <- ask:
			case <-over:
				return
			}
		}
	}()
	return asks, func() { signal.Stop(signals); close(over) }
}

// keepLab makes a lab that would end by itself stay; running is false if it has
// ended meanwhile.
func keepLab(ctx context.Context, dir string, pid int) (running bool, err error) {
	if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil && !errors.Is(err, syscall.ESRCH) {
		return false, err
	}
	err = waitFor(ctx, askTimeout, func() bool {
		var at lab.Endpoint
		at, running = lab.Find(dir)
		return !running || at.Term == lab.UntilStopped
	})
	if err != nil {
		return false, fmt.Errorf("keep the lab of process %d: %w", pid, err)
	}
	return running, nil
}

// leaveLab makes a lab that nobody uses end. One that is used goes on, which
// whoever wants its directory finds out.
func leaveLab(ctx context.Context, dir string, pid int) error {
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	err := waitFor(ctx, askTimeout, func() bool { _, running := lab.Find(dir); return !running })
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}
