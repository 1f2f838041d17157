package lab

import (
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A usage is how much the files below a directory are.
type usage struct {
	bytes  int64
	blocks int64 // of 512 bytes
}

// usageAge is how old what ZFS tells of used space may be: it counts when it writes
// what has changed, every five seconds.
const usageAge = 5 * time.Second

// A usageTable keeps what was counted, as a root of a container has thousands of
// files, and is asked for several times by each plan.
type usageTable struct {
	mu  sync.Mutex
	dir map[string]*counted
}

type counted struct {
	mu sync.Mutex
	usage
	when    time.Time
	changes int // that programs of the node had made
}

// usage counts the files below dir, a directory of the lab's machine, without those
// below the directories in but. Where containers run for real, what they write shows
// within usageAge; what the node's programs write shows at once.
func (n *node) usage(dir string, but map[string]bool) usage {
	if n.lxc == nil {
		return count(dir, but)
	}
	key := dir
	for other := range but {
		if strings.HasPrefix(other, dir+string(filepath.Separator)) {
			key = dir + "\x00" // counted apart from all that is below it
		}
	}
	t := &n.usages
	t.mu.Lock()
	if t.dir == nil {
		t.dir = map[string]*counted{}
	}
	c := t.dir[key]
	if c == nil {
		c = &counted{}
		t.dir[key] = c
	}
	t.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	changes := n.record.changes()
	if c.when.IsZero() || c.changes != changes || time.Since(c.when) >= usageAge {
		c.changes, c.when = changes, time.Now()
		c.usage = count(dir, but)
	}
	return c.usage
}

// count counts the files below dir. One that goes away meanwhile does not count.
func count(dir string, but map[string]bool) (u usage) {
	_ = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
		case e.IsDir() && name != dir && but[name]:
			return fs.SkipDir
		case e.Type().IsRegular():
			if fi, err := e.Info(); err == nil {
				u.bytes += fi.Size()
				u.blocks += (fi.Size() + 511) / 512
			}
		}
		return nil
	})
	return u
}
