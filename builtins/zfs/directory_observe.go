package zfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// fstabFile lists what is to be mounted (fstab(5)).
const fstabFile = "/etc/fstab"

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
	return []engine.Ask{dirAsk(data), linkAsk(data), mountAsk(data), engine.AskFile(fstabFile), engine.AskFile(pve.StorageCfgFile)}
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
	stat := a.Get(dirAsk(d.path))
	if isExit(stat.Err) {
		return st, nil
	}
	top, kind, err := parseTop(stat)
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
func parseTop(ans engine.Answer) (top topDir, kind string, err error) {
	if ans.Err != nil {
		return top, "", ans.Err
	}
	f := strings.SplitN(strings.TrimSuffix(string(ans.Result.Stdout), "\n"), " ", 4)
	if len(f) != 4 {
		return top, "", fmt.Errorf("stat printed %q; wanted owner, group, mode and kind", ans.Result.Stdout)
	}
	return topDir{f[0], f[1], f[2]}, f[3], nil
}

// CheckDataDir checks that the directory for data is there, that nobody but root can
// change what is in it, and that what should be mounted is. It returns where its
// file system is mounted.
func CheckDataDir(a *engine.Answers, data string) (mount string, err error) {
	stat := a.Get(dirAsk(data))
	if isExit(stat.Err) {
		if at := expectedMount(a, data); at != "" {
			return "", notMounted(data, at, "the directory is missing")
		}
		return "", engine.WithHint(fmt.Errorf("the directory for data, %q, does not exist", data),
			"if it is on a disk, mount that first; then, on the node:\n    mkdir -p "+data)
	}
	top, kind, err := parseTop(stat)
	if err != nil {
		return "", err
	}
	link := a.Get(linkAsk(data))
	if link.Err != nil {
		return "", link.Err
	}
	if to := strings.TrimSuffix(string(link.Result.Stdout), "\n"); to != data {
		return "", engine.WithHint(fmt.Errorf("the directory for data, %q, leads over a symbolic link to %q; Proxmox mounts no such path", data, to),
			fmt.Sprintf(`say "data": %q in the config file`, to))
	}
	if kind != "directory" {
		return "", fmt.Errorf("%q, the directory for data, is a %s", data, kind)
	}
	if mode, err := strconv.ParseUint(top.mode, 8, 32); err != nil || mode&0o022 != 0 || top.uid != "0" {
		return "", engine.WithHint(fmt.Errorf("others than root can write in %q, the directory for data (owner %s, mode %s)", data, top.uid, top.mode),
			"on the node:\n    chown root:root "+data+"\n    chmod 755 "+data)
	}
	at := a.Get(mountAsk(data))
	if at.Err != nil {
		return "", at.Err
	}
	mount = strings.TrimSuffix(string(at.Result.Stdout), "\n")
	if want := expectedMount(a, data); want != "" && !within(mount, want) {
		return "", notMounted(data, want, fstabFile+" or the storage configuration says that it is to be")
	}
	return mount, nil
}

func notMounted(data, at, why string) error {
	return engine.WithHint(fmt.Errorf("nothing is mounted at %q, where the directory for data, %q, lies: %s", at, data, why),
		"on the node:\n    mount "+at)
}

// expectedMount returns the innermost place on the way to a directory at which
// the node's owner wants something mounted, "" for none but the root.
func expectedMount(a *engine.Answers, dir string) string {
	var places []string
	fstab, _ := a.File(fstabFile) // without it nothing is expected
	for line := range strings.Lines(string(fstab)) {
		if f := strings.Fields(line); len(f) >= 2 && !strings.HasPrefix(f[0], "#") {
			places = append(places, unescapeOctal(f[1]))
		}
	}
	cfg, _ := a.File(pve.StorageCfgFile)
	places = append(places, pve.StorageMounts(cfg)...)
	best := ""
	for _, at := range places {
		if at = path.Clean(at); at != "/" && path.IsAbs(at) && within(dir, at) && len(at) > len(best) {
			best = at
		}
	}
	return best
}

// within reports whether name is dir or below it.
func within(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}

// unescapeOctal undoes how fstab and /proc/mounts write blanks: "\040".
func unescapeOctal(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func isExit(err error) bool {
	var exit *engine.ExitError
	return errors.As(err, &exit) || errors.Is(err, fs.ErrNotExist)
}
