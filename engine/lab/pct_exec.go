package lab

import (
	"fmt"
	"slices"
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
	root, err := c.copyRoot()
	if err != nil {
		return err
	}
	data, err := c.node.readFile(c.abs(c.args["file"]))
	if err != nil {
		fmt.Fprintf(c.stderr, "failed to open %s for reading\n", c.args["file"])
		return nil
	}
	writeGuestFile(root, c.args["destination"], data)
	return nil
}

// pctPull copies a file out of a running container.
func pctPull(c *guestCall) error {
	root, err := c.copyRoot()
	if err != nil {
		return err
	}
	data, err := root.readFile(c.args["path"])
	if err != nil {
		return dief(255, "failed to open %s: No such file or directory", c.args["path"])
	}
	return c.node.writeFile(c.abs(c.args["destination"]), data, 0o644)
}

func (c *guestCall) copyRoot() (guestRoot, error) {
	if _, err := c.node.guestConfig(c.id); err != nil {
		return guestRoot{}, err
	}
	g := c.node.guest(c.id)
	if !g.Running {
		return guestRoot{}, dief(255, "can only copy to and from a running container")
	}
	return guestRoot{c.node, g.Mounts}, nil
}
