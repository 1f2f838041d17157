package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// saveDelay is how long a change that nobody has been told of may wait for
// others, to be written with them.
const saveDelay = 20 * time.Millisecond

// journalMin is how long a journal may be at least before the state is written
// anew in its place.
const journalMin = 1 << 20

// A saver writes what a node knows, and what ran on it, to the lab's directory:
// all of it to state.json when the lab is opened and closed, and what has changed
// since to the journal, so that a change costs what it changes however much the
// node knows. When the journal is longer than state.json by far, all is written
// anew. A file that was written survives the process, whatever ends it.
type saver struct {
	mu      sync.Mutex // taken before node.mu
	journal *os.File   // nil: the lab is not open, changes wait
	length  int        // of the journal
	limit   int        // of length, before all is written anew
	broken  bool       // not all changes are in the files
	timer   *time.Timer

	changes, written atomic.Int64 // calls of save, and those that are on disk
}

// save has what changed written. Programs call it when they have changed
// something, without holding n.mu. It is written before anybody is told of the
// change, see settle, or soon.
func (n *node) save() {
	s := &n.saver
	s.changes.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.journal != nil && s.timer == nil {
		s.timer = time.AfterFunc(saveDelay, n.settle)
	}
}

// settle writes what waits to be written. Whatever a client is told comes after
// it, so that a lab that is killed has not lost what it said was done. That it
// cannot be written is a broken machine, not a broken node, so it is logged.
func (n *node) settle() {
	s := &n.saver
	if s.written.Load() == s.changes.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopTimer()
	if s.journal == nil {
		return
	}
	now := s.changes.Load()
	defer s.written.Store(now)
	n.record.flush()
	if err := n.writeChanges(); err != nil {
		s.broken = true
		n.log.Error("save state", "err", err)
	}
}

func (s *saver) stopTimer() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// writeChanges appends to the journal what has changed, or writes all anew. The
// caller holds the saver's mu.
func (n *node) writeChanges() error {
	s := &n.saver
	if s.broken || s.length > s.limit {
		return n.writeState()
	}
	n.mu.Lock()
	c := n.state.changes()
	if c.empty() {
		n.mu.Unlock()
		return nil
	}
	line, err := json.Marshal(c)
	n.mu.Unlock()
	if err != nil {
		return err
	}
	wrote, err := s.journal.Write(append(line, '\n'))
	s.length += wrote
	return err
}

// writeState writes all of the state and empties the journal. A lab that is killed
// in between applies changes again that state.json has already. The caller holds
// the saver's mu.
func (n *node) writeState() error {
	s := &n.saver
	n.mu.Lock()
	_ = n.state.changes() // all is written below
	data, err := json.Marshal(&n.state)
	n.mu.Unlock()
	if err != nil {
		return err
	}
	if err := replaceFile(stateFile(n.dir), data, 0o600); err != nil {
		return err
	}
	if err := s.journal.Truncate(0); err != nil {
		return err
	}
	s.broken, s.length, s.limit = false, 0, max(journalMin, 4*len(data))
	return nil
}

// openSaver writes the state as it is and has changes written from now on.
func (n *node) openSaver() error {
	s := &n.saver
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := os.OpenFile(journalPath(n.dir), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	s.journal = f
	if err := n.writeState(); err != nil {
		s.journal = nil
		return errors.Join(err, f.Close())
	}
	return nil
}

// closeSaver leaves state.json with all of the state and no journal. The error
// also tells of what had changed without being noted, which a kill would have
// lost.
func (n *node) closeSaver() error {
	s := &n.saver
	n.save()
	n.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopTimer()
	if s.journal == nil {
		return nil
	}
	var unnoted error
	if !s.broken {
		unnoted = n.checkFiles()
	}
	err := n.writeState()
	if err == nil {
		err = os.Remove(journalPath(n.dir))
	}
	err = errors.Join(unnoted, err, s.journal.Close())
	s.journal = nil
	return err
}

// checkFiles compares what is in the files with what the node knows.
func (n *node) checkFiles() error {
	kept, err := loadState(n.dir)
	if err != nil {
		return err
	}
	have, err := json.Marshal(&kept)
	if err != nil {
		return err
	}
	n.mu.Lock()
	want, err := json.Marshal(&n.state)
	n.mu.Unlock()
	if err != nil || bytes.Equal(have, want) {
		return err
	}
	have, want = unlike(have, want)
	return fmt.Errorf("state of the lab: a change was not noted: %q is kept as %q", want, have)
}

// unlike returns of two texts the parts around the first place where they differ.
func unlike(a, b []byte) ([]byte, []byte) {
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	part := func(s []byte) []byte { return s[max(0, at-60):min(len(s), at+60)] }
	return part(a), part(b)
}
