package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A state is what a node knows beside its files. It is kept as state.json and,
// while the lab runs, in a journal beside it; see saver.
type state struct {
	PVE    string                  `json:"pve"` // version of pve-container
	GPU    string                  `json:"gpu"`
	Disks  string                  `json:"disks,omitempty"` // as Options.Storage
	Guests table[int, *guestState] `json:"guests"`
	ZFS    zfsState                `json:"zfs"`
	Units  table[string, *unit]    `json:"units"`
	Owners ownerTable              `json:"owners"`
	Mounts table[string, string]   `json:"mounts"` // bind mounts: where, and of what
	Holds  table[string, []string] `json:"holds"`  // see setHolds
}

// A change is what has changed of a state: one record of the journal. Records say
// what is, not what happened, so that one may be applied again.
type change struct {
	Guests   patch[int, *guestState] `json:"guests,omitempty"`
	Datasets patch[string, *dataset] `json:"datasets,omitempty"`
	TXG      int64                   `json:"txg,omitempty"` // the last
	Units    patch[string, *unit]    `json:"units,omitempty"`
	Owners   patch[string, owner]    `json:"owners,omitempty"`
	Mounts   patch[string, string]   `json:"mounts,omitempty"`
	Holds    patch[string, []string] `json:"holds,omitempty"`
}

// changes returns what has changed since it was last called. What it points at is
// still the state's. The caller holds the node's mu until it is marshalled.
func (s *state) changes() change {
	return change{
		Guests: s.Guests.changes(), Datasets: s.ZFS.Datasets.changes(), TXG: s.ZFS.TXG, Units: s.Units.changes(),
		Owners: s.Owners.changes(), Mounts: s.Mounts.changes(), Holds: s.Holds.changes(),
	}
}

func (c change) empty() bool {
	return len(c.Guests)+len(c.Datasets)+len(c.Units)+len(c.Owners)+len(c.Mounts)+len(c.Holds) == 0
}

func (s *state) apply(c change) {
	s.Guests.apply(c.Guests)
	s.ZFS.Datasets.apply(c.Datasets)
	s.ZFS.TXG = c.TXG
	s.Units.apply(c.Units)
	s.Owners.apply(c.Owners)
	s.Mounts.apply(c.Mounts)
	s.Holds.apply(c.Holds)
}

// Where the state lies in the lab's directory.
func stateFile(dir string) string   { return filepath.Join(dir, "state.json") }
func journalPath(dir string) string { return filepath.Join(dir, "state.journal") }

// loadState reads the state of the lab in dir; the error wraps fs.ErrNotExist in
// a directory that holds no lab yet.
func loadState(dir string) (state, error) {
	var s state
	data, err := os.ReadFile(stateFile(dir))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("read %q: %w", stateFile(dir), err)
	}
	data, err = os.ReadFile(journalPath(dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	// What follows the last newline was being written when the lab was killed:
	// nobody has been told of it.
	lines := bytes.SplitAfter(data, []byte("\n"))
	for i, line := range lines[:len(lines)-1] {
		var c change
		if err := json.Unmarshal(line, &c); err != nil {
			return s, fmt.Errorf("read %q: line %d: %w", journalPath(dir), i+1, err)
		}
		s.apply(c)
	}
	s.ZFS.indexMounts()
	return s, nil
}

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

// newPrefix begins the names of files that are being written.
const newPrefix = ".new-"
