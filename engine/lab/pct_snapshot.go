package lab

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tengil/tengil/engine/pve"
)

// pctSnapshot takes a snapshot of the config and of all volumes. Any mount that
// is no volume makes it impossible.
func pctSnapshot(c *guestCall) error {
	name := c.args["snapname"]
	if _, err := c.node.guestConfig(c.id); err != nil {
		return err
	}
	return c.locked("vzsnapshot", func(conf *pve.Config) error {
		if i := snapshotAt(conf, name); i >= 0 {
			return dief(255, "snapshot name '%s' already used", name)
		}
		datasets, err := c.snapshotDatasets(conf.Options)
		if err != nil {
			return err
		}
		for _, d := range datasets {
			if err := c.node.snapshotDataset(d + "@" + name); err != nil {
				return dief(255, "zfs error: %v", err)
			}
		}
		defer c.node.save()
		s := conf.Clone().Section
		s.Name, s.Description = name, ""
		if text := c.opts["description"]; text != "" {
			setOption(&s, "description", text)
		}
		for _, i := range conf.Indexed("unused") {
			delete(s.Options, fmt.Sprintf("unused%d", i))
		}
		s.Options["snaptime"] = strconv.FormatInt(time.Now().Unix(), 10)
		conf.Snapshots = append(conf.Snapshots, s)
		conf.Options["parent"] = name
		return c.node.writeConfig(c.id, conf)
	})
}

func snapshotAt(conf *pve.Config, name string) int {
	return slices.IndexFunc(conf.Snapshots, func(s pve.Section) bool { return s.Name == name })
}

// snapshotDatasets returns the datasets behind all disks.
func (c *guestCall) snapshotDatasets(options map[string]string) ([]string, error) {
	var out []string
	for _, k := range diskKeys(options) {
		m, err := pve.ParseMount(options[k])
		if err != nil || m.Kind() != pve.VolumeMount {
			return nil, dief(255, "snapshot feature is not available")
		}
		v, err := c.node.volume(m.Volume)
		if err != nil {
			return nil, err
		}
		if v.dataset == "" {
			return nil, dief(255, "snapshot feature is not available")
		}
		out = append(out, v.dataset)
	}
	return out, nil
}

// pctDelSnapshot removes a snapshot.
func pctDelSnapshot(c *guestCall) error {
	return c.locked("vzdelsnapshot", func(conf *pve.Config) error {
		i := snapshotAt(conf, c.args["snapname"])
		if i < 0 {
			return dief(255, "snapshot '%s' does not exist", c.args["snapname"])
		}
		s := conf.Snapshots[i]
		datasets, err := c.snapshotDatasets(s.Options)
		if err != nil {
			return err
		}
		for _, d := range datasets {
			if err := c.node.destroyDataset(d + "@" + s.Name); err != nil {
				return dief(255, "zfs error: %v", err)
			}
		}
		defer c.node.save()
		reparent(&conf.Section, s)
		for j := range conf.Snapshots {
			reparent(&conf.Snapshots[j], s)
		}
		conf.Snapshots = slices.Delete(conf.Snapshots, i, i+1)
		return c.node.writeConfig(c.id, conf)
	})
}

// reparent gives a child of a snapshot that goes that one's parent.
func reparent(child *pve.Section, gone pve.Section) {
	if child.Options["parent"] != gone.Name {
		return
	}
	delete(child.Options, "parent")
	if p := gone.Options["parent"]; p != "" {
		child.Options["parent"] = p
	}
}

// pctRollback puts config and volumes back; the description stays, and volumes
// that came later become unused.
func pctRollback(c *guestCall) error {
	return c.locked("vzrollback", func(conf *pve.Config) error {
		i := snapshotAt(conf, c.args["snapname"])
		if i < 0 {
			return dief(255, "snapshot '%s' does not exist", c.args["snapname"])
		}
		s := conf.Clone().Snapshots[i]
		datasets, err := c.snapshotDatasets(s.Options)
		if err != nil {
			return err
		}
		c.node.endGuest(c.id)
		for _, d := range datasets {
			if err := c.node.rollbackDataset(d + "@" + s.Name); err != nil {
				return dief(255, "zfs error: %v", err)
			}
		}
		defer c.node.save()
		before := ownVolumes(&pve.Config{Section: conf.Section})
		description := conf.Description
		conf.Section = s
		conf.Name, conf.Description = "", description
		delete(conf.Options, "snaptime")
		conf.Options["parent"] = s.Name
		for _, v := range before {
			if !slices.Contains(ownVolumes(&pve.Config{Section: conf.Section}), v) {
				addUnused(conf, v)
			}
		}
		conf.Pending, conf.PendingEnv, conf.PendingDelete = map[string]string{}, nil, map[string]bool{}
		if err := c.node.writeConfig(c.id, conf); err != nil {
			return err
		}
		if c.opts["start"] == "1" {
			return c.startGuest(c.id)
		}
		return nil
	})
}

// pctListSnapshot prints the snapshots as a tree.
func pctListSnapshot(c *guestCall) error {
	conf, err := c.loadConfig(c.id)
	if err != nil {
		return err
	}
	line := func(depth int, name, when, text string) {
		prefix := strings.Repeat(" ", depth) + "`->"
		fmt.Fprintf(c.stdout, "%s %-*s %-23s %s\n", prefix, 30-len(prefix), name, when, text)
	}
	parent, depth := "", 0
	for range conf.Snapshots {
		for _, s := range conf.Snapshots {
			if s.Options["parent"] != parent || s.Name == parent {
				continue
			}
			sec, _ := strconv.ParseInt(s.Options["snaptime"], 10, 64)
			text := strings.TrimSpace(s.Description)
			if text == "" {
				text = "no-description"
			}
			line(depth, s.Name, time.Unix(sec, 0).UTC().Format(time.DateTime), text)
			parent = s.Name
			depth++
			break
		}
	}
	line(depth, "current", "", "You are here!")
	return nil
}
