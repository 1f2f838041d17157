package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tengil/tengil/engine/pve"
)

// guestDir is the directory of this node's container configs.
func (n *node) guestDir() string { return path.Join("/etc/pve/nodes", n.name, "lxc") }

func (n *node) guestFile(id int) string { return path.Join(n.guestDir(), fmt.Sprintf("%d.conf", id)) }

// guestConfig reads a container's config; without one the error is PVE's.
func (n *node) guestConfig(id int) (*pve.Config, error) {
	data, err := n.readFile(n.guestFile(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, dief(2, "Configuration file 'nodes/%s/lxc/%d.conf' does not exist", n.name, id)
	}
	if err != nil {
		return nil, err
	}
	return pve.ParseConfig(data)
}

// loadConfig is guestConfig for a program: warnings about the file go to warn.
func (c *guestCall) loadConfig(id int) (*pve.Config, error) {
	conf, err := c.node.guestConfig(id)
	if err == nil {
		c.warnConfig(id, conf)
	}
	return conf, err
}

func (c *guestCall) warnConfig(id int, conf *pve.Config) {
	for _, w := range conf.Warnings {
		fmt.Fprintf(c.warn, "vm %d - %s\n", id, w)
	}
}

// writeConfig writes a container's config, as write_config in AbstractConfig.pm
// does: a value with a newline in it is refused.
func (n *node) writeConfig(id int, conf *pve.Config) error {
	for _, k := range slices.Sorted(maps.Keys(conf.Options)) {
		if strings.Contains(conf.Options[k], "\n") {
			return dief(255, "detected invalid newline inside property '%s'", k)
		}
	}
	conf.Unknown = nil
	return n.writeFile(n.guestFile(id), conf.Bytes(), 0o640)
}

// guestIDs returns the ids of this node's containers in ascending order.
func (n *node) guestIDs() []int {
	var ids []int
	list, _ := n.readDir(n.guestDir()) // a node without the directory has no guests
	for _, e := range list {
		id, err := strconv.Atoi(strings.TrimSuffix(e.Name(), ".conf"))
		if err == nil && strings.HasSuffix(e.Name(), ".conf") {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// checkLock refuses a locked config (check_lock in AbstractConfig.pm).
func checkLock(conf *pve.Config) error {
	if l := conf.Lock(); l != "" {
		return dief(255, "CT is locked (%s)", l)
	}
	return nil
}

// How long PVE waits for the lock of a config: 10 s, and 5 s to reserve an id.
const (
	configLockWait  = 10 * time.Second
	reserveLockWait = 5 * time.Second
)

// lockConfig takes the file lock of a container's config (lock_config in
// AbstractConfig.pm).
func (c *guestCall) lockConfig(id int, wait time.Duration) (release func(), err error) {
	return c.lockFile(c.ctx, fmt.Sprintf("/run/lock/lxc/pve-config-%d.lock", id), wait)
}

// storageLockWait is how long PVE waits for the lock of a storage.
const storageLockWait = 10 * time.Second

// lockStorage takes the lock under which volumes of a storage are made, freed and
// renamed (cluster_lock_storage in pve-storage's Plugin.pm, of a local storage).
// Who cleans up takes it after an interrupt as well.
func (c *guestCall) lockStorage(storage string) (release func(), err error) {
	return c.lockFile(context.WithoutCancel(c.ctx), "/var/lock/pve-manager/pve-storage-"+storage, storageLockWait)
}

// lockFile takes a lock as lock_file in PVE's Tools.pm.
func (c *guestCall) lockFile(ctx context.Context, file string, wait time.Duration) (release func(), err error) {
	at := strings.Replace(file, "/var/lock/", "/run/lock/", 1) // a link of Debian's
	release, err = c.node.lock(ctx, at, 0)
	if !errors.Is(err, errBusy) {
		return release, err
	}
	fmt.Fprint(c.warn, "trying to acquire lock...\n")
	release, err = c.node.lock(ctx, at, wait)
	if errors.Is(err, errTimedOut) {
		return nil, dief(4, "can't lock file '%s' - got timeout", file)
	}
	if err == nil {
		fmt.Fprint(c.warn, " OK\n")
	}
	return release, err
}

// allocate makes a new volume under its storage's lock.
func (c *guestCall) allocate(storage string, gib float64) (volume, int64, error) {
	if _, err := c.node.storage(storage); err != nil {
		return volume{}, 0, err
	}
	release, err := c.lockStorage(storage)
	if err != nil {
		return volume{}, 0, err
	}
	defer release()
	return c.node.allocate(storage, c.id, gib)
}

// freeVolume destroys a volume under its storage's lock.
func (c *guestCall) freeVolume(v volume) error {
	release, err := c.lockStorage(v.id.Storage)
	if err != nil {
		return err
	}
	defer release()
	return c.node.freeVolume(v)
}

// renameVolume gives a volume to another container under its storage's lock.
func (c *guestCall) renameVolume(id string, to int) (volume, error) {
	v, err := c.node.volume(id)
	if err != nil {
		return volume{}, err
	}
	release, err := c.lockStorage(v.id.Storage)
	if err != nil {
		return volume{}, err
	}
	defer release()
	return c.node.renameVolume(id, to)
}

// The functions below treat the environment and the description, which pve keeps
// apart, as the options that they are to pct.

// option returns the effective value of an option.
func option(s *pve.Section, key string) (string, bool) {
	switch key {
	case "env":
		return strings.Join(s.Env, "\x00"), len(s.Env) > 0
	case "description":
		return s.Description, s.Description != ""
	}
	v, ok := s.Options[key]
	return v, ok
}

func setOption(s *pve.Section, key, value string) {
	switch key {
	case "env":
		s.Env = strings.Split(value, "\x00")
	case "description":
		s.Description = ""
		if value != "" {
			s.Description = strings.TrimRight(value, "\n") + "\n"
		}
	default:
		s.Options[key] = value
	}
}

func unsetOption(s *pve.Section, key string) {
	switch key {
	case "env":
		s.Env = nil
	case "description":
		s.Description = ""
	default:
		delete(s.Options, key)
	}
}

// pendingOption returns the value of an option that waits for the next stop.
func pendingOption(conf *pve.Config, key string) (string, bool) {
	if key == "env" {
		return strings.Join(conf.PendingEnv, "\x00"), conf.PendingEnv != nil
	}
	v, ok := conf.Pending[key]
	return v, ok
}

func setPending(conf *pve.Config, key, value string) {
	if key == "env" {
		conf.PendingEnv = strings.Split(value, "\x00")
		return
	}
	conf.Pending[key] = value
}

func unsetPending(conf *pve.Config, key string) {
	if key == "env" {
		conf.PendingEnv = nil
		return
	}
	delete(conf.Pending, key)
}

// optionKeys returns the keys of the options that are set, sorted.
func optionKeys(s *pve.Section) []string {
	keys := slices.Collect(maps.Keys(s.Options))
	for _, k := range []string{"env", "description"} {
		if _, ok := option(s, k); ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// pendingKeys returns the keys that have a pending value, sorted.
func pendingKeys(conf *pve.Config) []string {
	keys := slices.Collect(maps.Keys(conf.Pending))
	if conf.PendingEnv != nil {
		keys = append(keys, "env")
	}
	slices.Sort(keys)
	return keys
}

// merged returns the main section with what waits for the next stop, as
// load_current_config in AbstractConfig.pm merges it: of a key that is to be set
// and to be deleted the deletion shows.
func merged(conf *pve.Config) *pve.Section {
	s := conf.Clone().Section
	for _, k := range pendingKeys(conf) {
		v, _ := pendingOption(conf, k)
		setOption(&s, k, v)
	}
	for k := range conf.PendingDelete {
		unsetOption(&s, k)
	}
	return &s
}
