package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Condition is something that is wrong with the node, until it is cleared. It
// outlives a restart of the lab.
type Condition struct {
	Kind ConditionKind `json:"kind"`
	// On names what is in that condition: of DiskFull and ReadOnly a pool, dataset,
	// storage or directory, of BadRegistry a registry ("ghcr.io") or one repository
	// of it ("ghcr.io/x/y"). NoQuorum is of the node.
	On string `json:"on,omitempty"`
	// Free is how many bytes DiskFull leaves. What is removed gives none back.
	Free int64 `json:"free,omitempty"`
	// Trouble is what is wrong with a BadRegistry.
	Trouble Trouble `json:"trouble,omitempty"`
	// RetryAfter, if not 0, is what a registry says with Busy and Unavailable. The
	// lab's skopeo does not wait for it; a real one asks up to four times more, for
	// half a minute or as long as it is told to wait.
	RetryAfter time.Duration `json:"retry_after,omitempty"`
	// Rate is the bytes in a second of SlowBlobs.
	Rate int64 `json:"rate,omitempty"`

	Area area `json:"area,omitzero"` // what On means
}

// A ConditionKind is one of the constants below.
type ConditionKind string

// The conditions of a node.
const (
	DiskFull    ConditionKind = "disk-full" // writes fail with ENOSPC
	ReadOnly    ConditionKind = "read-only" // changes fail with EROFS
	NoQuorum    ConditionKind = "no-quorum" // /etc/pve cannot be written, containers not be made, changed or started
	BadRegistry ConditionKind = "registry"
)

// ConditionKinds returns all kinds.
func ConditionKinds() []ConditionKind {
	return []ConditionKind{DiskFull, ReadOnly, NoQuorum, BadRegistry}
}

// A Trouble is one of the constants below.
type Trouble string

// What a registry may do wrong.
const (
	Busy          Trouble = "429"            // too many requests
	ServerError   Trouble = "500"            // internal server error
	Unavailable   Trouble = "503"            // service unavailable
	SlowBlobs     Trouble = "slow"           // blobs come with Condition.Rate
	CutBlobs      Trouble = "cut"            // the connection ends in the middle of a blob
	ShortBlobs    Trouble = "short"          // a blob ends before its Content-Length
	WrongBlobs    Trouble = "wrong-digest"   // a blob of the right size holds something else
	NoBlobs       Trouble = "missing-blob"   // blobs are unknown
	BadManifests  Trouble = "bad-manifest"   // a manifest is cut off in the middle of its JSON
	WrongManifest Trouble = "not-a-manifest" // a manifest is a web page, as of a portal in between
	RedirectLoop  Trouble = "redirect-loop"  // manifests and blobs are said to be elsewhere, which is here
)

// Troubles returns all troubles.
func Troubles() []Trouble {
	return []Trouble{
		Busy, ServerError, Unavailable, SlowBlobs, CutBlobs, ShortBlobs, WrongBlobs, NoBlobs, BadManifests, WrongManifest, RedirectLoop,
	}
}

// An area is a part of the node's files: those of a dataset and all below it, or
// those below a directory that lie on its file system.
type area struct {
	Dataset string `json:"dataset,omitempty"`
	Dir     string `json:"dir,omitempty"`
}

func (c Condition) same(o Condition) bool { return c.Kind == o.Kind && c.On == o.On }

// Check says what is wrong with a condition, whatever the node has.
func (c Condition) Check() error {
	if err := c.CheckKind(); err != nil {
		return err
	}
	switch {
	case c.Kind == NoQuorum && c.On != "":
		return fmt.Errorf("no-quorum is of the node, not of %q", c.On)
	case c.Kind != NoQuorum && c.On == "":
		return fmt.Errorf("condition %s needs a name: of what", c.Kind)
	case c.Free < 0 || c.Rate < 0 || c.RetryAfter < 0:
		return errors.New("a size, rate or time is below 0")
	case c.Kind != BadRegistry:
		return nil
	case !slices.Contains(Troubles(), c.Trouble):
		return fmt.Errorf("trouble is %q; wanted %s", c.Trouble, wordList(Troubles()))
	case c.Trouble == SlowBlobs && c.Rate == 0:
		return errors.New("slow needs a rate: bytes in a second")
	}
	host, repo, isRepo := strings.Cut(c.On, "/")
	if !isRepo {
		repo = "x"
	}
	if !(dockerRepo{host, repo}).valid() {
		return fmt.Errorf("%q is no registry and no repository of one; wanted such as ghcr.io or ghcr.io/owner/image", c.On)
	}
	return nil
}

// CheckKind is Check of the kind alone.
func (c Condition) CheckKind() error {
	if !slices.Contains(ConditionKinds(), c.Kind) {
		return fmt.Errorf("condition is %q; wanted %s", c.Kind, wordList(ConditionKinds()))
	}
	return nil
}

func wordList[T ~string](words []T) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = string(w)
	}
	return strings.Join(all, ", ")
}

// SetCondition brings the node into a condition, in place of one of the same kind
// that is on the same.
func (l *Lab) SetCondition(c Condition) error { return l.node.setCondition(c) }

// ClearConditions ends the conditions of a kind ("" is any) that are on something
// ("" is anything), and returns how many there were.
func (l *Lab) ClearConditions(kind ConditionKind, on string) (int, error) {
	return l.node.clearConditions(kind, on)
}

// Conditions returns the conditions of the node.
func (l *Lab) Conditions() []Condition { return l.node.troubles.all() }

// A troubleTable holds the conditions of a node and keeps them in a file.
type troubleTable struct {
	mu   sync.Mutex
	file string
	list []Condition
}

func (t *troubleTable) load(file string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.file = file
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, &t.list)
	}
	if err != nil {
		return fmt.Errorf("read %q: %w", file, err)
	}
	return nil
}

// change changes the conditions by what do returns, and writes them.
func (t *troubleTable) change(do func(list []Condition) []Condition) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := do(slices.Clone(t.list))
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if t.file != "" {
		if err := replaceFile(t.file, data, 0o600); err != nil {
			return err
		}
	}
	t.list = list
	return nil
}

func (t *troubleTable) all() []Condition {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.list)
}

func (t *troubleTable) any() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.list) > 0
}

// conditionsFile keeps the conditions.
func (n *node) conditionsFile() string { return filepath.Join(n.dir, "conditions.json") }

func (n *node) setCondition(c Condition) error {
	err := c.Check()
	if err == nil && (c.Kind == DiskFull || c.Kind == ReadOnly) {
		c.Area, err = n.area(c.On)
	}
	if err != nil {
		return err
	}
	err = n.troubles.change(func(list []Condition) []Condition {
		return append(slices.DeleteFunc(list, c.same), c)
	})
	if err == nil && c.Kind == NoQuorum {
		err = n.tellMembers()
	}
	return err
}

func (n *node) clearConditions(kind ConditionKind, on string) (int, error) {
	count, lacked := 0, n.noQuorum()
	err := n.troubles.change(func(list []Condition) []Condition {
		return slices.DeleteFunc(list, func(c Condition) bool {
			gone := (kind == "" || c.Kind == kind) && (on == "" || c.On == on)
			if gone {
				count++
			}
			return gone
		})
	})
	if err == nil && lacked && !n.noQuorum() {
		err = n.tellMembers()
	}
	return count, err
}

// area returns what a name means: a dataset, a storage's, or a directory.
func (n *node) area(name string) (area, error) {
	if path.IsAbs(name) {
		to, err := n.resolve(name, true)
		if err == nil {
			_, err = n.readDir(to)
		}
		if err != nil {
			return area{}, fmt.Errorf("no directory %q on the node", name)
		}
		return area{Dir: to}, nil
	}
	if _, ok := n.dataset(name); ok {
		return area{Dataset: name}, nil
	}
	storages, err := n.storages()
	if err != nil {
		return area{}, err
	}
	var names []string
	for _, s := range storages {
		switch {
		case s.Name != name:
			names = append(names, s.Name)
		case s.Type == "zfspool":
			return area{Dataset: s.Pool}, nil
		case s.Path != "":
			return area{Dir: s.Path}, nil
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.state.ZFS.Pools {
		names = append(names, p.Name)
	}
	return area{}, fmt.Errorf("no pool, dataset or storage %q on the node; there are %s", name, strings.Join(names, ", "))
}

// noQuorum reports whether the node's cluster file system is read-only.
func (n *node) noQuorum() bool {
	return slices.ContainsFunc(n.troubles.all(), func(c Condition) bool { return c.Kind == NoQuorum })
}
