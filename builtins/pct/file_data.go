package pct

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/builtins/zfs"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// A dataFile is a file in a dataset. Containers may write there too, so a
// directory on the way could be a link that leads out of the dataset.
type dataFile struct {
	content
	dataset    string
	dir        string // that is the dataset, on a host without ZFS
	mountpoint engine.Text
	dest       string
}

// A dataState is what is there of a file.
type dataState struct {
	exists bool
	data   []byte
	owner  string // as ownerAsk prints it
}

func linkAsk(dir string) engine.Ask { return engine.AskRun("readlink", "-f", dir) }

// where returns the file's path if its dataset exists and is mounted, or is a
// directory.
func (f dataFile) where(a *engine.Answers) (string, bool, error) {
	if f.dir != "" {
		return path.Join(f.dir, f.dest), true, nil
	}
	all, err := zfs.List(a)
	if err != nil || all[f.dataset] == nil || all[f.dataset]["mounted"] != "yes" {
		return "", false, err
	}
	return path.Join(all[f.dataset]["mountpoint"], f.dest), true, nil
}

func (f dataFile) Asks(known *engine.Answers) []engine.Ask {
	var asks []engine.Ask
	if f.dir == "" {
		asks = append(asks, zfs.ListAsk())
		if known == nil {
			return asks
		}
	}
	if name, ok, err := f.where(known); err == nil && ok {
		asks = append(asks, engine.AskFile(name), ownerAsk(name), linkAsk(name))
	}
	return asks
}

func (f dataFile) Observe(a *engine.Answers) (engine.State, error) {
	name, ok, err := f.where(a)
	if err != nil || !ok {
		return &dataState{}, err
	}
	link := a.Get(linkAsk(name))
	var exit *engine.ExitError
	if link.Err != nil && !errors.As(link.Err, &exit) {
		return nil, link.Err
	}
	if exit == nil {
		to, err := pve.ParsePath(linkAsk(name).Argv(), link.Result.Stdout)
		if err != nil {
			return nil, err
		}
		if to != name {
			return &dataState{}, nil // a link: what it leads to is not the file; Apply looks again
		}
	}
	st := &dataState{}
	switch st.data, err = a.File(name); {
	case errors.Is(err, fs.ErrNotExist):
		return st, nil
	case err != nil:
		return nil, err
	}
	owner := a.Get(ownerAsk(name))
	if owner.Err != nil {
		return nil, owner.Err
	}
	st.exists = true
	st.owner, err = parseOwner(name, owner.Result.Stdout)
	return st, err
}

func (f dataFile) Diff(now engine.State, in engine.Inputs) (engine.Diff, error) {
	st := now.(*dataState)
	v := f.text.Fill(in)
	to := v.When()
	if v.IsKnown() {
		to = brief([]byte(v.Reveal()))
	}
	var d engine.Diff
	if !st.exists {
		d.Changes = []engine.Change{{Action: engine.Create, To: to, Why: "the file is not in the dataset"}}
		return d, nil
	}
	if !v.IsKnown() || v.Reveal() != string(st.data) {
		d.Changes = append(d.Changes, engine.Change{Action: engine.Update, Field: "content", From: brief(st.data), To: to,
			Why: "the recipe has another content", Loses: "what was changed in the file since"})
	}
	if st.owner != f.owner() {
		d.Changes = append(d.Changes, engine.Change{Action: engine.Update, Field: "owner", From: st.owner, To: f.owner(),
			Why: "the recipe has another owner or mode"})
	}
	return d, nil
}

// Apply writes the file and makes directories on the way to it. It refuses to go
// through a link; the file itself is replaced, so that a link in its place is
// not followed. What is left is a race: a container that swaps a directory for a
// link between the look and the write can send the file, not its owner's rights,
// to where the link leads on the node.
func (f dataFile) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	mp, v := f.mountpoint.Fill(w.In), f.text.Fill(w.In)
	if !mp.IsKnown() || !v.IsKnown() {
		return nil, fmt.Errorf("mountpoint is %s, content is %s", mp, v)
	}
	if err := f.makeDirs(ctx, w.Host, mp.Reveal()); err != nil {
		return nil, err
	}
	return engine.Outputs{}, f.write(ctx, w.Host, path.Join(mp.Reveal(), f.dest), []byte(v.Reveal()))
}

// makeDirs walks from the top of the dataset down, so that nothing is made
// behind a link. What it makes belongs to the file's owner.
func (f dataFile) makeDirs(ctx context.Context, h engine.Host, top string) error {
	dir := top
	for part := range strings.SplitSeq(strings.Trim(path.Dir(f.dest), "/"), "/") {
		dir = path.Join(dir, part)
		made, err := makeDir(ctx, h, dir)
		if err != nil {
			return err
		}
		if made {
			if err := act.Do(ctx, h, "chown", "-h", fmt.Sprintf("%d:%d", f.uid, f.gid), dir); err != nil {
				return err
			}
		}
	}
	return nil
}

func makeDir(ctx context.Context, h engine.Host, dir string) (made bool, err error) {
	out, err := act.Look(ctx, h, "readlink", "-f", dir)
	if err != nil {
		return false, err
	}
	to, err := pve.ParsePath(linkAsk(dir).Argv(), out)
	if err != nil {
		return false, err
	}
	if to != dir {
		return false, fmt.Errorf("%q leads over a symbolic link to %q; wanted a directory of the dataset", dir, to)
	}
	_, err = act.Look(ctx, h, "stat", "-c", "%F", dir)
	var exit *engine.ExitError
	if !errors.As(err, &exit) {
		return false, err
	}
	return true, act.Do(ctx, h, "mkdir", "-p", dir)
}
