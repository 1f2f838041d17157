package lab

import (
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// An account is a line of passwd or group; members are of a group.
type account struct {
	name    string
	id      string // uid of a user, gid of a group
	gid     string // of a user
	members []string
}

// takeUser writes the image's user to the config as it is resolved in the root's
// passwd and group (Create.pm, since 6.1.0). A name that is not found leaves no
// uid, and the process runs as root.
func (cr *creation) takeUser(text string) error {
	root := guestRoot{cr.node, cr.mounts}
	if !root.exists("/etc/passwd") {
		return dief(255, "cannot resolve /etc/passwd path in container rootfs")
	}
	name, group, hasGroup := strings.Cut(text, ":")
	user, found := findAccount(accounts(root, "/etc/passwd"), name)
	groups := accounts(root, "/etc/group")
	put := func(key, value string) {
		cr.conf.Raw = append(cr.conf.Raw, pve.KV{Key: "lxc.init." + key, Value: value})
	}
	switch {
	case found:
		put("uid", user.id)
	case isNumber(name):
		put("uid", name)
	}
	switch {
	case hasGroup:
		if g, ok := findAccount(groups, group); ok {
			put("gid", g.id)
		} else if isNumber(group) {
			put("gid", group)
		}
	case found:
		put("gid", user.gid)
		put("groups", strings.Join(groupsOf(groups, user), ","))
	case !isNumber(name):
		put("groups", "")
	}
	return nil
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// findAccount finds a line by name or number.
func findAccount(all []account, name string) (account, bool) {
	for _, a := range all {
		if a.name == name || isNumber(name) && a.id == name {
			return a, true
		}
	}
	return account{}, false
}

// groupsOf returns the ids of the groups that list the user.
func groupsOf(groups []account, user account) []string {
	var ids []string
	for _, g := range groups {
		for _, m := range g.members {
			if m == user.name {
				ids = append(ids, g.id)
			}
		}
	}
	return ids
}

// accounts reads a passwd or group file of a container.
func accounts(root guestRoot, file string) []account {
	data, err := root.readFile(file)
	if err != nil {
		return nil
	}
	var out []account
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 {
			continue
		}
		a := account{name: f[0], id: f[2], gid: f[3]}
		if f[3] != "" {
			a.members = strings.Split(f[3], ",")
		}
		out = append(out, a)
	}
	return out
}
