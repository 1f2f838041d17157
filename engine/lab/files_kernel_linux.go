package lab

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernelBind mounts a directory of the machine at another, which is made.
func kernelBind(source, target string) error {
	if err := os.Mkdir(target, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return &fs.PathError{Op: "mount", Path: target, Err: err}
	}
	return nil
}

// kernelUnbind undoes kernelBind. After a lab that was killed nothing is mounted.
func kernelUnbind(target string) error {
	err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "umount", Path: target, Err: err}
	}
	return nil
}

// kernelOwner is who a file belongs to.
func (n *node) kernelOwner(fi fs.FileInfo) owner {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return owner{Mode: defaultMode(fi)}
	}
	return owner{UID: int(st.Uid), GID: int(st.Gid), Mode: fs.FileMode(st.Mode & 0o7777)}
}

// setKernelOwner gives a file of the node to somebody.
func (n *node) setKernelOwner(name string, o owner) {
	if err := os.Lchown(n.host(name), o.UID, o.GID); err != nil {
		n.log.Error("owner", "file", name, "err", err)
	}
	n.setKernelMode(name, o.Mode) // after the owner, which takes setuid away
}

func (n *node) setKernelMode(name string, mode fs.FileMode) {
	at := n.host(name)
	fi, err := os.Lstat(at)
	if err == nil && fi.Mode()&fs.ModeSymlink == 0 {
		err = unix.Chmod(at, uint32(mode&0o7777))
	}
	if err != nil {
		n.log.Error("mode", "file", name, "err", err)
	}
}

// setXattr sets an extended attribute of a file of a container's root. A
// capability counts in the container only, as one does that is set inside.
func (n *node) setXattr(name, attr, value string) error {
	data := []byte(value)
	const v2, v3 = 0x02, 0x03 // of the revision, the topmost byte of the first word
	if attr == "security.capability" && len(data) == 20 && data[3] == v2 {
		data[3] = v3
		data = binary.LittleEndian.AppendUint32(data, mappedRoot)
	}
	return unix.Lsetxattr(n.host(name), attr, data, 0)
}
