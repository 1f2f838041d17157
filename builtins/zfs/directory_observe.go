package zfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// A dirState is what is there of a directory.
type dirState struct {
	nobody bool              // there was no node to ask
	mark   *record.Directory // this app's, nil for none
	other  *record.Directory // another app's
	exists bool
	topDir
	mount string // where the file system of the directory for data is mounted
}

func dirAsk(dir string) engine.Ask   { return engine.AskRun("stat", "-c", "%u %g %a %F", dir) }
func linkAsk(dir string) engine.Ask  { return engine.AskRun("readlink", "-f", dir) }
func mountAsk(dir string) engine.Ask { return engine.AskRun("stat", "-c", "%m", dir) }

func marksAsk() engine.Ask { return engine.AskGlob(record.DirectoryGlob()) }

// DataDirAsks are the questions whose answers CheckDataDir reads.
func DataDirAsks(data string) []engine.Ask {
	asks := []engine.Ask{dirAsk(data), linkAsk(data), mountAsk(data), engine.AskFile(pve.FstabFile), engine.AskFile(pve.StorageCfgFile)}
	for _, dir := range ancestors(data) {
		asks = append(asks, dirAsk(dir))
	}
	return asks
}

// ancestors are the directories on the way to one, the root first.
func ancestors(dir string) []string {
	var out []string
	for path.IsAbs(dir) && dir != "/" {
		dir = path.Dir(dir)
		out = append(out, dir)
	}
	slices.Reverse(out)
	return out
}

func (d directory) Asks(*engine.Answers) []engine.Ask {
	return append(DataDirAsks(d.data), marksAsk(), dirAsk(d.path))
}

// Observe fails where the directory for data is not as it has to be: nothing
// that a run could do would be right then.
func (d directory) Observe(a *engine.Answers) (engine.State, error) {
	st := &dirState{}
	if errors.Is(a.Get(dirAsk(d.data)).Err, engine.ErrNobody) {
		st.nobody = true
		return st, nil
	}
	marks, err := record.Directories(a, d.node)
	if err != nil {
		return nil, err
	}
	for _, m := range marks {
		switch {
		case m.Path != d.path:
		case m.App == d.app:
			st.mark = &m
		default:
			st.other = &m
		}
	}
	if st.mount, err = CheckDataDir(a, d.data); err != nil {
		return nil, err
	}
	if st.mark != nil && st.mark.Mount != st.mount && st.mark.Stage == record.DirMade {
		return nil, notMounted(d.data, st.mark.Mount, "directory "+d.path+" was made on what is mounted there")
	}
	top, kind, err := parseTop(a, d.path)
	if isExit(err) {
		return st, nil
	}
	if err != nil {
		return nil, err
	}
	if kind != "directory" {
		return nil, engine.WithHint(fmt.Errorf("%q is a %s; wanted a directory, or nothing", d.path, kind), "move it out of the way, or choose another dataset")
	}
	st.exists, st.topDir = true, top
	return st, nil
}

// parseTop reads the answer to dirAsk.
func parseTop(a *engine.Answers, dir string) (top topDir, kind string, err error) {
	ans := a.Get(dirAsk(dir))
	if ans.Err != nil {
		return top, "", ans.Err
	}
	st, err := pve.ParseFileStat(dirAsk(dir).Argv(), ans.Result.Stdout)
	return topDir{st.UID, st.GID, st.Mode}, st.Kind, err
}

// CheckDataDir checks that the directory for data is there, that nobody but root can
// change what is in it, and that what should be mounted is. It returns where its
// file system is mounted.
func CheckDataDir(a *engine.Answers, data string) (mount string, err error) {
	top, kind, err := parseTop(a, data)
	if isExit(err) {
		switch at, err := expectedMount(a, data); {
		case err != nil:
			return "", err
		case at != "":
			return "", notMounted(data, at, "the directory is missing")
		}
		return "", engine.WithHint(fmt.Errorf("the directory for data, %q, does not exist", data),
			"if it is on a disk, mount that first; then, on the node:\n    mkdir -p "+data)
	}
	if err != nil {
		return "", err
	}
	if err := checkWay(a, data); err != nil {
		return "", err
	}
	if kind != "directory" {
		return "", fmt.Errorf("%q, the directory for data, is a %s", data, kind)
	}
	if err := checkRoots(top, data, "the directory for data"); err != nil {
		return "", err
	}
	if mount, err = parsePath(a, mountAsk(data)); err != nil {
		return "", err
	}
	want, err := expectedMount(a, data)
	if want != "" && !within(mount, want) {
		return "", notMounted(data, want, pve.FstabFile+" or the storage configuration says that it is to be")
	}
	return mount, err
}

// checkWay checks that no link is on the way to the directory for data, nor a
// directory in which others than root could put something else in place of the next.
func checkWay(a *engine.Answers, data string) error {
	to, err := parsePath(a, linkAsk(data))
	if err != nil {
		return err
	}
	for _, dir := range append(ancestors(data), data) {
		top, kind, err := parseTop(a, dir)
		switch {
		case err != nil:
			return err
		case kind == "symbolic link":
			return engine.WithHint(fmt.Errorf("the directory for data, %q, leads over the symbolic link %q to %q; Proxmox mounts no such path", data, dir, to),
				fmt.Sprintf(`say "data": %q in the config file`, to))
		case dir != data:
			err = checkRoots(top, dir, fmt.Sprintf("on the way to the directory for data, %q", data))
		}
		if err != nil {
			return err
		}
	}
	if to != data { // it has changed between the questions
		return fmt.Errorf("the directory for data, %q, leads to %q", data, to)
	}
	return nil
}

// checkRoots checks that nobody but root can change what is in a directory. A sticky
// one, where others can add but not replace, is refused as well: such are not for data.
func checkRoots(top topDir, dir, what string) error {
	mode, err := strconv.ParseUint(top.mode, 8, 32)
	if err == nil && mode&0o022 == 0 && top.uid == "0" {
		return nil
	}
	return engine.WithHint(fmt.Errorf("others than root can write in %q, %s: its owner is %s, its mode %s; wanted owner 0, and write permission for nobody else", dir, what, top.uid, top.mode),
		"on the node:\n    chown root:root "+dir+"\n    chmod go-w "+dir+"\nor, if others have to write there, choose another directory for data")
}

// parsePath reads an answer that is a path.
func parsePath(a *engine.Answers, q engine.Ask) (string, error) {
	ans := a.Get(q)
	if ans.Err != nil {
		return "", ans.Err
	}
	return pve.ParsePath(q.Argv(), ans.Result.Stdout)
}

func notMounted(data, at, why string) error {
	return engine.WithHint(fmt.Errorf("nothing is mounted at %q, where the directory for data, %q, lies: %s", at, data, why),
		"on the node:\n    mount "+at)
}

// expectedMount returns the innermost place on the way to a directory at which
// the node's owner wants something mounted, "" for none but the root.
func expectedMount(a *engine.Answers, dir string) (string, error) {
	var places []string
	for _, f := range []struct {
		name   string
		mounts func([]byte) []string
	}{{pve.FstabFile, pve.FstabMounts}, {pve.StorageCfgFile, pve.StorageMounts}} {
		data, err := a.File(f.name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		places = append(places, f.mounts(data)...)
	}
	best := ""
	for _, at := range places {
		if at = path.Clean(at); at != "/" && path.IsAbs(at) && within(dir, at) && len(at) > len(best) {
			best = at
		}
	}
	return best, nil
}

// within reports whether name is dir or below it.
func within(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}

func isExit(err error) bool {
	var exit *engine.ExitError
	return errors.As(err, &exit) || errors.Is(err, fs.ErrNotExist)
}
