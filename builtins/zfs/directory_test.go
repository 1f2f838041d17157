package zfs

import (
	"cmp"
	"errors"
	"io/fs"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

func testDirectory() directory {
	d := testDataset()
	d.name, d.id = "data/a/b", "zfs_dataset/data/a/b"
	return directory{dataset: d, node: "pve1", data: "/mnt/disk/data", path: "/mnt/disk/data/a+b"}
}

// A disk is what the node says of /mnt/disk/data and of the directory in it.
type disk struct {
	data, dir string            // what stat says; "" for missing
	way       map[string]string // what stat says of those before, if not rootDir
	link      string            // what readlink says, if not the same
	mount     string
	fstab     string
	storage   string
	marks     []record.Directory
}

func (k disk) answers() *engine.Answers {
	d := testDirectory()
	m := map[string]engine.Answer{}
	said := func(q engine.Ask, text string) {
		a := engine.Answer{Result: engine.Result{Stdout: []byte(text + "\n")}}
		if text == "" {
			a = engine.Answer{Err: &engine.ExitError{Argv: q.Argv(), Exit: 1}}
		}
		m[q.Key()] = a
	}
	for _, dir := range []string{"/", "/mnt", "/mnt/disk"} {
		said(dirAsk(dir), cmp.Or(k.way[dir], rootDir))
	}
	said(dirAsk(d.data), k.data)
	said(dirAsk(d.path), k.dir)
	said(linkAsk(d.data), cmp.Or(k.link, d.data))
	said(mountAsk(d.data), k.mount)
	files := map[string][]byte{}
	for _, mark := range k.marks {
		f := record.DirectoryFile(mark)
		files[f.Name] = f.Data
	}
	m[marksAsk().Key()] = engine.Answer{Files: files}
	for name, text := range map[string]string{pve.FstabFile: k.fstab, pve.StorageCfgFile: k.storage} {
		m[engine.AskFile(name).Key()] = engine.Answer{Data: []byte(text)}
		if text == "" {
			m[engine.AskFile(name).Key()] = engine.Answer{Err: &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}}
		}
	}
	return engine.NewAnswers(m)
}

const (
	rootDir = "0 0 755 directory"
	ourDir  = "100005 100005 755 directory"
)

func TestDirectoryForDataMustBeAsItHasToBe(t *testing.T) {
	made := testDirectory().mark("/mnt/disk", record.DirMade)
	for _, c := range []struct {
		name string
		disk disk
		want string // "" for none
	}{
		{"a plain directory", disk{data: rootDir, mount: "/"}, ""},
		{"a disk that is mounted", disk{data: rootDir, mount: "/mnt/disk", fstab: "UUID=1 /mnt/disk ext4 defaults 0 2\n", marks: []record.Directory{made}}, ""},
		{"something mounted deeper", disk{data: rootDir, mount: "/mnt/disk/data", fstab: "UUID=1 /mnt/disk ext4\n"}, ""},
		{"it is missing", disk{}, `"/mnt/disk/data", does not exist`},
		{"it is missing and fstab knows why", disk{fstab: "UUID=1\t/mnt/disk\text4\n"}, `nothing is mounted at "/mnt/disk"`},
		{"its disk is not mounted", disk{data: rootDir, mount: "/", fstab: "UUID=1 /mnt/disk ext4 noauto 0 2\n"}, `nothing is mounted at "/mnt/disk"`},
		{"the innermost of two is not mounted", disk{data: rootDir, mount: "/mnt", fstab: "UUID=1 /mnt ext4\nUUID=2 /mnt/disk ext4\n"}, `nothing is mounted at "/mnt/disk"`},
		{"a comment and other disks do not count", disk{data: rootDir, mount: "/", fstab: "#UUID=1 /mnt/disk ext4\nUUID=2 / ext4\nUUID=3 none swap\nUUID=4 /mnt/dis ext4\n"}, ""},
		{"a storage says that it is a mount point", disk{data: rootDir, mount: "/", storage: "dir: big\n\tpath /mnt/disk\n\tis_mountpoint yes\n"}, `nothing is mounted at "/mnt/disk"`},
		{"a storage says that another is", disk{data: rootDir, mount: "/", storage: "dir: big\n\tpath /mnt/disk/x\n\tis_mountpoint /mnt\n"}, `nothing is mounted at "/mnt"`},
		{"nothing says so, but the directory was made on a disk", disk{data: rootDir, mount: "/", marks: []record.Directory{made}}, "was made on what is mounted there"},
		{"it is a link", disk{data: "0 0 777 symbolic link", link: "/mnt/other", mount: "/"}, `leads over the symbolic link "/mnt/disk/data" to "/mnt/other"`},
		{"a link is on the way", disk{data: rootDir, link: "/tank/disk/data", way: map[string]string{"/mnt": "0 0 777 symbolic link"}, mount: "/"},
			`"/mnt/disk/data", leads over the symbolic link "/mnt" to "/tank/disk/data"; Proxmox`},
		{"it has become a link meanwhile", disk{data: rootDir, link: "/mnt/other", mount: "/"}, `"/mnt/disk/data", leads to "/mnt/other"`},
		{"somebody owns a directory on the way", disk{data: rootDir, way: map[string]string{"/mnt/disk": "1000 0 755 directory"}, mount: "/"},
			`others than root can write in "/mnt/disk", on the way to the directory for data, "/mnt/disk/data": its owner is 1000, its mode 755; wanted owner 0`},
		{"a container's user owns one that nobody may write in", disk{data: rootDir, way: map[string]string{"/mnt": "100000 0 555 directory"}, mount: "/"}, `can write in "/mnt", on the way`},
		{"a group may write on the way", disk{data: rootDir, way: map[string]string{"/mnt/disk": "0 50 2775 directory"}, mount: "/"}, `others than root can write in "/mnt/disk", on the way`},
		{"everybody may on the way", disk{data: rootDir, way: map[string]string{"/": "0 0 757 directory"}, mount: "/"}, `others than root can write in "/", on the way`},
		{"everybody may add on the way", disk{data: rootDir, way: map[string]string{"/mnt": "0 0 1777 directory"}, mount: "/"}, `others than root can write in "/mnt", on the way`},
		{"others may only look on the way", disk{data: rootDir, way: map[string]string{"/mnt": "0 50 2755 directory", "/mnt/disk": "0 0 700 directory"}, mount: "/"}, ""},
		{"it is a file", disk{data: "0 0 644 regular file", mount: "/"}, "is a regular file"},
		{"a container owns it", disk{data: ourDir, mount: "/"}, "others than root can write"},
		{"everybody may write in it", disk{data: "0 0 1777 directory", mount: "/"}, "others than root can write"},
		{"a link stands for the dataset", disk{data: rootDir, dir: "0 0 777 symbolic link", mount: "/"}, "is a symbolic link; wanted a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := testDirectory().Observe(c.disk.answers())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
			if strings.Contains(c.want, "on the way") && !strings.Contains(engine.HintOf(err), "\n    chmod go-w /") {
				t.Errorf("hint is %q", engine.HintOf(err))
			}
		})
	}
}

// What cannot be read says nothing, also not that nothing is to be mounted.
func TestUnreadableFstabIsAnError(t *testing.T) {
	a := disk{data: rootDir, mount: "/"}.answers()
	bad := a.Merge(engine.NewAnswers(map[string]engine.Answer{engine.AskFile(pve.FstabFile).Key(): {Err: errors.New("read /etc/fstab: Input/output error")}}))
	if _, err := CheckDataDir(bad, "/mnt/disk/data"); err == nil || !strings.Contains(err.Error(), "Input/output error") {
		t.Errorf("error is %v", err)
	}
}

func TestDiffOfDirectories(t *testing.T) {
	mark := func(app string, stage record.DirStage) record.Directory {
		m := testDirectory().mark("/", stage)
		m.App = app
		return m
	}
	elsewhere := mark("other", record.DirMade)
	elsewhere.Node = "pve2"
	adopting, protected := testDirectory(), testDirectory()
	adopting.adopt, protected.protect = true, true
	for _, c := range []struct {
		name string
		d    directory
		disk disk
		want []string
	}{
		{"a missing one is made", testDirectory(), disk{}, []string{"create  there is no directory /mnt/disk/data/a+b"}},
		{"one as wanted is left alone", testDirectory(), disk{dir: ourDir, marks: []record.Directory{mark("app", record.DirMade)}}, nil},
		{"one that a cut run left is finished", testDirectory(), disk{dir: ourDir, marks: []record.Directory{mark("app", record.DirMaking)}},
			[]string{"create  an earlier run was cut while it made /mnt/disk/data/a+b"}},
		{"one that a cut run announced is made", testDirectory(), disk{marks: []record.Directory{mark("app", record.DirMaking)}},
			[]string{"create  there is no directory /mnt/disk/data/a+b"}},
		{"one that is gone is made again", testDirectory(), disk{marks: []record.Directory{mark("app", record.DirMade)}},
			[]string{"create  somebody has removed /mnt/disk/data/a+b"}},
		{"protection is a change", protected, disk{dir: ourDir, marks: []record.Directory{mark("app", record.DirMade)}}, []string{"update protect the recipe sets it"}},
		{"somebody's is refused", testDirectory(), disk{dir: ourDir}, []string{"adopt-refused  directory /mnt/disk/data/a+b exists and tengil did not make it"}},
		{"adopting is a change", adopting, disk{dir: ourDir}, []string{"update owner app the recipe adopts it"}},
		{"another app's is refused, adopt or not", adopting, disk{dir: ourDir, marks: []record.Directory{mark("other", record.DirMade)}},
			[]string{`adopt-refused  directory /mnt/disk/data/a+b belongs to the app "other"`}},
		{"what another app only announced is free", testDirectory(), disk{marks: []record.Directory{mark("other", record.DirMaking)}},
			[]string{"create  there is no directory /mnt/disk/data/a+b"}},
		{"another node's mark is of another directory", testDirectory(), disk{dir: ourDir, marks: []record.Directory{elsewhere}},
			[]string{"adopt-refused  directory /mnt/disk/data/a+b exists and tengil did not make it"}},
		{"one whose removal was cut is refused", adopting, disk{dir: ourDir, marks: []record.Directory{mark("app", record.DirRemoving)}},
			[]string{"adopt-refused  the removal of directory /mnt/disk/data/a+b was begun and not finished: a part of its content may be gone"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.disk.data, c.disk.mount = rootDir, "/"
			st, err := c.d.Observe(c.disk.answers())
			if err != nil {
				t.Fatal(err)
			}
			diff, err := c.d.Diff(st, engine.Inputs{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, ch := range diff.Changes {
				got = append(got, strings.Join([]string{string(ch.Action), ch.Field, ch.Why}, " "))
				if ch.Action == engine.AdoptRefused && ch.Hint == "" {
					t.Error("refused without a way out")
				}
			}
			if d := gocmp.Diff(c.want, got); d != "" {
				t.Errorf("changes (-want +got):\n%s", d)
			}
			if got := diff.Outputs["mountpoint"].String(); got != "/mnt/disk/data/a+b" {
				t.Errorf("mountpoint %q", got)
			}
		})
	}
}

func TestDirectoriesArePlannedForWithoutANode(t *testing.T) {
	m := map[string]engine.Answer{}
	for _, q := range testDirectory().Asks(nil) {
		m[q.Key()] = engine.NothingThere(q)
	}
	st, err := testDirectory().Observe(engine.NewAnswers(m))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := testDirectory().Diff(st, engine.Inputs{}); err != nil || len(d.Changes) != 1 || d.Changes[0].Action != engine.Create {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestDatasetsThatDifferAreDirectoriesThatDiffer(t *testing.T) {
	got := map[string]string{}
	for _, name := range []string{"data/a/b", "data/a.b", "data/a_b", "data/a:b", "data/a-b", "data/a b", "data/a"} {
		p := dirPath("/d", name)
		if was, twice := got[p]; twice {
			t.Errorf("%s and %s are both %s", was, name, p)
		}
		if strings.Count(p, "/") != 2 {
			t.Errorf("%s is %s, not right below the directory for data", name, p)
		}
		got[p] = name
	}
}

func TestMountsInADirectoryAreFound(t *testing.T) {
	const mounts = "/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /mnt/disk ext4 rw 0 0\n/dev/sdc1 /mnt/disk/data/a+b/my\\040films ext4 rw 0 0\n"
	a := engine.NewAnswers(map[string]engine.Answer{engine.AskFile(pve.MountsFile).Key(): {Data: []byte(mounts)}})
	if err := mountedIn(a, "/mnt/disk/data/a+b"); err == nil || !strings.Contains(engine.HintOf(err), "umount /mnt/disk/data/a+b/my films") {
		t.Errorf("error is %v", err)
	}
	if err := mountedIn(a, "/mnt/disk/data/a"); err != nil {
		t.Error(err)
	}
	if err := mountedIn(engine.NewAnswers(nil), "/x"); err == nil {
		t.Error("nothing is known of what is mounted, and that is taken for nothing")
	}
	cut := engine.NewAnswers(map[string]engine.Answer{engine.AskFile(pve.MountsFile).Key(): {Data: []byte("/dev/sda1 / ext4 rw 0 0\n/dev/sdc1 /mnt/disk/da")}})
	if err := mountedIn(cut, "/mnt/disk/data"); err == nil || !strings.Contains(err.Error(), "wanted whole lines") {
		t.Errorf("half of what is mounted is taken for all of it: %v", err)
	}
	if mountedIn(a, "/mnt") == nil {
		t.Error("a directory with a disk below it is taken for one without")
	}
}
