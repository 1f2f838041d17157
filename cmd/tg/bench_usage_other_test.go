//go:build !unix

package main

import (
	"errors"
	"time"
)

func peakMemory() (int64, error) { return 0, errors.ErrUnsupported }

func processorTime() (time.Duration, error) { return 0, errors.ErrUnsupported }
