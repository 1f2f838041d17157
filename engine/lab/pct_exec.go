package lab

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// pctExec runs a command in the container as its root, as lxc-attach does.
func pctExec(c *guestCall) error {
	if _, err := c.node.guestConfig(c.id); err != nil {
		return err
	}
	if len(c.extra) == 0 {
		line := 241
		if c.node.pve == "6.0.18" {
			line = 239
		}
		return dief(255, "missing command at /usr/share/perl5/PVE/CLI/pct.pm line %d.", line)
	}
	if !c.node.guest(c.id).Running {
		return dief(255, "container '%d' not running!", c.id)
	}
	exit, found := c.node.driver.attach(c, c.extra, c.attachEnv())
	if !found {
		fmt.Fprintf(c.stderr, "lxc-attach: %d: ../src/lxc/attach.c: lxc_attach_run_command: 1845 No such file or directory - Failed to exec \"%s\"\n", c.id, c.extra[0])
	}
	if exit == 0 {
		return nil
	}
	return &cliError{exit: exit}
}

// attachEnv returns the environment of a command: the caller's unless that is to
// be left out, then what LXC sets, then the container's.
func (c *guestCall) attachEnv() []string {
	var env []string
	if c.opts["keep-env"] != "0" {
		env = slices.Clone(c.env)
	}
	own := c.node.guestEnv(c.id)
	isPath := func(kv string) bool { return strings.HasPrefix(kv, "PATH=") }
	for _, kv := range own {
		if isPath(kv) {
			env = append(slices.DeleteFunc(env, isPath), kv)
		}
	}
	env = append(env, "container=lxc", "TERM=linux")
	return append(env, slices.DeleteFunc(slices.Clone(own), isPath)...)
}

// pctEnter is refused without a terminal, which the lab does not have.
func pctEnter(c *guestCall) error {
	if _, err := c.node.guestConfig(c.id); err != nil {
		return err
	}
	if !c.node.guest(c.id).Running {
		return dief(255, "container '%d' not running!", c.id)
	}
	return dief(255, "the lab has no terminals: use pct exec")
}

func copyOptionKinds() map[string]optionKind {
	return map[string]optionKind{"user": textOption, "group": textOption, "perms": textOption}
}

// pctPush copies a file into a running container. A file that is not there is
// said, and is no failure.
func pctPush(c *guestCall) error {
	if err := c.mayCopy(); err != nil {
		return err
	}
	data, err := c.node.readFile(c.abs(c.args["file"]))
	if err != nil {
		fmt.Fprintf(c.stderr, "failed to open %s for reading\n", c.args["file"])
		return nil
	}
	accounts := func(name string) ([]byte, error) { return c.node.driver.readFile(c.id, name) }
	o, err := c.copyOwner(accounts)
	if err != nil {
		return err
	}
	o.UID, o.GID = o.UID+mappedRoot, o.GID+mappedRoot
	if err := c.node.driver.writeFile(c.id, c.args["destination"], data, o); err != nil {
		return dief(255, "failed to open %s for writing: %s", c.args["destination"], strerror(err))
	}
	return nil
}

// pctPull copies a file out of a running container.
func pctPull(c *guestCall) error {
	if err := c.mayCopy(); err != nil {
		return err
	}
	data, err := c.node.driver.readFile(c.id, c.args["path"])
	if err != nil {
		return dief(255, "failed to open %s: %s", c.args["path"], strerror(err))
	}
	o, err := c.copyOwner(c.node.readFile)
	if err != nil {
		return err
	}
	to, err := c.node.resolve(c.abs(c.args["destination"]), true)
	if err != nil {
		return err
	}
	if err := c.node.writeFile(to, data, o.Mode); err != nil {
		return err
	}
	c.node.setOwner(to, o)
	return nil
}

// copyOwner returns who a copied file is to belong to, by the options. Names are
// those of the side that gets the file, whose files read returns.
func (c *guestCall) copyOwner(read func(name string) ([]byte, error)) (owner, error) {
	o := owner{Mode: 0o644}
	if text := c.opts["perms"]; text != "" {
		digits, hex := strings.CutPrefix(text, "0x")
		base := 8
		if hex {
			base = 16
		}
		mode, err := strconv.ParseUint(digits, base, 12)
		if err != nil {
			return o, paramError{"perms": fmt.Sprintf("value '%s' does not look like an octal number", text)}
		}
		o.Mode = fs.FileMode(mode)
	}
	for _, a := range []struct {
		option, file, missing string
		id                    *int
	}{{"user", "/etc/passwd", "no such user: %s", &o.UID}, {"group", "/etc/group", "no such group: %s", &o.GID}} {
		name := c.opts[a.option]
		if name == "" {
			continue
		}
		id, err := strconv.Atoi(name)
		if err != nil {
			data, _ := read(a.file) // none has no names
			id, err = accountID(string(data), name)
		}
		if err != nil {
			return o, dief(255, a.missing, name)
		}
		*a.id = id
	}
	return o, nil
}

// accountID finds a name in the text of /etc/passwd or /etc/group.
func accountID(text, name string) (int, error) {
	for line := range strings.Lines(text) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) > 2 && f[0] == name {
			return strconv.Atoi(f[2])
		}
	}
	return 0, fs.ErrNotExist
}

func (c *guestCall) mayCopy() error {
	if _, err := c.node.guestConfig(c.id); err != nil {
		return err
	}
	if !c.node.guest(c.id).Running {
		return dief(255, "can only copy to and from a running container")
	}
	return nil
}
