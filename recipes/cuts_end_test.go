package recipes_test

import (
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/tengil/tengil/engine"
)

// temporary are names under which files are written before they are renamed.
var temporary = regexp.MustCompile(`/\.[^/]+\.tg-[0-9A-Za-z]{6}$`)

// volatile is what may differ between two nodes that are in the same state.
var volatile = regexp.MustCompile(`subvol-\d+-disk-\d+|"vmid\\"%3A\d+|vmid"%3A\d+|/lxc/\d+|CT \d+|\b10\.10\.10\.\d+\b|BC:24:11:[0-9A-F:]{8}|[0-9a-zA-Z]{32}$|tengil-\S+\.service|"seal_key": "[^"]+"`)

var hostnameLine = regexp.MustCompile(`(?m)^hostname: (.*)$`)

// end describes how the node ended up, without what may differ: configs by host
// name, what runs, datasets, files, and whatever should not be there.
func (r *rig) end() map[string]string {
	r.t.Helper()
	end := map[string]string{}
	for name, text := range r.files("etc/pve", "run", "var/lib/tengil", "var/lib/vz", "var/tmp", "tank") {
		switch {
		case strings.HasSuffix(name, ".conf") && strings.Contains(name, "/lxc/") && !temporary.MatchString(name):
			name = "config of " + strings.TrimPrefix(hostnameLine.FindString(text), "hostname: ")
			if _, twice := end[name]; twice {
				name += " (a second one)"
			}
		case strings.HasPrefix(name, "/run/lock/"), strings.HasPrefix(name, "/run/tengil/.lock/"):
			if !r.free(name) {
				end["locked: "+name] = ""
			}
			continue
		case strings.HasPrefix(name, "/run/tengil/") && !strings.Contains(name, "/ready."):
			continue // outputs of units are for the node's uptime
		case strings.HasPrefix(name, "/run/tg."):
			continue // answers to a batch, of a shell that could not clean up as it was killed
		case strings.HasSuffix(name, ".tar"), strings.Contains(name, "/images/"), strings.Contains(name, "/secret."), strings.Contains(name, "/ready."), strings.HasSuffix(name, "/console.log"):
			text = "" // that it is there counts
		}
		var lines []string
		for line := range strings.Lines(text) {
			lines = append(lines, volatile.ReplaceAllString(strings.TrimRight(line, "\n"), "…"))
		}
		end[volatile.ReplaceAllString(name, "…")] = strings.Join(lines, "\n")
	}
	for line := range strings.Lines(r.out("zfs", "list", "-H", "-o", "name,mounted,tengil:app,tengil:step")) {
		end["dataset "+volatile.ReplaceAllString(strings.TrimSpace(line), "…")] += "one "
	}
	for line := range strings.Lines(r.out("pct", "list")) {
		if f := strings.Fields(line); len(f) > 1 {
			end["container "+strings.Join(f[1:], " ")] += "one "
		}
	}
	for line := range strings.Lines(r.out("systemctl", "list-units", "--all", "--plain", "--no-legend", "--full", "tengil-*")) {
		end["unit "+line] = ""
	}
	roots, _ := os.ReadDir(filepath.Join(r.lab.Root(), "var/lib/lxc")) // none is none
	for _, root := range roots {
		if r.lab.Exec(r.t.Context(), []string{"mountpoint", "-q", "/var/lib/lxc/" + root.Name() + "/rootfs"}, nil, nil, nil) == 0 {
			end["mounted roots"] += "one "
		}
	}
	return end
}

// out runs a program on the node that must succeed.
func (r *rig) out(argv ...string) string {
	r.t.Helper()
	var out strings.Builder
	if code := r.lab.Exec(r.t.Context(), argv, nil, &out, io.Discard); code != 0 {
		r.t.Fatalf("%s: exit status %d", strings.Join(argv, " "), code)
	}
	return out.String()
}

// free reports whether nobody holds the lock of a file.
func (r *rig) free(file string) bool {
	return r.lab.Exec(r.t.Context(), []string{"flock", "-n", file, "true"}, nil, nil, nil) == 0
}

// later lets an hour pass for files that were left half written by a shell that was
// killed (in the lab every shell is, that loses its connection), and writes a file
// beside each: what is still there then, stays.
func (r *rig) later() {
	r.t.Helper()
	ago := time.Now().Add(-time.Hour)
	dirs := map[string]bool{}
	for name := range r.files("etc/pve", "run", "var/lib/tengil") {
		if temporary.MatchString(name) {
			dirs[path.Dir(name)] = true
			if err := os.Chtimes(filepath.Join(r.lab.Root(), name), ago, ago); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	for dir := range dirs {
		name := path.Join(dir, "other")
		if err := r.host.WriteFile(r.t.Context(), engine.File{Name: name}); err != nil {
			r.t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(r.lab.Root(), name)); err != nil {
			r.t.Fatal(err)
		}
	}
}
