package zfs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/record"
)

func (d directory) Diff(now engine.State, _ engine.Inputs) (engine.Diff, error) {
	st := now.(*dirState)
	diff := engine.Diff{Outputs: d.outputs()}
	if c, refused := d.refused(st); refused {
		diff.Changes = []engine.Change{c}
		return diff, nil
	}
	if why := d.missing(st); why != "" {
		diff.Changes = []engine.Change{{Action: engine.Create, To: strings.Join(d.ownership.summary(), " "), Why: why}}
		diff.Notes = d.notes()
		return diff, nil
	}
	if st.mark == nil {
		diff.Changes = append(diff.Changes, engine.Change{Action: engine.Update, Field: "owner app", From: "none", To: d.app, Why: "the recipe adopts it"})
		diff.Notes = d.notes()
	}
	diff.Changes = append(diff.Changes, d.ownership.changes(st.topDir)...)
	if st.mark != nil && st.mark.Protect != d.protect {
		diff.Changes = append(diff.Changes, engine.Change{Action: engine.Update, Field: "protect",
			From: onOff(st.mark.Protect), To: onOff(d.protect), Why: "the recipe sets it"})
	}
	return diff, nil
}

func (d directory) outputs() engine.Outputs {
	return engine.Outputs{"name": engine.Known(d.name), "mountpoint": engine.Known(d.path)}
}

// missing says why the directory has to be made, "" if it is there.
func (d directory) missing(st *dirState) string {
	switch {
	case !st.exists && st.mark != nil && st.mark.Stage == record.DirMade:
		return "somebody has removed " + d.path
	case !st.exists:
		return "there is no directory " + d.path
	case st.mark != nil && st.mark.Stage == record.DirMaking:
		return "an earlier run was cut while it made " + d.path
	}
	return ""
}

// refused returns how a directory that is not this step's is refused.
func (d directory) refused(st *dirState) (engine.Change, bool) {
	switch {
	case st.other != nil && (st.exists || st.other.Stage != record.DirMaking):
		return engine.Change{
			Action: engine.AdoptRefused, From: "directory of app " + st.other.App,
			Why:  fmt.Sprintf("directory %s belongs to the app %q", d.path, st.other.App),
			Hint: fmt.Sprintf("to use its files from here too, mount it: host_dir(%q); or choose another dataset", d.path),
		}, true
	case st.mark != nil && st.mark.Stage == record.DirRemoving:
		return engine.Change{
			Action: engine.AdoptRefused, From: "directory " + d.path,
			Why:  fmt.Sprintf("the removal of directory %s was begun and not finished: a part of its content may be gone", d.path),
			Hint: "to finish it:\n    tg destroy " + d.app + " --data",
		}, true
	case st.exists && st.mark == nil && !d.adopt:
		return engine.Change{
			Action: engine.AdoptRefused, From: "directory " + d.path,
			Why:  fmt.Sprintf("directory %s exists and tengil did not make it", d.path),
			Hint: "to use it as it is, say adopt = True in the recipe; its content stays",
		}, true
	}
	return engine.Change{}, false
}

// Apply makes the directory, or sets what differs. The mark comes before the
// directory and says so, so that one which a cut run left can be told from
// somebody's.
func (d directory) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	st := w.Now.(*dirState)
	for _, c := range w.Todo {
		if c.Action == engine.AdoptRefused { // somebody made it after the plan
			return nil, engine.WithHint(errors.New(c.Why), c.Hint)
		}
	}
	have := st.topDir
	if d.missing(st) != "" {
		if err := d.make(ctx, w.Host, st); err != nil {
			return nil, err
		}
		have = topDir{}
	}
	if err := d.own(ctx, w.Host, d.path, have); err != nil {
		return nil, err
	}
	if want := d.mark(st.mount, record.DirMade); st.mark == nil || d.missing(st) != "" || st.mark.Protect != want.Protect {
		if err := act.WriteFile(ctx, w.Host, record.DirectoryFile(want)); err != nil {
			return nil, err
		}
	}
	return d.outputs(), nil
}

// make makes the directory under a mark that says so.
func (d directory) make(ctx context.Context, h engine.Host, st *dirState) error {
	mark := record.DirectoryFile(d.mark(st.mount, record.DirMaking))
	if err := act.WriteFile(ctx, h, mark); err != nil {
		return err
	}
	err := act.Do(ctx, h, "mkdir", "-m", "0755", d.path)
	var exit *engine.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(exit.Stderr), "File exists") {
		return err
	}
	if st.mark == nil {
		// Somebody was faster. Looking again tells who.
		return errors.Join(engine.Transient(err), act.Do(ctx, h, "rm", "-f", mark.Name))
	}
	// A try of this step whose end was not seen has made it, and nothing is in it yet.
	files, err := act.Look(ctx, h, "ls", "-A", d.path)
	if err != nil {
		return err
	}
	if len(files) > 0 {
		return engine.WithHint(fmt.Errorf("directory %s holds files although tengil has not finished making it", d.path),
			"if it is somebody else's, choose another dataset; if its content is to be used, remove the mark and say adopt = True:\n    rm "+mark.Name)
	}
	return nil
}
