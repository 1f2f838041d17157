package pve

import (
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseMountTable(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       []Mounted
		err        string // "" for none
	}{
		{"of a node", "/dev/mapper/pve-root / ext4 rw,relatime,errors=remount-ro 0 0\nrpool/data/subvol-122-disk-0 /var/lib/lxc/122/rootfs zfs rw,noatime,xattr,posixacl,casesensitive 0 0\n",
			[]Mounted{{"/dev/mapper/pve-root", "/", "ext4", "rw,relatime,errors=remount-ro"},
				{"rpool/data/subvol-122-disk-0", "/var/lib/lxc/122/rootfs", "zfs", "rw,noatime,xattr,posixacl,casesensitive"}}, ""},
		{"blanks and backslashes", `//nas/my\040films /mnt/a\040\011\012\134b\043 cifs rw 0 0` + "\n", []Mounted{{"//nas/my films", "/mnt/a \t\n\\b#", "cifs", "rw"}}, ""},
		{"no escape after all", `x /mnt/\04 zfs rw 0 0` + "\n" + `x /mnt/\777\9 zfs rw 0 0` + "\n", []Mounted{{"x", `/mnt/\04`, "zfs", "rw"}, {"x", `/mnt/\777\9`, "zfs", "rw"}}, ""},
		{"a device without a name", " /mnt/x tmpfs rw 0 0\n", []Mounted{{"", "/mnt/x", "tmpfs", "rw"}}, ""},
		{"cut in a line", "tmpfs /run tmpfs rw 0 0\n/dev/sdb1 /mnt/di", nil, `wanted whole lines, got "tmpfs /run tmpfs rw 0 0\n/dev/sdb1 /mnt/di"`},
		{"nothing", "", nil, `wanted whole lines, got ""`},
		{"cut at a field", "tmpfs /run tmpfs rw 0 0\n/dev/sdb1 /mnt/disk\n", nil, `line 2 is "/dev/sdb1 /mnt/disk"`},
		{"mounted nowhere", "tmpfs run tmpfs rw 0 0\n", nil, "line 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseMountTable([]byte(c.data))
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error is %v, want %q", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMountedIsWrittenAsTheKernelDoes(t *testing.T) {
	m := Mounted{"tank/my films", "/srv/a b\\c\td\ne", "zfs", "rw,noatime"}
	if got, want := m.String(), `tank/my\040films /srv/a\040b\134c\011d\012e zfs rw,noatime 0 0`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFstabMounts(t *testing.T) {
	const fstab = "# <file system> <mount point> <type> <options> <dump> <pass>\n" +
		"/dev/pve/root / ext4 errors=remount-ro 0 1\n" +
		"\t UUID=1  \t/mnt/my\\040films\text4 defaults 0 2\n" +
		"  #UUID=2 /mnt/off ext4 defaults 0 2\n" +
		"UUID=3 none swap sw 0 0\nhalf\n\n" +
		"UUID=4 /mnt//last/"
	if diff := cmp.Diff([]string{"/", "/mnt/my films", "/mnt/last"}, FstabMounts([]byte(fstab))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is read of the files names places, and a line that is written from what was
// read means the same.
func FuzzMounts(f *testing.F) {
	f.Add([]byte("/dev/sdc1 /mnt/disk/data/a+b/my\\040films ext4 rw 0 0\n"))
	f.Add([]byte("UUID=1 /mnt/disk ext4 noauto 0 2\n#x /y\n"))
	f.Add([]byte("a /\\134040 \\ \\777 0 0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, at := range FstabMounts(data) {
			if !path.IsAbs(at) || path.Clean(at) != at {
				t.Errorf("place %q of %q", at, data)
			}
		}
		table, err := ParseMountTable(data)
		if err != nil {
			return
		}
		if len(table) == 0 {
			t.Errorf("nothing is mounted, by %q", data)
		}
		for _, m := range table {
			if !path.IsAbs(m.At) {
				t.Errorf("mounted at %q of %q", m.At, data)
			}
			again, err := ParseMountTable([]byte(m.String() + "\n"))
			if err != nil || len(again) != 1 || again[0] != m {
				t.Errorf("%+v of %q is written as %q, read as %+v, %v", m, data, m.String(), again, err)
			}
		}
	})
}
