//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"time"
)

// peakMemory returns the most memory that this process held. Linux counts in the
// rusage of a child what its parent held before exec, so the process asks itself.
func peakMemory() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err == nil {
		_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
		var kib int64
		if _, err := fmt.Fscan(bytes.NewReader(rest), &kib); err != nil {
			return 0, fmt.Errorf("VmHWM in /proc/self/status: %w", err)
		}
		return kib * 1024, nil
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return int64(u.Maxrss), nil // bytes, on systems without /proc
}

// processorTime returns how long this process has computed.
func processorTime() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}
