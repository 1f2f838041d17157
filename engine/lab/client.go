package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
)

// Shell runs a command line on a running lab, as "ssh HOST COMMAND" does, and
// returns its exit status; 255, as ssh, if the connection ended first. The error
// says why there is none. stdin is read until the command ends or it is empty.
func Shell(ctx context.Context, at Endpoint, command string, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	c, err := at.dial()
	if err != nil {
		return exitNoConnection, fmt.Errorf("connect to the lab at %s: %w", at.Addr, err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	s, err := c.NewSession()
	if err != nil {
		return exitNoConnection, err
	}
	s.Stdout, s.Stderr = stdout, stderr
	// Not Session.Stdin: Run would wait until the reader ends, and it may not.
	in, err := s.StdinPipe()
	if err != nil {
		return exitNoConnection, err
	}
	go func() {
		_, _ = io.Copy(in, stdin) // the command may end first
		_ = in.Close()
	}()
	err = s.Run(command)
	var exit *ssh.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitStatus(), nil
	case err != nil:
		return exitNoConnection, errors.Join(err, ctx.Err())
	}
	return 0, nil
}

// exitNoConnection is the status of ssh when it fails itself.
const exitNoConnection = 255

func (e Endpoint) dial() (*ssh.Client, error) {
	data, err := os.ReadFile(e.ClientKey)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.ClientKey, err)
	}
	host, _, _, _, err := ssh.ParseAuthorizedKey([]byte(e.HostKey))
	if err != nil {
		return nil, fmt.Errorf("host key of the lab: %w", err)
	}
	return ssh.Dial("tcp", e.Addr, &ssh.ClientConfig{
		User: e.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: ssh.FixedHostKey(host), Timeout: 10 * time.Second,
	})
}
