package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// A state is what a node knows beside its files. It is kept as state.json.
type state struct {
	PVE    string              `json:"pve"` // version of pve-container
	GPU    string              `json:"gpu"`
	Disks  string              `json:"disks,omitempty"` // as Options.Storage
	Guests map[int]*guestState `json:"guests"`
	ZFS    zfsState            `json:"zfs"`
	Units  map[string]*unit    `json:"units"`
	// Owners holds uid, gid and mode of files and directories where they differ
	// from root's, since the lab does not run as root. Keys are absolute paths.
	Owners map[string]owner    `json:"owners"`
	Mounts map[string]string   `json:"mounts"` // bind mounts: where, and of what
	Holds  map[string][]string `json:"holds"`  // see setHolds
}

// An owner is who a file belongs to and its permission bits.
type owner struct {
	UID  int         `json:"uid"`
	GID  int         `json:"gid"`
	Mode fs.FileMode `json:"mode"` // permission bits, setuid, setgid and sticky as the C library counts them
}

func newState() state {
	return state{
		Guests: map[int]*guestState{},
		Units:  map[string]*unit{},
		Owners: map[string]owner{},
		Mounts: map[string]string{},
		Holds:  map[string][]string{},
		ZFS:    zfsState{Datasets: map[string]*dataset{}},
	}
}

// loadState reads state.json below dir; the error wraps fs.ErrNotExist in a
// directory that holds no lab yet.
func loadState(dir string) (state, error) {
	s := newState()
	data, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("read %q: %w", filepath.Join(dir, "state.json"), err)
	}
	return s, nil
}

// saveDelay is how long a change that nobody has been told of may wait for
// others, to be written with them.
const saveDelay = 20 * time.Millisecond

// A saver writes what a node knows, and what ran on it, to the lab's directory.
type saver struct {
	mu    sync.Mutex // taken before node.mu
	saved string     // state.json as last written
	timer *time.Timer
	late  bool // changes may wait

	changes, written atomic.Int64 // calls of save, and those that are on disk
}

// save has the state written if it has changed since it was last written.
// Programs call it when they have changed something, without holding n.mu. It is
// written before anybody is told of the change, see settle, or soon.
func (n *node) save() {
	n.saver.changes.Add(1)
	n.saver.mu.Lock()
	late := n.saver.late
	if late && n.saver.timer == nil {
		n.saver.timer = time.AfterFunc(saveDelay, n.settle)
	}
	n.saver.mu.Unlock()
	if !late {
		n.settle()
	}
}

// settle writes what waits to be written. Whatever a client is told comes after
// it, so that a lab that is killed has not lost what it said was done. That it
// cannot be written is a broken machine, not a broken node, so it is logged.
func (n *node) settle() {
	if n.saver.written.Load() == n.saver.changes.Load() {
		return
	}
	n.saver.mu.Lock()
	defer n.saver.mu.Unlock()
	if n.saver.timer != nil {
		n.saver.timer.Stop()
		n.saver.timer = nil
	}
	now := n.saver.changes.Load()
	defer n.saver.written.Store(now)
	n.record.flush()
	n.mu.Lock()
	data, err := json.Marshal(&n.state)
	n.mu.Unlock()
	if err == nil && string(data) == n.saver.saved {
		return
	}
	if err == nil {
		err = replaceFile(filepath.Join(n.dir, "state.json"), data, 0o600)
	}
	if err != nil {
		n.log.Error("save state", "err", err)
		return
	}
	n.saver.saved = string(data)
}

// saveLate says whether changes may wait for others from now on.
func (n *node) saveLate(late bool) {
	n.saver.mu.Lock()
	n.saver.late = late
	n.saver.mu.Unlock()
	if !late {
		n.settle()
	}
}

// newPrefix begins the names of files that are being written.
const newPrefix = ".new-"

// replaceFile writes a file of the lab's machine in one step.
func replaceFile(name string, data []byte, perm fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(name), newPrefix+"*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(perm), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
