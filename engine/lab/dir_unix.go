//go:build unix

package lab

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// tryLock takes the lock of a file until the file is closed; held is true if
// another process has it.
func tryLock(f *os.File) (held bool, err error) {
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// identity returns the inode of a file and how many names it has.
func identity(fi fs.FileInfo) (inode uint64, names int) {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Ino, int(st.Nlink)
	}
	return 0, 1
}
