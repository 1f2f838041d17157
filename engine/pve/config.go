package pve

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A KV is one "key: value" line.
type KV struct{ Key, Value string }

// EnvKey is the key of the lines that hold a container's environment.
const EnvKey = "lxc.environment.runtime"

// A Section is the body of one section of a guest config: the main one, the
// pending one or a snapshot.
type Section struct {
	Name string // of a snapshot; "" for the main and the pending section
	// Description is the decoded text of the # lines; each line ends in a newline.
	Description string
	// Options are the plain keys: "memory", "net0". Keys that PVE does not know
	// are among them, as PVE keeps them too.
	Options map[string]string
	// Env holds the lxc.environment.runtime lines, "K=V", in order.
	Env []string
	// Raw holds the other lxc.* lines, in order.
	Raw []KV
	// Unknown holds lines that PVE warns about and loses at its next write.
	Unknown []string
}

// A Config is a container's config file, /etc/pve/lxc/ID.conf, as Config.pm
// (parse_pct_config, write_pct_config) reads and writes it.
type Config struct {
	Section
	// Pending are the values that take effect at the next stop; PendingEnv is
	// nil when the environment is not among them.
	Pending    map[string]string
	PendingEnv []string
	PendingRaw []KV
	// PendingDelete are the keys to be deleted at the next stop. The value tells
	// whether the deletion is forced (destroys the volume).
	PendingDelete map[string]bool
	Snapshots     []Section // sorted by name when written
	// Warnings are what PVE would print while it reads the file, without the
	// "vm ID - " in front.
	Warnings []string
}

// NewConfig returns an empty Config with non-nil maps.
func NewConfig() *Config {
	return &Config{
		Section:       Section{Options: map[string]string{}},
		Pending:       map[string]string{},
		PendingDelete: map[string]bool{},
	}
}

// Get returns a plain option of the main section, "" if unset.
func (c *Config) Get(key string) string { return c.Options[key] }

// Lock returns the lock property: "create", "backup", …; "" when not locked.
func (c *Config) Lock() string { return c.Options["lock"] }

// Tags returns the tags as they are stored.
func (c *Config) Tags() []string { return ParseTags(c.Options["tags"]) }

// Indexed returns the indexes of a numbered family in ascending order: 0, 3 for
// prefix "mp" when mp0 and mp3 are set.
func (c *Config) Indexed(prefix string) []int { return indexed(c.Options, prefix) }

// HasPending reports whether anything waits for the next stop.
func (c *Config) HasPending() bool {
	return len(c.Pending) > 0 || len(c.PendingDelete) > 0 || c.PendingEnv != nil || len(c.PendingRaw) > 0
}

// RawValue returns the value of the last raw line with the key, "" if there is none.
func (c *Config) RawValue(key string) string {
	v := ""
	for _, kv := range c.Raw {
		if kv.Key == key {
			v = kv.Value
		}
	}
	return v
}

// Clone returns a deep copy.
func (c *Config) Clone() *Config {
	out := *c
	out.Section = c.Section.clone()
	out.Pending = maps.Clone(c.Pending)
	out.PendingEnv = slices.Clone(c.PendingEnv)
	out.PendingRaw = slices.Clone(c.PendingRaw)
	out.PendingDelete = maps.Clone(c.PendingDelete)
	out.Snapshots = nil
	for _, s := range c.Snapshots {
		out.Snapshots = append(out.Snapshots, s.clone())
	}
	out.Warnings = slices.Clone(c.Warnings)
	return &out
}

func (s Section) clone() Section {
	s.Options = maps.Clone(s.Options)
	s.Env = slices.Clone(s.Env)
	s.Raw = slices.Clone(s.Raw)
	s.Unknown = slices.Clone(s.Unknown)
	return s
}

func indexed(options map[string]string, prefix string) []int {
	var out []int
	for k := range options {
		rest, ok := strings.CutPrefix(k, prefix)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(rest)
		if err == nil && n >= 0 && strconv.Itoa(n) == rest {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}
