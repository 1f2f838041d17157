package zfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
	"github.com/tengil/tengil/engine/unit"
)

func findDirectoryAsks() []engine.Ask { return []engine.Ask{pve.NodeNameAsk(), marksAsk()} }

// findDirectories tells the directories of all apps by their marks.
func findDirectories(a *engine.Answers) ([]engine.Found, error) {
	node, err := pve.NodeName(a)
	if errors.Is(err, engine.ErrNobody) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	marks, err := record.Directories(a, node)
	if err != nil {
		return nil, err
	}
	var found []engine.Found
	for _, m := range marks {
		f := engine.Found{
			App: m.App, Step: m.Step, Data: true, Order: order, What: "directory " + m.Path, Loses: "what it holds",
			Remove: func(ctx context.Context, h engine.Host, report func(string, int64, int64)) error {
				report("remove directory "+m.Path, 0, 0)
				return removeDirectory(ctx, h, m)
			},
		}
		if m.Protect {
			f.Refused = "it is protected"
			f.Hint = liftHint + "\n    sed -i 's/,\"protect\":true//' " + record.DirectoryPath(m.App, m.Node, m.Path)
		}
		found = append(found, f)
	}
	return found, nil
}

const guestGlob = "/etc/pve/lxc/*.conf"

// removeDirectory removes a directory with its content, after a last look: that
// the mark has not changed, that its disk is there, that nothing is mounted in it
// and that no container has it. The mark tells of the removal until it is done.
func removeDirectory(ctx context.Context, h engine.Host, m record.Directory) error {
	data := path.Dir(m.Path)
	asks := append(DataDirAsks(data), marksAsk(), dirAsk(m.Path), engine.AskFile(pve.MountsFile), engine.AskGlob(guestGlob))
	a, err := h.Batch(ctx, asks)
	if err != nil {
		return err
	}
	gone, err := mayRemove(a, m)
	if err != nil {
		return err
	}
	if !gone {
		m.Stage = record.DirRemoving
		if err := act.WriteFile(ctx, h, record.DirectoryFile(m)); err != nil {
			return err
		}
		// It may take long, and goes on when the connection breaks. Links are removed,
		// not followed.
		task := unit.Task{App: m.App, Name: "remove." + path.Base(m.Path), Argv: []string{"rm", "-r", "-f", "--one-file-system", m.Path}}
		if err := unit.Run(ctx, h, task); err != nil {
			return err
		}
	}
	return act.Do(ctx, h, "rm", "-f", record.DirectoryPath(m.App, m.Node, m.Path))
}

// mayRemove reports whether the directory is gone already, or why it must stay.
func mayRemove(a *engine.Answers, m record.Directory) (gone bool, err error) {
	marks, err := record.Directories(a, m.Node)
	if err != nil {
		return false, err
	}
	if !slices.Contains(marks, m) {
		return false, fmt.Errorf("what is noted of directory %s has changed meanwhile", m.Path)
	}
	data := path.Dir(m.Path)
	mount, err := CheckDataDir(a, data)
	if err != nil {
		return false, err
	}
	if mount != m.Mount {
		return false, notMounted(data, m.Mount, "directory "+m.Path+" was made on what is mounted there")
	}
	_, kind, err := parseTop(a, m.Path)
	if isExit(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if kind != "directory" {
		return false, fmt.Errorf("%q is a %s, not the directory that tengil made", m.Path, kind)
	}
	return false, errors.Join(mountedIn(a, m.Path), usedBy(a, m.Path))
}

// mountedIn refuses a directory in which something is mounted, or which is a
// mount point itself: what is mounted there is not the application's.
func mountedIn(a *engine.Answers, dir string) error {
	data, err := a.File(pve.MountsFile)
	if err != nil {
		return err
	}
	table, err := pve.ParseMountTable(data)
	if err != nil {
		return err
	}
	for _, m := range table {
		if within(m.At, dir) {
			return engine.WithHint(fmt.Errorf("something is mounted at %q, in directory %s", m.At, dir), "on the node:\n    umount "+m.At)
		}
	}
	return nil
}

// usedBy refuses a directory that a container of this node mounts.
func usedBy(a *engine.Answers, dir string) error {
	files, err := a.Glob(guestGlob)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		conf, err := pve.ParseConfig(files[name])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, i := range conf.Indexed("mp") {
			m, err := pve.ParseMount(conf.Get(fmt.Sprintf("mp%d", i)))
			if err == nil && m.Kind() == pve.BindMount && within(path.Clean(m.Volume), dir) {
				id := strings.TrimSuffix(path.Base(name), ".conf")
				return engine.WithHint(fmt.Errorf("CT %s mounts %s, in directory %s", id, m.Volume, dir), fmt.Sprintf("take the mount off first:\n    pct set %s --delete mp%d", id, i))
			}
		}
	}
	return nil
}
