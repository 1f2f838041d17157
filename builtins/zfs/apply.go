package zfs

import (
	"context"
	"errors"
	"fmt"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// Apply makes the dataset, or sets what differs. A dataset that is made carries
// its marks from the same command on; its owner is set afterwards, and found to
// differ by the next run if that did not happen.
func (d dataset) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	st := w.Now.(*state)
	for _, c := range w.Todo {
		if c.Action == engine.AdoptRefused { // somebody made it after the plan
			return nil, engine.WithHint(errors.New(c.Why), c.Hint)
		}
	}
	if !st.exists {
		return d.create(ctx, w, st)
	}
	outs := engine.Outputs{"name": engine.Known(d.name), "mountpoint": engine.Known(st.mountpoint)}
	if set := d.pairs(st); len(set) > 0 {
		argv := append([]string{"zfs", "set"}, set...)
		if err := act.Do(ctx, w.Host, append(argv, d.name)...); err != nil {
			return nil, err
		}
	}
	if st.props["mounted"] != "yes" {
		if err := act.Do(ctx, w.Host, "zfs", "mount", d.name); err != nil {
			return nil, err
		}
	}
	return outs, d.own(ctx, w.Host, st.mountpoint, st.topDir)
}

// pairs returns the property=value words to set on a dataset that exists.
func (d dataset) pairs(st *state) []string {
	var out []string
	for _, p := range d.props {
		if st.props[p.name] != canonical(p.name, p.value) {
			out = append(out, p.name+"="+p.value)
		}
	}
	if !ours(d.name, st.props) || st.props[protectProp] != onOff(d.protect) {
		out = append(out, d.marks()...)
	}
	return out
}

func (d dataset) marks() []string {
	return []string{appProp + "=" + d.app, stepProp + "=" + string(d.id), formatProp + "=" + format, protectProp + "=" + onOff(d.protect)}
}

func (d dataset) create(ctx context.Context, w engine.Work, st *state) (engine.Outputs, error) {
	for _, p := range st.missing {
		if err := d.createParent(ctx, w.Host, p); err != nil {
			return nil, err
		}
	}
	argv := []string{"zfs", "create"}
	for _, kv := range d.marks() {
		argv = append(argv, "-o", kv)
	}
	for _, p := range d.props {
		argv = append(argv, "-o", p.name+"="+p.value)
	}
	err := act.Do(ctx, w.Host, append(argv, d.name)...)
	if errors.Is(err, pve.ErrDataset) {
		// A step whose dataset lies below has made it on its way, or a try of this
		// step whose end was not seen. Looking again tells; a stranger's is refused.
		return nil, engine.Transient(err)
	}
	if err != nil {
		return nil, err
	}
	// The node has the last word on where it is mounted.
	out, err := act.Look(ctx, w.Host, "zfs", "list", "-Hp", "-o", "name,mountpoint,mounted", d.name)
	if err != nil {
		return nil, err
	}
	got, err := pve.ParseZFSList(out, []string{"name", "mountpoint", "mounted"})
	if err != nil {
		return nil, err
	}
	made := got[d.name]
	if made["mounted"] != "yes" {
		return nil, fmt.Errorf("%s was made but is not mounted (mountpoint %q)", d.name, made["mountpoint"])
	}
	fresh := &state{mountpoint: made["mountpoint"]}
	return engine.Outputs{"name": engine.Known(d.name), "mountpoint": engine.Known(fresh.mountpoint)}, d.own(ctx, w.Host, fresh.mountpoint, topDir{})
}

// createParent makes a dataset on the way, with a mark that says so. Another step
// may be making it at this moment; what is made below one that is not mounted yet
// would be hidden once it is.
func (d dataset) createParent(ctx context.Context, h engine.Host, p string) error {
	made := act.Do(ctx, h, "zfs", "create", "-o", appProp+"="+d.app, "-o", stepProp+"="+parentMark+p, "-o", formatProp+"="+format, p)
	if !errors.Is(made, pve.ErrDataset) {
		return made
	}
	out, err := act.Look(ctx, h, "zfs", "list", "-Hp", "-o", "name,mounted", p)
	if err != nil {
		return err
	}
	got, err := pve.ParseZFSList(out, []string{"name", "mounted"})
	if err == nil && got[p]["mounted"] != "yes" {
		return engine.Transient(made)
	}
	return err
}
