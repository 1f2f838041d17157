package sshhost

import (
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"time"
)

// Options say how to reach a node. The zero value uses no file and no agent of
// the user's; DefaultOptions returns what ssh(1) would use.
type Options struct {
	// Name is what Host.Name returns; by default the target as it was written, or
	// "this node".
	Name string
	// Config is the path of an ssh_config file; "" or a missing file means none.
	Config string
	// KnownHosts is the known_hosts file where the config names none; accepted
	// keys are appended to it. With "", every host key is unknown.
	KnownHosts string
	// Home stands for ~ and %d in the config, and is where .ssh/id_* are sought;
	// "" means that there are none.
	Home string
	// AgentSocket is the socket of an ssh-agent, "" for none.
	AgentSocket string
	// User is the user on jump hosts for which the config names none, "" for
	// root. On the node itself the default is always root.
	User string
	// ConnectTimeout limits each connection attempt where the config does not; 0
	// means 15 s. Time spent in Passphrase and Confirm does not count.
	ConnectTimeout time.Duration
	// KeepAlive is how often a connection is asked whether it is still there; after
	// three times without an answer it is given up. 0 means 15 s.
	KeepAlive time.Duration
	// LockWait is how long WriteFile waits for File.Lock. 0 means 10 s, as long as PVE
	// itself waits.
	LockWait time.Duration
	// Patience is how long the node may take to answer a Batch, to write a file or to
	// give a lock; then what runs there for it is ended, and the error wraps an
	// *engine.TimeoutError. How long a command may take is up to who runs it. 0 means 3
	// minutes.
	Patience time.Duration
	// Passphrase returns the passphrase of an encrypted key file. nil means that
	// such keys are not used. After a wrong one it is asked again, three times in all.
	Passphrase func(path string) ([]byte, error)
	// Confirm decides about a host key that is not known; fingerprint is
	// "SHA256:…", as ssh prints it. nil refuses.
	Confirm func(host, fingerprint, keytype string) (bool, error)
	// AuditLog replaces engine.AuditLog, for tests on a machine that is no node.
	AuditLog string
	// Log gets what is not worth an error. nil discards.
	Log *slog.Logger
}

// DefaultOptions returns Options with the files, agent and name of the user that
// runs this process. No other function of this package looks at the environment.
func DefaultOptions() Options {
	o := Options{AgentSocket: os.Getenv("SSH_AUTH_SOCK")}
	if home, err := os.UserHomeDir(); err == nil {
		o.Home = home
		o.Config = filepath.Join(home, ".ssh", "config")
		o.KnownHosts = filepath.Join(home, ".ssh", "known_hosts")
	}
	if u, err := user.Current(); err == nil {
		o.User = u.Username
	}
	return o
}

func (o Options) connectTimeout() time.Duration { return orElse(o.ConnectTimeout, 15*time.Second) }
func (o Options) keepAlive() time.Duration      { return orElse(o.KeepAlive, 15*time.Second) }
func (o Options) patience() time.Duration       { return orElse(o.Patience, 3*time.Minute) }
func (o Options) lockWait() time.Duration       { return orElse(o.LockWait, 10*time.Second) }

func orElse(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}
