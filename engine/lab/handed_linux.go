package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// handedAddr is where the lab listens to those whom OpenSSH's server has let in: a
// socket without a file, which only the lab's own network namespace has.
const handedAddr = "@tengil-lab"

// Hand gives a command line and its three files to the lab that listens at addr, and
// returns its exit status as Shell does.
func Hand(ctx context.Context, addr, command string, files [3]*os.File) (int, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: addr, Net: "unix"})
	if err != nil {
		return exitNoConnection, fmt.Errorf("connect to the lab: %w", err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	rights := syscall.UnixRights(int(files[0].Fd()), int(files[1].Fd()), int(files[2].Fd()))
	if _, _, err := c.WriteMsgUnix(binary.BigEndian.AppendUint32(nil, uint32(len(command))), rights, nil); err != nil {
		return exitNoConnection, errors.Join(err, ctx.Err())
	}
	if _, err := io.WriteString(c, command); err != nil {
		return exitNoConnection, errors.Join(err, ctx.Err())
	}
	var status [4]byte
	if _, err := io.ReadFull(c, status[:]); err != nil {
		return exitNoConnection, errors.Join(errors.New("the lab has ended the command"), ctx.Err())
	}
	return int(binary.BigEndian.Uint32(status[:])), nil
}

// serveHanded runs the one session of a connection that was made by Hand.
func (c *conn) serveHanded(raw *net.UnixConn) {
	h, err := takeHanded(raw)
	if err != nil {
		c.node.log.Debug("handed session", "err", err)
		return
	}
	c.mu.Lock()
	c.in = true
	c.mu.Unlock()
	c.work.Go(func() {
		_, _ = raw.Read(make([]byte, 1)) // ends with whoever asked
		close(h.requests)
	})
	c.session(h)
	_ = h.Close() // as a rule the session has
}

// takeHanded receives what Hand sends. Only root is heard.
func takeHanded(raw *net.UnixConn) (*handed, error) {
	if err := fromRoot(raw); err != nil {
		return nil, err
	}
	var size [4]byte
	oob := make([]byte, syscall.CmsgSpace(3*4))
	n, oobn, _, _, err := raw.ReadMsgUnix(size[:], oob)
	if err != nil {
		return nil, err
	}
	files, err := filesOf(oob[:oobn])
	h := &handed{raw: raw, files: files, requests: make(chan *ssh.Request, 1)}
	if err == nil && (n != len(size) || len(files) != 3) {
		err = fmt.Errorf("%d bytes and %d files; wanted 4 and 3", n, len(files))
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	command := make([]byte, min(binary.BigEndian.Uint32(size[:]), maxHanded))
	if _, err := io.ReadFull(raw, command); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	h.requests <- &ssh.Request{Type: "exec", Payload: ssh.Marshal(struct{ Command string }{string(command)})}
	return h, nil
}

// maxHanded is the longest command line: Linux gives a program no longer variable.
const maxHanded = 128 << 10

func fromRoot(raw *net.UnixConn) error {
	rc, err := raw.SyscallConn()
	if err != nil {
		return err
	}
	var who *syscall.Ucred
	if ctlErr := rc.Control(func(fd uintptr) {
		who, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err == nil {
		err = ctlErr
	}
	if err == nil && who.Uid != 0 {
		err = fmt.Errorf("uid %d: %w", who.Uid, os.ErrPermission)
	}
	return err
}

// filesOf returns the files that came with a message, so that a read of them ends
// when they are closed.
func filesOf(oob []byte) ([]*os.File, error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range messages {
		fds, rightsErr := syscall.ParseUnixRights(&messages[i])
		err = errors.Join(err, rightsErr)
		for _, fd := range fds {
			syscall.CloseOnExec(fd)
			err = errors.Join(err, syscall.SetNonblock(fd, true))
			files = append(files, os.NewFile(uintptr(fd), "handed"))
		}
	}
	return files, err
}

// A handed session is the channel of one: its standard files are those of the
// program that OpenSSH's server started.
type handed struct {
	raw      *net.UnixConn
	files    []*os.File
	requests chan *ssh.Request
}

// Accept implements ssh.NewChannel, as do the next three.
func (h *handed) Accept() (ssh.Channel, <-chan *ssh.Request, error) { return h, h.requests, nil }

// Reject ends the session.
func (h *handed) Reject(ssh.RejectionReason, string) error { return h.Close() }

// ChannelType is that of all sessions.
func (h *handed) ChannelType() string { return "session" }

// ExtraData is empty for a session.
func (h *handed) ExtraData() []byte { return nil }

// Read reads standard input.
func (h *handed) Read(p []byte) (int, error) { return h.files[0].Read(p) }

// Write writes standard output.
func (h *handed) Write(p []byte) (int, error) { return h.files[1].Write(p) }

// Stderr is standard error.
func (h *handed) Stderr() io.ReadWriter { return h.files[2] }

// SendRequest tells the exit status; there is nobody to hear of anything else.
func (h *handed) SendRequest(name string, _ bool, payload []byte) (bool, error) {
	if name != "exit-status" {
		return false, nil
	}
	_, err := h.raw.Write(payload)
	return err == nil, err
}

// CloseWrite ends standard output.
func (h *handed) CloseWrite() error { return h.files[1].Close() }

// Close ends all of it but the connection, on which the status is.
func (h *handed) Close() error {
	for _, f := range h.files {
		_ = f.Close() // it may be closed already
	}
	return nil
}
