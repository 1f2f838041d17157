package lab

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// unrecorded does what happened between two steps, and what the
// lab needs told where a step was disturbed by another one.
func (n *replayNode) unrecorded(t *testing.T, scenario string, before int) {
	t.Helper()
	quietly := func(argv ...string) {
		if exit := n.exec(t.Context(), argv, rootEnv(), rootHome, eofReader{}, io.Discard, io.Discard); exit != 0 {
			t.Fatalf("%q before step %d of %s: exit %d", argv, before, scenario, exit)
		}
	}
	disturb := func(id string, do Effect) {
		n.faults.add(Fault{Prefix: []string{"pct", "create", id}, When: During, Do: do})
	}
	destroyAllBut := func(keep ...int) {
		for _, id := range n.guestIDs() {
			if !slices.Contains(keep, id) {
				quietly("pct", "destroy", fmt.Sprint(id), "--force", "1")
			}
		}
	}
	switch fmt.Sprint(scenario, " ", before) {
	case "13-odd-images 116":
		destroyAllBut()
	case "13-odd-images 178":
		destroyAllBut(402)
	case "12-locks-interruption 18":
		if n.guest(101).Running {
			quietly("pct", "stop", "101")
		}
	case "12-locks-interruption 29":
		quietly("pct", "set", "120", "--memory", "600")
	case "12-locks-interruption 35":
		disturb("121", Kill)
	case "12-locks-interruption 43":
		disturb("122", Kill)
	case "12-locks-interruption 61":
		disturb("123", Cut)
	case "12-locks-interruption 67":
		disturb("124", Cut)
	case "12-locks-interruption 72":
		disturb("130", Cut)
	case "12-locks-interruption 79":
		quietly("pct", "create", "131", "local:vztmpl/redis_latest.tar", "--rootfs", "local-zfs:2", "--unprivileged", "1")
	case "12-locks-interruption 91":
		quietly("pct", "create", "133", "local:vztmpl/redis_latest.tar", "--rootfs", "local-zfs:2", "--unprivileged", "1")
	}
	if scenario == "07-entrypoint" && slices.Contains([]int{42, 46, 50, 54, 58, 62}, before) && n.guest(110).Running {
		quietly("pct", "stop", "110")
	}
}

// helper runs those shell commands of the transcripts that only set or show
// something, and that the node's shell does not have the programs for.
func (n *replayNode) helper(t *testing.T, argv []string, out io.Writer) (exit int, ours bool) {
	t.Helper()
	if env, ok := strings.CutPrefix(argv[min(1, len(argv)-1)], "NEWENV="); ok && argv[0] == "env" {
		n.replaceEnv(t, n.guestDir()+"/"+argv[len(argv)-1]+".conf", env)
		return 0, true
	}
	tree := regexp.MustCompile(`^cd (\S+) && find \. -path '\./bin' -prune -o -printf '%P %y %U:%G %m %l\\n' \| sort$`)
	if m := tree.FindStringSubmatch(argv[len(argv)-1]); m != nil {
		fmt.Fprint(out, n.listTree(m[1]))
		return 0, true
	}
	return 0, false
}

// replaceEnv puts lines in the place of the environment in the main section, at
// its end.
func (n *replayNode) replaceEnv(t *testing.T, file, lines string) {
	t.Helper()
	data, err := n.readFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^lxc\.environment\.runtime:.*\n`).ReplaceAllString(string(data), "")
	if err := n.writeFile(file, []byte(text+lines), 0o640); err != nil {
		t.Fatal(err)
	}
}

// listTree lists a directory of the node with owners and modes.
func (n *replayNode) listTree(dir string) string {
	var lines []string
	top := n.host(dir)
	err := filepath.WalkDir(top, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, file)
		if err != nil {
			return err
		}
		if rel == "bin" {
			return fs.SkipDir
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		kind, link := "f", ""
		switch {
		case e.IsDir():
			kind = "d"
		case e.Type()&fs.ModeSymlink != 0:
			kind = "l"
			if link, err = os.Readlink(file); err != nil {
				return err
			}
		}
		o := n.owner(strings.TrimSuffix(dir+"/"+rel, "/."), fi)
		lines = append(lines, fmt.Sprintf("%s %s %d:%d %o %s\n", strings.TrimPrefix(rel, "."), kind, o.UID, o.GID, o.Mode, link))
		return nil
	})
	if err != nil {
		return err.Error()
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
