package pct

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
	"github.com/tengil/tengil/engine/unit"
)

// findAsks asks for all containers. Which of them run needs the node's name,
// which only the first round tells.
func findAsks(known *engine.Answers) []engine.Ask {
	asks := append(guestAsks(), pve.NodeNameAsk(), engine.AskGlob(record.AllIntentsGlob()), hostsFindAsk())
	if known == nil {
		return asks
	}
	node, err := pve.NodeName(known)
	if err != nil {
		return asks // find tells
	}
	return append(asks, listAsk(node))
}

// find returns all containers of all apps on this node.
func find(a *engine.Answers) ([]engine.Found, error) {
	node, err := pve.NodeName(a)
	if errors.Is(err, engine.ErrNobody) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	guests, err := GuestsOf(a, node)
	if err != nil {
		return nil, err
	}
	out, err := findHosts(a)
	if err != nil {
		return nil, err
	}
	names, err := a.Glob(hostsFindAsk().Glob())
	if err != nil {
		return nil, err
	}
	for _, named := range guests.byName {
		for _, g := range named {
			if g.Node != node {
				continue
			}
			out = append(out, engine.Found{App: g.ID.App, Step: engine.StepID("pct_create/" + g.ID.Name), What: fmt.Sprintf("CT %d", g.VMID),
				Now: state(g), Address: address(g, names[hostsFile(g.ID.App)]), Refused: protected(g), Hint: protectedHint(g), Loses: fmt.Sprintf("what CT %d wrote outside its mounts", g.VMID),
				Remove: func(ctx context.Context, h engine.Host, report func(string, int64, int64)) error {
					return removeContainer(ctx, h, g.ID.App, g.VMID, true, report)
				}})
		}
	}
	intents, err := record.AllIntents(a)
	if err != nil {
		return nil, err
	}
	for app, all := range intents {
		for _, i := range all {
			out = append(out, engine.Found{App: app, Step: i.Step, What: fmt.Sprintf("CT %d, whose creation was begun", i.VMID),
				Remove: func(ctx context.Context, h engine.Host, report func(string, int64, int64)) error {
					return removeUnfinished(ctx, h, app, i)
				}})
		}
	}
	return out, nil
}

// removeUnfinished ends what an intent speaks of: it waits for its unit and
// removes what is no container yet. One that has become a container by then is
// found as such.
func removeUnfinished(ctx context.Context, h engine.Host, app string, i record.Intent) error {
	if err := unit.Await(ctx, h, i.Unit); err != nil {
		return err
	}
	conf, err := readConfig(ctx, h, i.VMID)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case unfinished(conf):
		if err := clearRemains(ctx, h, app, i.VMID); err != nil {
			return err
		}
	default:
		if id, mine, _ := identify(conf, i.VMID); mine && id.App == app {
			if err := removeContainer(ctx, h, app, i.VMID, true, func(string, int64, int64) {}); err != nil {
				return err
			}
		}
	}
	return act.Do(ctx, h, "rm", "-f", record.IntentPath(app, i.Step))
}

// address returns where a container is reached, as far as its config or the names
// of its app tell.
func address(g *Guest, names []byte) string {
	if fixed := g.addresses(); len(fixed) > 0 {
		return fixed[0].String()
	}
	return addressesIn(names)[g.ID.Name]
}

func state(g *Guest) string {
	if g.Running {
		return "running"
	}
	return "stopped"
}

func protected(g *Guest) string {
	if normal("protection", g.Config.Get("protection")) == "1" {
		return "its protection is on"
	}
	return ""
}

func protectedHint(g *Guest) string {
	if protected(g) == "" {
		return ""
	}
	return fmt.Sprintf("to lift it, on the node:\n    pct set %d --protection 0", g.VMID)
}

// removeContainer stops and destroys a container, after a last look whether it
// is still the app's and holds no volume but its root. One that is gone is fine. Its
// log goes with it if it has no successor that goes on with it.
func removeContainer(ctx context.Context, h engine.Host, app string, vmid int, last bool, report func(string, int64, int64)) error {
	conf, err := readConfig(ctx, h, vmid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	id, mine, err := identify(conf, vmid)
	if err != nil || !mine || id.App != app {
		return errors.Join(fmt.Errorf("CT %d is no container of %s any more", vmid, app), err)
	}
	if err := refuseVolumes(conf, vmid); err != nil {
		return err
	}
	report(fmt.Sprintf("shutting CT %d down", vmid), 0, 0)
	// Marks go first: after a cut, what is left must be found as a container, not
	// as a mark without one.
	err = act.Do(ctx, h, "rm", "-f", record.RunFile(app, markName(id.Name)), record.IntentPath(app, engine.StepID("pct_create/"+id.Name)))
	if err != nil {
		return err
	}
	if err := shutdown(ctx, h, vmid, conf); err != nil {
		return err
	}
	// A stop applies what was pending, which may be one more volume.
	conf, err = readConfig(ctx, h, vmid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := refuseVolumes(conf, vmid); err != nil {
		return err
	}
	if last { // now: after a cut the container leads here once more
		if err := removeLog(ctx, h, app, id.Name); err != nil {
			return err
		}
	}
	report(fmt.Sprintf("destroying CT %d", vmid), 0, 0)
	return destroy(ctx, h, app, vmid)
}

// destroy runs pct destroy as a unit: cut in the middle, it would leave a config
// that is locked for good.
func destroy(ctx context.Context, h engine.Host, app string, vmid int) error {
	id := strconv.Itoa(vmid)
	task := unit.Task{App: app, Name: "destroy." + id, Argv: []string{"pct", "destroy", id, "--purge", "1"}}
	err := Unmounted(ctx, h, vmid, func() error { return pve.Explain(unit.Run(ctx, h, task)) })
	var locked *pve.LockedError
	if errors.As(err, &locked) && locked.Lock == "destroyed" {
		// The node went down in the middle of an earlier one.
		if err := act.Do(ctx, h, "pct", "unlock", id); err != nil {
			return err
		}
		err = pve.Explain(unit.Run(ctx, h, task))
	}
	switch {
	case errors.Is(err, pve.ErrNoSuchCT):
		return nil
	case errors.Is(err, pve.ErrProtected):
		return engine.WithHint(err, fmt.Sprintf("to allow it:\n    pct set %d --protection 0", vmid))
	}
	return err
}

// refuseVolumes keeps pct destroy from deleting data: it deletes every volume
// that the config names and the container owns, not the root alone.
func refuseVolumes(conf *pve.Config, vmid int) error {
	sections := []map[string]string{conf.Options, conf.Pending}
	for _, s := range conf.Snapshots {
		sections = append(sections, s.Options)
	}
	for _, options := range sections {
		for _, key := range slices.Sorted(maps.Keys(options)) {
			if family, n := pve.Family(key); n < 0 || family != "mp[n]" && family != "unused[n]" {
				continue
			}
			m, err := pve.ParseMount(options[key])
			if err != nil {
				return fmt.Errorf("CT %d: %s: %w", vmid, key, err)
			}
			if m.Kind() == pve.VolumeMount {
				return engine.WithHint(fmt.Errorf("CT %d owns volume %s (%s), which tengil did not make and pct destroy would delete", vmid, m.Volume, key),
					"move it to another container (pct move-volume) or remove it yourself")
			}
		}
	}
	return nil
}
