package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// An InUseError says that another process runs the lab of a directory.
type InUseError struct {
	Dir      string
	Endpoint Endpoint // zero if it does not say where it listens
}

func (e *InUseError) Error() string {
	if e.Endpoint.PID == 0 {
		return fmt.Sprintf("lab in %q is in use by a process that does not say where it listens", e.Dir)
	}
	return fmt.Sprintf("lab in %q is in use by process %d", e.Dir, e.Endpoint.PID)
}

// ErrNoLab says that a directory holds no lab.
var ErrNoLab = errors.New("there is no lab")

// lockFile marks the directory of a lab; who runs the lab has
// it locked.
const lockFile = "lock"

// ownNames are the names below its directory that a lab makes, the lock last.
func ownNames() []string {
	return []string{
		"endpoint.json", "health.json", "conditions.json", "log", "serve.log", "root", "zfs", "covered", "keys", "registry", "lxc", "sshd", "state.journal", "state.json", lockFile,
	}
}

// holdsLab reports whether a directory is a lab's.
func holdsLab(dir string) bool {
	for _, name := range []string{"state.json", lockFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// mayHold refuses a directory that holds other things than a lab.
func mayHold(dir string) error {
	if holdsLab(dir) {
		return nil
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Name() != "serve.log" && !holdsLab(dir) { // another process may just make one
			return fmt.Errorf("directory %q holds %q and no lab: name an empty one", dir, e.Name())
		}
	}
	return nil
}

// takeTimeout is how long another process may take to say that it runs a lab, or
// to end it.
const takeTimeout = 10 * time.Second

// takeDir makes this process the only one that runs the lab of dir.
func takeDir(ctx context.Context, dir string) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, takeTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		f, err := tryDir(dir)
		if f != nil || err != nil {
			return f, err
		}
		if at, running := Find(dir); running {
			return nil, &InUseError{Dir: dir, Endpoint: at}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, errors.Join(&InUseError{Dir: dir}, context.Cause(ctx))
		}
	}
}

// tryDir takes the lock of a lab's directory; nil if another process has it.
func tryDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	held, err := tryLock(f)
	switch {
	case held:
		return nil, f.Close()
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock %q: %w", name, err), f.Close())
	}
	taken, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if now, err := os.Stat(name); err != nil || !os.SameFile(taken, now) {
		return nil, f.Close() // a reset has removed it meanwhile
	}
	return f, nil
}

// Reset removes the lab in dir, with all that the node holds, and nothing else.
// If it runs, the error is an *InUseError; if there is none, it is ErrNoLab.
func Reset(dir string) error {
	if !holdsLab(dir) {
		return fmt.Errorf("%w in %q", ErrNoLab, dir)
	}
	lock, err := takeDir(context.Background(), dir)
	if err != nil {
		return err
	}
	list, err := os.ReadDir(dir)
	names := ownNames()
	for _, e := range list {
		if strings.HasPrefix(e.Name(), newPrefix) { // of replaceFile, cut off
			names = append([]string{e.Name()}, names...)
		}
	}
	for _, name := range names {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, name)))
	}
	return errors.Join(err, lock.Close())
}
