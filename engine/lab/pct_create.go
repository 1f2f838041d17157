package lab

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// pctCreate makes a container (create_vm in API2/LXC.pm).
func pctCreate(c *guestCall) error {
	if err := c.checkOptions("create"); err != nil {
		return err
	}
	if err := c.node.idUnused(c.id); err != nil {
		return err
	}
	if c.opts["restore"] == "1" {
		return dief(255, "unable to restore CT %d - the lab has no backups", c.id)
	}
	cr := &creation{guestCall: c, template: c.args["ostemplate"]}
	if err := cr.prepare(); err != nil {
		return err
	}
	if err := cr.reserve(); err != nil {
		return cr.unable(err)
	}
	if err := c.worker("vzcreate", cr.run); err != nil {
		return err
	}
	if c.opts["start"] == "1" {
		return c.worker("vzstart", func() error { return c.startGuest(c.id) })
	}
	return nil
}

// idUnused refuses an id that a guest of any node has.
func (n *node) idUnused(id int) error {
	nodes, _ := n.readDir("/etc/pve/nodes") // none is like an empty one
	for _, e := range nodes {
		for kind, dir := range map[string]string{"CT": "lxc", "VM": "qemu-server"} {
			if _, err := n.stat(fmt.Sprintf("/etc/pve/nodes/%s/%s/%d.conf", e.Name(), dir, id)); err == nil {
				return dief(2, "%s %d already exists on node '%s'", kind, id, e.Name())
			}
		}
	}
	return nil
}

// A creation is a pct create at work.
type creation struct {
	*guestCall
	template string // as given
	archive  string // its path on the node
	conf     *pve.Config
	disks    map[string]string // rootfs and mpN as given
	volumes  []volume          // that it allocated
	mounts   []guestMount
}

// unable prefixes an error as every failure of a worker.
func (cr *creation) unable(err error) error {
	var die *cliError
	if errors.As(err, &die) {
		return &cliError{die.exit, fmt.Sprintf("unable to create CT %d - %s", cr.id, die.text)}
	}
	var failed *faultError
	if errors.As(err, &failed) {
		return dief(255, "unable to create CT %d - %s", cr.id, strings.TrimRight(failed.stderr, "\n"))
	}
	return err
}

// prepare checks what is checked before the id is taken, and sets the options.
func (cr *creation) prepare() error {
	if err := cr.checkTemplate(); err != nil {
		return err
	}
	options := cr.configOptions()
	cr.disks = map[string]string{}
	storage := cr.opts["storage"]
	if storage == "" {
		storage = "local"
	}
	for k, v := range options {
		switch {
		case !isDisk(k):
			if strings.HasPrefix(k, "unused") {
				fmt.Fprintf(cr.warn, "ignoring '%s', cannot create/restore with unused volume\n", k)
				delete(options, k)
			}
			continue
		case regexp.MustCompile(`^\d+(\.\d+)?$`).MatchString(v):
			v = storage + ":" + v
		}
		cr.disks[k] = v
		delete(options, k)
	}
	if len(cr.disks) > 0 && cr.disks["rootfs"] == "" {
		return dief(255, "mount points configured, but 'rootfs' not set - aborting")
	}
	if err := cr.checkStorages(storage); err != nil {
		return err
	}
	cr.conf = pve.NewConfig()
	unprivileged, given := options["unprivileged"]
	delete(options, "unprivileged")
	if err := cr.applyOptions(cr.conf, options); err != nil {
		return err
	}
	if !given || unprivileged == "1" {
		cr.conf.Options["unprivileged"] = "1"
	}
	if len(cr.disks) == 0 {
		cr.disks["rootfs"] = storage + ":4"
	}
	return nil
}

// isDisk reports whether an option is the root or a mount point.
func isDisk(key string) bool { return key == "rootfs" || isIndexed(key, "mp") }

// isIndexed reports whether key is prefix and a number.
func isIndexed(key, prefix string) bool {
	rest, ok := strings.CutPrefix(key, prefix)
	return ok && rest != "" && strings.Trim(rest, "0123456789") == ""
}

// checkTemplate looks at the name of the template; whether it is there is looked
// at in the worker.
func (cr *creation) checkTemplate() error {
	if strings.HasPrefix(cr.template, "/") || !strings.Contains(cr.template, ":") {
		cr.archive = cr.template
		return nil
	}
	id, err := pve.ParseVolID(cr.template)
	if err != nil {
		return dief(255, "%v", err)
	}
	if _, err := cr.node.storage(id.Storage); err != nil {
		return err
	}
	v, err := cr.node.volume(cr.template)
	if err == nil && v.kind != "vztmpl" {
		err = dief(255, "unable to parse directory volume name '%s'", id.Name)
	}
	cr.archive = v.file
	return err
}

// checkStorages checks that each storage for a new volume takes containers.
func (cr *creation) checkStorages(storage string) error {
	names := []string{}
	if len(cr.disks) == 0 {
		names = append(names, storage)
	}
	for _, k := range slices.Sorted(maps.Keys(cr.disks)) {
		m, err := pve.ParseMount(cr.disks[k])
		if err != nil {
			return paramError{k: "invalid format - " + err.Error()}
		}
		if m.Kind() != pve.VolumeMount {
			continue
		}
		name, _, ok := strings.Cut(m.Volume, ":")
		if !ok {
			return dief(255, "unable to parse volume ID '%s'", m.Volume)
		}
		names = append(names, name)
	}
	for _, name := range names {
		s, err := cr.node.storage(name)
		if err != nil {
			return err
		}
		if !slices.Contains(s.Content, "rootdir") {
			return paramError{"storage": fmt.Sprintf("storage '%s' does not support container directories", name)}
		}
	}
	return nil
}

// reserve takes the id by writing a config that says no more than that it is
// being created.
func (cr *creation) reserve() error {
	release, err := cr.lockConfig(cr.id, reserveLockWait)
	if err != nil {
		return err
	}
	defer release()
	if err := cr.node.idUnused(cr.id); err != nil {
		var die *cliError
		if errors.As(err, &die) {
			die.exit = 255
		}
		return err
	}
	conf := pve.NewConfig()
	conf.Options["lock"] = "create"
	return cr.node.writeConfig(cr.id, conf)
}

// run is the worker: it fills the container, or leaves nothing behind.
func (cr *creation) run() error {
	release, err := cr.lockConfig(cr.id, configLockWait)
	if err != nil {
		return cr.unable(err)
	}
	defer release()
	err = cr.fill()
	if err == nil {
		return nil
	}
	var ended *endedError
	if errors.As(err, &ended) {
		if cr.ctx.Err() == nil || cr.task.killed.Load() {
			return err // killed: what is there stays
		}
		err = dief(255, "received interrupt")
	}
	cr.cleanUp()
	return cr.unable(err)
}

// fill allocates the volumes, unpacks the image and writes the config.
func (cr *creation) fill() error {
	if err := cr.findTemplate(); err != nil {
		return err
	}
	if err := cr.allocateDisks(); err != nil {
		return err
	}
	if err := cr.mountDisks(); err != nil {
		return err
	}
	if err := cr.unpackTemplate(); err != nil {
		return err
	}
	if err := cr.detectSystem(); err != nil {
		return err
	}
	root := guestRoot{cr.node, cr.mounts}
	setUpSystem(cr.conf, root, cr.id)
	if err := cr.unmountDisks(); err != nil {
		return err
	}
	for k, v := range map[string]string{"hostname": fmt.Sprintf("CT%d", cr.id), "memory": "512", "swap": "512"} {
		if _, ok := cr.conf.Options[k]; !ok {
			cr.conf.Options[k] = v
		}
	}
	defer cr.node.save()
	return cr.node.writeConfig(cr.id, cr.conf)
}

// cleanUp removes what a failed creation made.
func (cr *creation) cleanUp() {
	if err := cr.unmountDisks(); err != nil {
		fmt.Fprintln(cr.warn, err)
	}
	for _, v := range cr.volumes {
		if err := cr.freeVolume(v); err != nil {
			fmt.Fprintln(cr.warn, err)
		}
	}
	if err := cr.node.removeAll(cr.node.guestFile(cr.id)); err != nil {
		fmt.Fprintln(cr.warn, err)
	}
	cr.node.save()
}

// findTemplate finds the template's file. Its absence is said twice.
func (cr *creation) findTemplate() error {
	var err error
	if fi, statErr := cr.node.stat(cr.archive); statErr != nil || fi.IsDir() || !strings.HasPrefix(cr.archive, "/") {
		err = dief(255, "volume '%s' does not exist", cr.template)
		if cr.archive == cr.template {
			err = dief(255, "can't find file '%s'", cr.template)
		}
		fmt.Fprintln(cr.warn, err)
	}
	return err
}
