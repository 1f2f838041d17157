//go:build !linux

package labtest

func roomInMemory() bool { return false }
