package pve

import (
	"maps"
	"slices"
	"strings"
)

// Bytes returns the file as PVE writes it (write_pct_config in Config.pm): the
// description as encoded # lines, the options sorted, the environment, the raw
// lxc lines in order, then [pve:pending] and the snapshots by name. As with PVE,
// Unknown lines are lost.
func (c *Config) Bytes() []byte {
	var b strings.Builder
	c.Section.write(&b)
	if c.HasPending() {
		b.WriteString("\n[pve:pending]\n")
		c.pendingSection().write(&b)
	}
	snapshots := slices.Clone(c.Snapshots)
	slices.SortStableFunc(snapshots, func(a, b Section) int { return strings.Compare(a.Name, b.Name) })
	for _, s := range snapshots {
		b.WriteString("\n[" + s.Name + "]\n")
		s.write(&b)
	}
	return []byte(b.String())
}

func (c *Config) pendingSection() Section {
	s := Section{Options: maps.Clone(c.Pending), Env: c.PendingEnv, Raw: c.PendingRaw}
	if s.Options == nil {
		s.Options = map[string]string{}
	}
	s.Description = s.Options["description"]
	delete(s.Options, "description")
	if len(c.PendingDelete) > 0 {
		s.Options["delete"] = FormatPendingDelete(c.PendingDelete)
	}
	return s
}

// FormatPendingDelete prints keys as the delete line of the pending section
// holds them: sorted, joined with commas, "!" in front of the forced ones.
func FormatPendingDelete(keys map[string]bool) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if keys[k] {
			k = "!" + k
		}
		out = append(out, k)
	}
	return strings.Join(out, ",")
}

func (s Section) write(b *strings.Builder) {
	for line := range strings.SplitSeq(strings.TrimRight(s.Description, "\n"), "\n") {
		if s.Description != "" {
			b.WriteString("#" + EncodeDescription(line) + "\n")
		}
	}
	for _, k := range slices.Sorted(maps.Keys(s.Options)) {
		b.WriteString(k + ": " + s.Options[k] + "\n")
	}
	for _, e := range s.Env {
		b.WriteString(EnvKey + ": " + e + "\n")
	}
	for _, kv := range s.Raw {
		b.WriteString(kv.Key + ": " + kv.Value + "\n")
	}
}
