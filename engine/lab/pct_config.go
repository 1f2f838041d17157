package lab

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// pctConfig prints the options with what is pending merged in, or one snapshot's.
func pctConfig(c *guestCall) error {
	conf, err := c.loadConfig(c.id)
	if err != nil {
		return err
	}
	s := merged(conf)
	switch {
	case c.opts["current"] == "1":
		s = &conf.Section
	case c.opts["snapshot"] != "":
		i := slices.IndexFunc(conf.Snapshots, func(s pve.Section) bool { return s.Name == c.opts["snapshot"] })
		if i < 0 {
			return dief(255, "snapshot '%s' does not exist", c.opts["snapshot"])
		}
		s = &conf.Snapshots[i]
	}
	if err := checkResult(c.node.pve, s); err != nil {
		return err
	}
	for _, k := range optionKeys(s) {
		v, _ := option(s, k)
		fmt.Fprintf(c.stdout, "%s: %s\n", k, shown(k, v))
	}
	for _, kv := range s.Raw {
		fmt.Fprintf(c.stdout, "%s: %s\n", kv.Key, kv.Value)
	}
	return nil
}

// checkResult is PVE's check of its own answer, which a config edited by hand, or
// a description of the full length, does not pass.
func checkResult(version string, s *pve.Section) error {
	bad := paramError{}
	if len([]rune(s.Description)) > 8192 {
		bad["description"] = "value may only be 8192 characters long"
	}
	if env, ok := option(s, "env"); ok && pve.CheckOption(version, "set", "env", env) != nil {
		bad["env"] = "value does not match the regex pattern"
	}
	if len(bad) == 0 {
		return nil
	}
	return dief(255, "%s", strings.TrimRight(strings.Replace(bad.Error(), "Parameter verification failed.", "Result verification failed", 1), "\n"))
}

// shown is how an option looks on one line: a description is percent-encoded
// whole, its newlines too.
func shown(key, value string) string {
	if key != "description" {
		return value
	}
	lines := strings.Split(value, "\n")
	for i, l := range lines {
		lines[i] = pve.EncodeDescription(l)
	}
	return strings.Join(lines, "%0A")
}

// A pendingRow is one option with what waits for the next stop.
type pendingRow struct {
	key      string
	value    string
	set      bool
	pending  string
	changed  bool // pending is set
	deletion bool
}

func pendingRows(conf *pve.Config) []pendingRow {
	keys := append(optionKeys(&conf.Section), pendingKeys(conf)...)
	slices.Sort(keys)
	var rows []pendingRow
	for _, k := range slices.Compact(keys) {
		r := pendingRow{key: k}
		r.value, r.set = option(&conf.Section, k)
		r.pending, r.changed = pendingOption(conf, k)
		_, r.deletion = conf.PendingDelete[k]
		rows = append(rows, r)
	}
	return rows
}

// pctPending prints the options and what waits for the next stop.
func pctPending(c *guestCall) error {
	conf, err := c.loadConfig(c.id)
	if err != nil {
		return err
	}
	for _, r := range pendingRows(conf) {
		switch {
		case r.deletion:
			fmt.Fprintf(c.stdout, "del %s: %s\n", r.key, shown(r.key, r.value))
			continue
		case r.set:
			fmt.Fprintf(c.stdout, "cur %s: %s\n", r.key, shown(r.key, r.value))
		}
		if r.changed {
			fmt.Fprintf(c.stdout, "new %s: %s\n", r.key, shown(r.key, r.pending))
		}
	}
	return nil
}
