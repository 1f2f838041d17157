package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// examineMachine checks what of this machine leads to the host. What only matters
// before a login is not looked at once one has succeeded.
func (s *session) examineMachine(t target, reached bool) []check {
	var checks []check
	if c, there := s.configCheck(); there {
		checks = append(checks, c)
	}
	if t.address == labName || t.address == "" {
		return checks
	}
	home, err := s.home()
	if err != nil {
		return append(checks, failed("keys", err))
	}
	if !reached {
		checks = append(checks, s.keys(home))
	}
	if c, there := writableByOthers("known_hosts", filepath.Join(home, ".ssh", "known_hosts")); there {
		checks = append(checks, c)
	}
	return checks
}

// configCheck checks the config file; there is false without one. What it says
// has been read already, or there would be no host to check.
func (s *session) configCheck() (_ check, there bool) {
	name, err := s.configFile()
	if err != nil {
		return failed("config", err), true
	}
	return writableByOthers("config", name)
}

// writableByOthers checks that nobody else may write a file.
func writableByOthers(what, name string) (_ check, there bool) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return check{}, false
	case err != nil:
		return failed(what, err), true
	case info.Mode().Perm()&0o022 != 0:
		return problem(what, "chmod go-w "+name, "others may write to %s (mode %04o)", name, info.Mode().Perm()), true
	}
	return fine(what, "%s", name), true
}

// keys looks whether there is anything to log in with.
func (s *session) keys(home string) check {
	var found []string
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		file := filepath.Join(home, ".ssh", name)
		info, err := os.Stat(file)
		if err != nil {
			continue
		}
		if info.Mode().Perm()&0o077 != 0 {
			return problem("keys", "chmod 600 "+file, "others may read %s (mode %04o)", file, info.Mode().Perm())
		}
		found = append(found, file)
	}
	socket := s.getenv("SSH_AUTH_SOCK")
	if socket != "" {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close() // it was only to see whether somebody answers
			found = append(found, "an agent")
		} else if len(found) == 0 {
			return problem("keys", "start one, and give it a key:\n    eval $(ssh-agent) && ssh-add", "no key in %s, and no agent answers at SSH_AUTH_SOCK: %v", filepath.Join(home, ".ssh"), err)
		}
	}
	if len(found) == 0 {
		return problem("keys", "make a key, and give it to the node:\n    ssh-keygen -t ed25519\n    ssh-copy-id root@…", "no key in %s, and no agent", filepath.Join(home, ".ssh"))
	}
	return fine("keys", "%s", fmt.Sprint(found))
}
