package lab

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock takes the lock of a file until the file is closed; held is true if
// another process has it. It locks the first byte, whether the file has one or not.
func tryLock(f *os.File) (held bool, err error) {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err = windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return true, nil
	}
	return false, err
}

// identity returns the inode of a file and how many names it has, of which
// Windows tells neither with the file's name alone.
func identity(fs.FileInfo) (inode uint64, names int) { return 0, 1 }
