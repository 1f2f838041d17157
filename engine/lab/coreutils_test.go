package lab_test

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine/lab"
)

func TestCoreutils(t *testing.T) {
	c := dial(t, openLab(t, lab.Options{}).Endpoint())
	for _, tc := range []struct {
		name, command string
		want          said
	}{
		{"cat of a missing file", "cat /nope", said{Err: "cat: /nope: No such file or directory\n", Exit: 1}},
		{"cat of a directory", "cat /etc", said{Err: "cat: /etc: Is a directory\n", Exit: 1}},
		{"head stops reading where it stops printing", "printf 'abcdef' | { head -c 2; echo; head -c 3; }", said{Out: "ab\ncde"}},
		{"tail prints the end", "printf 'a\\nb\\nc\\n' | tail -n 2", said{Out: "b\nc\n"}},
		{"sha256sum", "printf x | sha256sum", said{Out: "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881  -\n"}},
		{"dd writes a file", "printf x | dd of=/tmp/dd status=none && cat /tmp/dd", said{Out: "x"}},
		{"rm of a missing file", "rm /nope", said{Err: "rm: cannot remove '/nope': No such file or directory\n", Exit: 1}},
		{"rm -f of a missing file", "rm -f /nope", said{}},
		{"rm of a directory", "rm /srv", said{Err: "rm: cannot remove '/srv': Is a directory\n", Exit: 1}},
		{"rm -r empties a mounted file system and leaves its directory", "mkdir /tank/d; rm -r /tank; ls -A /tank", said{Err: "rm: cannot remove '/tank': Device or resource busy\n"}},
		{"mkdir of what is there", "mkdir /etc", said{Err: "mkdir: cannot create directory ‘/etc’: File exists\n", Exit: 1}},
		{"mkdir -p -m sets the mode of what it makes", "mkdir -p -m 700 /run/a /run/a/b; stat -c %a /run/a /run/a/b", said{Out: "700\n700\n"}},
		{"mv into a directory", "echo 1 > /tmp/mv1; mkdir /tmp/mvd; mv /tmp/mv1 /tmp/mvd; cat /tmp/mvd/mv1", said{Out: "1\n"}},
		{"mv keeps owner and mode", "echo 1 > /tmp/o1; chown 5:6 /tmp/o1; chmod 600 /tmp/o1; mv /tmp/o1 /tmp/o2; stat -c '%u %g %a' /tmp/o2", said{Out: "5 6 600\n"}},
		{"mv of a mountpoint", "mv /tank /t2", said{Err: "mv: cannot move '/tank' to '/t2': Device or resource busy\n", Exit: 1}},
		{"chmod by letters", "echo > /tmp/m; chmod u+x,go-r /tmp/m; stat -c '%a %A %F' /tmp/m", said{Out: "700 -rwx------ regular file\n"}},
		{"chown of all below", "mkdir -p /tmp/c/d; chown -R 100000:100000 /tmp/c; stat -c '%u:%g' /tmp/c/d", said{Out: "100000:100000\n"}},
		{"stat of a device", "stat -c %F /dev/dri/renderD128", said{Out: "character special file\n"}},
		{"readlink resolves", "readlink -f /etc/pve/lxc/101.conf", said{Out: "/etc/pve/nodes/pve/lxc/101.conf\n"}},
		{"a link does not lead out of the node", "ln -s ../../../../../../etc/hostname /tmp/l; cat /tmp/l", said{Out: "pve\n"}},
		{"mktemp makes a file of root's alone", "f=$(mktemp /tmp/x.XXXXXX); stat -c '%a %s' $f", said{Out: "600 0\n"}},
		{"pmxcfs refuses chmod", "chmod 600 /etc/pve/storage.cfg", said{Err: "chmod: changing permissions of '/etc/pve/storage.cfg': Operation not permitted\n", Exit: 1}},
		{"pmxcfs refuses links", "ln -s x /etc/pve/y", said{Err: "ln: failed to create symbolic link '/etc/pve/y': Function not implemented\n", Exit: 1}},
		{"pmxcfs has its own modes", "umask 077; echo > /etc/pve/z; echo > /etc/pve/priv/z; stat -c '%a %G' /etc/pve/z /etc/pve/priv/z", said{Out: "640 www-data\n600 www-data\n"}},
		{"vmlist shows the guests", "mkdir -p /etc/pve/lxc; echo > /etc/pve/lxc/101.conf; cat /etc/pve/.vmlist", said{Out: "{\n\"version\": 2,\n\"ids\": {\n\"101\": { \"node\": \"pve\", \"type\": \"lxc\", \"version\": 1 }}\n\n}\n"}},
		{"dpkg-query prints versions", `dpkg-query -W -f '${Package} ${Version}\n' pve-container nope`, said{Out: "pve-container 6.1.10\n", Err: "dpkg-query: no packages found matching nope\n", Exit: 1}},
		{"an option that is not modelled", "cat --frobnicate", said{Err: "cat: unrecognized option '--frobnicate'\nTry 'cat --help' for more information.\n", Exit: 1}},
		{"flock waits no longer than it should", "flock /run/lock/x flock -w 0.01 -E 4 /run/lock/x true", said{Exit: 4}},
		{"shared locks go together", "flock -s /run/lock/y flock -n -s /run/lock/y echo both", said{Out: "both\n"}},
		{"grep -n numbers lines", "printf 'a\\nb\\nab\\n' | grep -n a", said{Out: "1:a\n3:ab\n"}},
		{"grep -c counts for each file", "cd /tmp; echo a > g1; echo b > g2; grep -c a g1 g2", said{Out: "g1:1\ng2:0\n"}},
		{"head takes a number as an option", "printf 'a\\nb\\nc\\n' | head -2", said{Out: "a\nb\n"}},
		{"nobody hears of a pipe that is closed", "cat /etc/containers/policy.json | true", said{}},
		{"ls -A shows hidden files", "mkdir /tmp/h; touch /tmp/h/.a /tmp/h/b; ls -A /tmp/h", said{Out: ".a\nb\n"}},
		{"find says whether a directory is empty", "mkdir -p /tmp/fi/a/b; find /tmp/fi -mindepth 1 -maxdepth 1 -print -quit; find /tmp/fi/a/b -mindepth 1 -maxdepth 1 -print -quit", said{Out: "/tmp/fi/a\n"}},
		{"find finds by name and kind", "mkdir -p /tmp/fn/x; touch /tmp/fn/x/y.conf /tmp/fn/x/z; find /tmp/fn -type f -name '*.conf'", said{Out: "/tmp/fn/x/y.conf\n"}},
		{"find of a missing directory", "find /nope -print", said{Err: "find: ‘/nope’: No such file or directory\n", Exit: 1}},
		{"chown -h changes the link", "echo > /tmp/cf; ln -s cf /tmp/cl; chown -h 7:8 /tmp/cl; stat -c %u:%g /tmp/cl /tmp/cf", said{Out: "7:8\n0:0\n"}},
		{"a mountpoint is one", "mountpoint /tank; mountpoint -q /srv", said{Out: "/tank is a mountpoint\n", Exit: 32}},
		{"kill of no process", "kill 1", said{Err: "bash: kill: (1) - No such process\n", Exit: 1}},
		{"kill of the group ends its programs and not its shell", "flock /run/lock/k sh -c 'kill -TERM 0; sleep 1000'; echo $?", said{Out: "143\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, run(t, c, tc.command, "")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.command, diff)
			}
		})
	}
}

func TestTarReadsAndWrites(t *testing.T) {
	l := openLab(t, lab.Options{})
	f, err := os.Create(filepath.Join(l.Root(), "srv", "a.tar"))
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	for _, name := range []string{"index.json", "blobs/x"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(name)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := must(t, l, "tar", "-tf", "/srv/a.tar"); got != "index.json\nblobs/x\n" {
		t.Errorf("list: %q", got)
	}
	if got := must(t, l, "tar", "-xOf", "/srv/a.tar", "blobs/x"); got != "blobs/x" {
		t.Errorf("extract: %q", got)
	}
	missing := do(t, l, "tar", "-xOf", "/srv/a.tar", "nope")
	if want := (said{Err: "tar: nope: Not found in archive\ntar: Exiting with failure status due to previous errors\n", Exit: 2}); missing != want {
		t.Errorf("missing member: %+v, want %+v", missing, want)
	}
	must(t, l, "sh", "-c", "tar -cf - -C /etc hostname | tar -tf - > /tmp/list")
	if got := must(t, l, "cat", "/tmp/list"); strings.TrimSpace(got) != "hostname" {
		t.Errorf("written archive lists %q", got)
	}
}

func TestAFaultInTheMiddleLeavesHalfAFile(t *testing.T) {
	l := openLab(t, lab.Options{})
	l.Fault(lab.Fault{Prefix: []string{"dd"}, When: lab.During, Stderr: "dd: error writing '/tmp/f': No space left on device\n"})
	got := do(t, l, "sh", "-c", "printf 123456 | dd of=/tmp/f status=none")
	if want := (said{Err: "dd: error writing '/tmp/f': No space left on device\n", Exit: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := must(t, l, "cat", "/tmp/f"); got != "123" {
		t.Errorf("file holds %q, want half of it", got)
	}
}
