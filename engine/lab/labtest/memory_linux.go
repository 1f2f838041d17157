package labtest

import "golang.org/x/sys/unix"

// roomInMemory reports whether memoryDir has room for labs.
func roomInMemory() bool {
	var fs unix.Statfs_t
	return unix.Statfs(memoryDir, &fs) == nil && uint64(fs.Bavail)*uint64(fs.Bsize) >= enough
}
