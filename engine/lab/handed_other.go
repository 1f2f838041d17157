//go:build !linux

package lab

import (
	"context"
	"errors"
	"net"
	"os"
)

const handedAddr = ""

// Hand gives a command line to a lab behind OpenSSH's server, which only Linux has.
func Hand(context.Context, string, string, [3]*os.File) (int, error) {
	return exitNoConnection, errors.ErrUnsupported
}

func (*conn) serveHanded(*net.UnixConn) {}
