package pve

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type optionCase struct {
	Version, Command, Stderr string
	Options                  [][2]string
}

// What pct said against options, and what it took, is what CheckOption says.
func TestCheckOptionAsCaptured(t *testing.T) {
	for _, c := range captured[optionCase](t, "options.json") {
		want := strings.Split(c.Stderr, "\n")
		slices.Sort(want)
		got := strings.Split(verification(c), "\n")
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s %s %q (-want +got):\n%s", c.Version, c.Command, c.Options, diff)
		}
	}
}

// verification prints what pct would print for the options.
func verification(c optionCase) string {
	out := ""
	for _, o := range c.Options {
		err := CheckOption(c.Version, c.Command, o[0], o[1])
		var option *OptionError
		switch {
		case errors.Is(err, ErrUnknownOption):
			return "Unknown option: " + o[0] + "\n400 unable to parse option\n"
		case errors.Is(err, ErrBadBoolean):
			return err.Error() + "\n"
		case errors.As(err, &option):
			out += option.Key + ": " + option.Reason + "\n"
		}
	}
	if out == "" {
		return ""
	}
	return "400 Parameter verification failed.\n" + out
}

func TestCheckOptionByVersion(t *testing.T) {
	for _, c := range []struct {
		name, version, key, value string
		ok                        bool
	}{
		{"idmap before 6.1.6", "6.1.5", "mp0", "/a,mp=/a,idmap=passthrough", false},
		{"idmap from 6.1.6", "6.1.6", "mp0", "/a,mp=/a,idmap=passthrough", true},
		{"keepattrs before 6.1.2", "6.0.18", "mp0", "/a,mp=/a,keepattrs=1", false},
		{"newline in env until 6.1.7", "6.0.18", "env", "A=1\nB=2", true},
		{"newline in env from 6.1.8", "6.1.8", "env", "A=1\nB=2", false},
		{"several variables", "6.1.10", "env", "A=1\x00B=2", true},
		{"last mount point", "6.1.10", "mp255", "/a,mp=/a", true},
		{"no such mount point", "6.1.10", "mp256", "/a,mp=/a", false},
		{"family without number", "6.1.10", "mp", "/a,mp=/a", false},
		{"number without family", "6.1.10", "memory1", "512", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := CheckOption(c.version, "set", c.key, c.value); (err == nil) != c.ok {
				t.Errorf("error is %v, want ok: %v", err, c.ok)
			}
		})
	}
}

func TestRawKeyAllowed(t *testing.T) {
	for key, want := range map[string]bool{
		"lxc.init.cwd": true, "lxc.mount.entry": true, "lxc.net.0.type": true, "lxc.cgroup.memory": true,
		"lxc.rootfs.path": false, "lxc.nosuch": false, "lxc.sysctl.net.ipv4.ip_forward": false,
	} {
		if got := RawKeyAllowed(key); got != want {
			t.Errorf("%s is allowed: %v, want %v", key, got, want)
		}
	}
}

func TestFamily(t *testing.T) {
	for key, want := range map[string]struct {
		name string
		n    int
	}{"mp3": {"mp[n]", 3}, "net10": {"net[n]", 10}, "memory": {"memory", -1}, "mp03": {"mp03", -1}, "ha-managed": {"ha-managed", -1}, "3": {"3", -1}, "": {"", -1}} {
		name, n := Family(key)
		if name != want.name || n != want.n {
			t.Errorf("Family(%q) is %q %d, want %q %d", key, name, n, want.name, want.n)
		}
	}
}
