package recipes_test

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine/lab"
)

// A command is one that a run sends to the node: by its argv, without what differs
// from run to run, and the how manieth of those it is.
type command struct {
	id       string // words, joined by blanks
	nth      int    // from 1
	readOnly bool
}

var (
	differing = regexp.MustCompile(`(/tmp/tmp\.)\w+|(\.tg-)\w{6}\b|(subvol-)\d+-disk-\d+|(lxc/\.?)\d+\b|(pve-config-)\d+\b|(?:("vmid":)|(\bdestroy\.)|(\bclear\.))\d+`)
	whole     = regexp.MustCompile(`^(\d+|[0-9a-f]{64})$`)
)

// identity is what a command is called in every run.
func identity(argv []string) string {
	words := make([]string, len(argv))
	for i, w := range argv {
		if whole.MatchString(w) {
			words[i] = "N"
			continue
		}
		words[i] = differing.ReplaceAllString(w, "$1$2$3$4$5$6$7$8…")
	}
	return strings.Join(words, " ")
}

// ofSweep reports whether a command looks how old the temporary file of another
// writer is: it comes only where two write beside each other at that moment, which
// is chance. It changes nothing.
func ofSweep(id string) bool {
	return id == "date +%s" || strings.HasPrefix(id, "stat -c %Y ") && strings.HasSuffix(id, ".tg-…")
}

// commandsOf counts the commands of a log.
func commandsOf(log []lab.Entry) map[string]command {
	count := map[string]command{}
	for _, e := range log {
		if e.Argv[0] == ">" {
			continue // the shell opened a file
		}
		id := identity(e.Argv)
		if ofSweep(id) {
			continue
		}
		c := count[id]
		count[id] = command{id, c.nth + 1, !e.Mutating && e.Argv[0] != "mktemp" && path.Base(e.Argv[0]) != "rm"}
	}
	return count
}

// common are the commands that each of the logs has, in a fixed order, and how many
// only some have: a probe that is tried once more in one run.
func common(logs ...[]lab.Entry) (all []command, uncertain int) {
	least := commandsOf(logs[0])
	total := 0
	for _, log := range logs {
		now := commandsOf(log)
		for id, c := range now {
			total += c.nth
			if old, ok := least[id]; ok && old.nth > c.nth {
				least[id] = c
			}
		}
		for id := range least {
			if _, ok := now[id]; !ok {
				delete(least, id)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(least)) {
		for n := range least[id].nth {
			all = append(all, command{id, n + 1, least[id].readOnly})
		}
	}
	return all, total - len(logs)*len(all)
}

// fault is the fault at the command.
func (c command) fault(when lab.When, effect lab.Effect) lab.Fault {
	return lab.Fault{Match: func(argv []string) bool { return identity(argv) == c.id }, Nth: c.nth, When: when, Do: effect,
		Exit: 1, Stderr: "fault\n"}
}

// program is what the command is of, for counting: "pct create".
func (c command) program() string {
	f := strings.Fields(c.id)
	if len(f) > 1 && slices.Contains([]string{"pct", "zfs", "pvesm", "pvesh", "skopeo", "systemctl", "tar"}, f[0]) {
		return f[0] + " " + f[1]
	}
	return f[0]
}

func (c command) String() string {
	s := strings.ReplaceAll(c.id, "/", "∕") // a slash parts the names of tests
	if len(s) > 120 {
		s = s[:60] + "…" + s[len(s)-60:]
	}
	return fmt.Sprintf("%s #%d", s, c.nth)
}

func TestIdentityLeavesOutWhatDiffers(t *testing.T) {
	for _, pair := range [][2][]string{
		{{"pct", "start", "101"}, {"pct", "start", "104"}},
		{{"mktemp", "/etc/pve/priv/tengil/immich/.secret.x.tg-AbCdEf"}, {"mktemp", "/etc/pve/priv/tengil/immich/.secret.x.tg-QQQQQQ"}},
		{{"umount", "/var/lib/lxc/100/rootfs"}, {"umount", "/var/lib/lxc/103/rootfs"}},
		{{"flock", "/run/lock/lxc/pve-config-101.lock"}, {"flock", "/run/lock/lxc/pve-config-102.lock"}},
	} {
		if a, b := identity(pair[0]), identity(pair[1]); a != b || cmp.Compare(a, strings.Join(pair[0], " ")) == 0 {
			t.Errorf("%q and %q", a, b)
		}
	}
	if a, b := identity([]string{"zfs", "create", "tank/a"}), identity([]string{"zfs", "create", "tank/b"}); a == b {
		t.Errorf("two commands are both %q", a)
	}
}
