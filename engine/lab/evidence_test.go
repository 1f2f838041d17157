package lab

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine/lab/labtest"
)

var updateDocs = flag.Bool("update", false, "write docs/lab.md's table of what pins the model")

// What the model of a command rests on where no transcript has it.
const (
	fromSource = "from source" // read in the upstream sources of the versions
	inferred   = "inferred"    // follows from the sources or from other commands; not seen
	public     = "public"      // a program of Debian, as its manual says and as it behaves anywhere
	ownProgram = "the lab's own"
)

// uncaptured says what the model of the commands rests on that no captured step
// runs. A command that is captured must not be here, any other must.
func uncaptured() map[string]string {
	out := map[string]string{
		"zfs umount": public, "zfs version": public,
		"pvesh get /version": inferred, "pvesh get /nodes": inferred, "pvesh get /nodes/N/status": inferred, "pvesh get /nodes/N/version": inferred,
		"systemctl is-active": public, "systemctl is-failed": public, "systemctl kill": public, "systemctl list-units": public,
		"systemctl reload-or-restart": public, "systemctl start": public, "apt-get": public, "exportfs": public, "testparm": public,
		"systemctl reset-failed": public, "systemctl stop": public, "systemctl daemon-reload": public,
		"pvesh create /nodes/N/lxc/ID/status/shutdown": fromSource, "pvesh create /nodes/N/lxc/ID/status/reboot": fromSource,
		"pvesh get /nodes/N/tasks/UPID/status": fromSource, "pvesh get /nodes/N/tasks/UPID/log": fromSource,
		HealthProgram: ownProgram, FaultProgram: ownProgram,
	}
	for name := range strings.FieldsSeq("[ base64 bash dash dd dpkg dpkg-query echo env false id mktemp mountpoint nohup nproc printf pveversion pwd " +
		"readlink realpath rmdir sha256sum stat sync tail tee test timedatectl timeout true umask umount wc") {
		out[name] = public
	}
	return out
}

// commandOf names a command as the table has it: the program, and the subcommand of
// those that have some.
func commandOf(argv []string) string {
	name := path.Base(argv[0])
	if len(argv) < 2 {
		return name
	}
	switch name {
	case "pct", "pvesm", "zfs", "zpool", "skopeo", "systemctl":
		return name + " " + argv[1]
	case "pvesh":
		if len(argv) > 2 {
			return "pvesh " + argv[1] + " " + apiPattern(argv[2])
		}
	}
	return name
}

// apiPattern puts placeholders in the place of what a path of the API names.
func apiPattern(api string) string {
	api = strings.TrimSuffix(api, "/")
	for _, v := range []volatile{
		{`^/nodes/[^/]+`, "/nodes/N"}, {`/lxc/\d+`, "/lxc/ID"}, {`/storage/[^/]+`, "/storage/S"}, {`/tasks/[^/]+`, "/tasks/UPID"},
		{`/content/.+`, "/content/VOLUME"},
	} {
		api = regexp.MustCompile(v.pattern).ReplaceAllString(api, v.instead)
	}
	return api
}

// perSubcommand are the programs of which the table tells each subcommand.
func perSubcommand() []string {
	return []string{"pct", "pvesh", "pvesm", "zfs", "zpool", "skopeo", "systemctl"}
}

// dispatched returns every command that the lab dispatches, with subcommands where
// the lab has a list of them.
func dispatched() []string {
	var out []string
	for name := range programs() {
		if !slices.Contains(perSubcommand(), name) {
			out = append(out, name)
		}
	}
	for name := range pctCommands() {
		out = append(out, "pct "+name)
	}
	for name := range pvesmCommands() {
		out = append(out, "pvesm "+name)
	}
	for name := range zfsCommands() {
		out = append(out, "zfs "+name)
	}
	slices.Sort(out)
	return out
}

// counts reports whether a run of a program in a captured step tells of the model
// of its command: one that the lab knows, and that did its work where the lab has
// no list of what it knows.
func counts(known []string, e Entry) bool {
	name := commandOf(e.Argv)
	program, _, sub := strings.Cut(name, " ")
	switch {
	case e.Argv[0] == ">" || slices.Contains(perSubcommand(), name):
		return false
	case !sub || program == "pct" || program == "pvesm" || program == "zfs":
		return slices.Contains(known, name)
	}
	return e.Exit == 0
}

// The table's place in the document.
const (
	pinsBegin = "<!-- begin: written by go test -run TestTranscripts ./engine/lab -update -->\n"
	pinsEnd   = "<!-- end -->\n"
	pinsDoc   = "../../docs/lab.md"
)

// checkEvidence checks that every command of the lab has its evidence, given which
// transcripts have steps that run a command and come out equal, and that the
// document says so.
func checkEvidence(t *testing.T, captured map[string]map[string]bool) {
	t.Helper()
	other := uncaptured()
	evidence := map[string]string{}
	for _, name := range slices.Concat(dispatched(), slices.Collect(maps.Keys(captured)), slices.Collect(maps.Keys(other))) {
		files, why := captured[name], other[name]
		switch {
		case len(files) > 0 && why != "":
			t.Errorf("%q is captured in %v: take it out of uncaptured", name, slices.Sorted(maps.Keys(files)))
		case len(files) > 0:
			evidence[name] = "captured: " + strings.Join(slices.Sorted(maps.Keys(files)), ", ")
		case why != "":
			evidence[name] = why
		default:
			t.Errorf("no captured step runs %q: say in uncaptured what its model rests on", name)
		}
	}
	checkDispatched(t, slices.Sorted(maps.Keys(other)))
	table := pinsBegin + "\n" + evidenceTable(evidence) + "\n" + pinsEnd
	data, err := os.ReadFile(pinsDoc)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(data), pinsBegin)
	_, after, found2 := strings.Cut(rest, pinsEnd)
	if !found || !found2 {
		t.Fatalf("%s lacks the marks of the table", pinsDoc)
	}
	want := before + table + after
	switch {
	case want == string(data):
	case *updateDocs:
		if err := os.WriteFile(pinsDoc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table in %s is out of date: go test -run TestTranscripts ./engine/lab -update", pinsDoc)
	}
}

// checkDispatched checks that the lab knows commands that uncaptured names.
func checkDispatched(t *testing.T, names []string) {
	t.Helper()
	n, err := newNode(labtest.TempDir(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	n.exec(t.Context(), []string{"apt-get", "install", "samba", "nfs-kernel-server"}, rootEnv(), rootHome, eofReader{}, io.Discard, io.Discard)
	unknown := regexp.MustCompile(`(?i)unknown command|unrecognized command|does not model|handler defined|command not found`)
	places := strings.NewReplacer("/N", "/"+n.name, "/ID", "/101", "/S/", "/local/", "/UPID", "/UPID:pve:00000001:00000001:00000001:vzcreate:101:root@pam:")
	for _, name := range names {
		argv := strings.Fields(name)
		if argv[0] == "pvesh" {
			argv[2] = places.Replace(argv[2])
		}
		var out strings.Builder
		n.exec(t.Context(), argv, rootEnv(), rootHome, eofReader{}, &out, &out)
		if unknown.MatchString(out.String()) {
			t.Errorf("uncaptured names %q, which the lab does not know: %s", name, out.String())
		}
	}
}

// evidenceTable prints the evidence of commands, each subcommand of the programs of
// Proxmox, ZFS and skopeo on its own, the others by evidence.
func evidenceTable(evidence map[string]string) string {
	var b strings.Builder
	b.WriteString("| command | rests on |\n| --- | --- |\n")
	rest := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(evidence)) {
		why := evidence[name]
		if program, _, _ := strings.Cut(name, " "); slices.Contains(perSubcommand(), program) {
			fmt.Fprintf(&b, "| `%s` | %s |\n", name, why)
			continue
		}
		if strings.HasPrefix(why, "captured") {
			why = "captured"
		}
		rest[why] = append(rest[why], "`"+name+"`")
	}
	for _, why := range slices.Sorted(maps.Keys(rest)) {
		fmt.Fprintf(&b, "| %s | %s |\n", strings.Join(rest[why], " "), why)
	}
	return b.String()
}
