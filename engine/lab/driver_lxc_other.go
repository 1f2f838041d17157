//go:build !linux

package lab

import (
	"errors"
	"io/fs"
	"net"
)

// useLXC refuses: there is no LXC here.
func (n *node) useLXC(*Real) error { return errors.New("containers run for real on Linux only") }

func (n *node) kernelOwner(fs.FileInfo) owner { return owner{} }

func (n *node) setKernelOwner(string, owner) {}

func (n *node) setKernelMode(string, fs.FileMode) {}

func (n *node) setXattr(string, string, string) error { return nil }

type sshd struct{}

func (*node) startSSHD(net.Listener, keys, string) (*sshd, error) { return nil, errors.ErrUnsupported }

func (*sshd) cut() {}

func (*sshd) close() error { return nil }

func kernelBind(string, string) error { return errors.ErrUnsupported }

func kernelUnbind(string) error { return errors.ErrUnsupported }

func copyFiles(string, string) error { return errors.ErrUnsupported }

func realSkopeo(p *proc) int { return p.failf(exitNotFound, "skopeo: command not found") }
