package zfs

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// order puts datasets after containers in a removal, before files, marks and
// secrets. Deeper ones go first; ZFS allows 50 levels (zfs_max_dataset_nesting).
const order = 60

func orderOf(name string) int { return order - min(strings.Count(name, "/"), 50) }

// find tells the datasets of all apps by their marks, and those that were made
// on the way to them.
func find(a *engine.Answers) ([]engine.Found, error) {
	found, err := findDirectories(a)
	if err != nil {
		return nil, err
	}
	all, err := List(a)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		switch props := all[name]; {
		case ours(name, props):
			found = append(found, foundDataset(name, props))
		case props[appProp] != "" && props[stepProp] == parentMark+name:
			found = append(found, foundParent(name, all))
		}
	}
	return found, nil
}

// liftHint comes before the command that lifts the protection of something; a run
// of the recipe that asks for it sets it again.
const liftHint = "to lift it, on the node (in a recipe of your own, take protect = True out and run it):"

func foundDataset(name string, props map[string]string) engine.Found {
	f := engine.Found{
		App: props[appProp], Step: engine.StepID(KindName + "/" + name), Data: true, Order: orderOf(name),
		What: "dataset " + name, Now: usage(props), Loses: "what it holds",
		Remove: func(ctx context.Context, h engine.Host, report func(string, int64, int64)) error {
			report("destroy dataset "+name, 0, 0)
			return destroy(ctx, h, name, props["mountpoint"])
		},
	}
	if props[protectProp] == "on" {
		f.Refused = "it is protected"
		f.Hint = liftHint + "\n    zfs set " + protectProp + "=off " + name
	}
	return f
}

// destroy destroys a dataset, but none below it and no snapshot, and removes the
// empty directory at its mountpoint, which ZFS leaves where the mountpoint was set
// by hand (libzfs, remove_mountpoint). One that is gone is fine.
func destroy(ctx context.Context, h engine.Host, name, mountpoint string) error {
	err := act.Do(ctx, h, "zfs", "destroy", name)
	if err != nil && !errors.Is(err, pve.ErrNotFound) {
		return err
	}
	if !strings.HasPrefix(mountpoint, "/") {
		return nil
	}
	err = act.Do(ctx, h, "rmdir", mountpoint)
	var exit *engine.ExitError
	if errors.As(err, &exit) {
		return nil // gone already, or somebody keeps files there
	}
	return err
}

// foundParent tells of a dataset that was made on the way. It belongs to the step
// of a dataset below it, so that it counts as wanted as long as that does.
func foundParent(name string, all map[string]map[string]string) engine.Found {
	app, step := all[name][appProp], engine.StepID(KindName+"/"+name)
	for _, below := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(below, name+"/") && ours(below, all[below]) && all[below][appProp] == app {
			step = engine.StepID(KindName + "/" + below)
			break
		}
	}
	return engine.Found{
		App: app, Step: step, Data: true, Order: orderOf(name),
		What: "dataset " + name, Now: "made on the way; stays if anything else is in it",
		Remove: func(ctx context.Context, h engine.Host, report func(string, int64, int64)) error {
			report("destroy dataset "+name+" if it is empty", 0, 0)
			return removeParent(ctx, h, app, name)
		},
	}
}

// removeParent destroys a dataset that was made on the way if nothing is in it.
// Otherwise somebody else uses it: it stays, and is no longer the app's.
func removeParent(ctx context.Context, h engine.Host, app, name string) error {
	cols := []string{"name", "mountpoint", "mounted", appProp, stepProp}
	out, err := act.Look(ctx, h, "zfs", "list", "-Hp", "-r", "-t", "all", "-o", strings.Join(cols, ","), name)
	if errors.Is(err, pve.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	tree, err := pve.ParseZFSList(out, cols)
	if err != nil {
		return err
	}
	props := tree[name]
	if props[appProp] != app || props[stepProp] != parentMark+name {
		return nil // not the app's any more
	}
	empty := len(tree) == 1 && props["mounted"] == "yes"
	if empty {
		// A directory that ZFS mounted a dataset on may be left; it holds nothing.
		files, err := act.Look(ctx, h, "find", props["mountpoint"], "-mindepth", "1", "-not", "-type", "d")
		if err != nil {
			return err
		}
		empty = len(files) == 0
	}
	if empty {
		return destroy(ctx, h, name, props["mountpoint"])
	}
	for _, p := range []string{stepProp, appProp, formatProp} {
		if err := act.Do(ctx, h, "zfs", "inherit", p, name); err != nil {
			return err
		}
	}
	return nil
}
