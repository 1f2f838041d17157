package lab

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func below() []LayerEntry {
	return []LayerEntry{
		dir("d/"), file("d/one", "1\n"), file("d/two", "2\n"), file("gone", "x\n"), dir("op/"), file("op/old", "x\n"),
		file("filedir", "x\n"), dir("dirfile/"), file("dirfile/in", "x\n"), symlink("lnk", "d"), file("h1", "hard\n"), hardlink("h2", "h1"),
	}
}

func treeOf(t *testing.T, root string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		switch {
		case e.IsDir():
			rel += "/"
			got[rel] = ""
		case e.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			got[rel] = "-> " + target
			return err
		default:
			data, err := os.ReadFile(p)
			got[rel] = string(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestUnpackAppliesLayers(t *testing.T) {
	unchanged := map[string]string{
		"d/": "", "d/one": "1\n", "d/two": "2\n", "gone": "x\n", "op/": "", "op/old": "x\n", "filedir": "x\n",
		"dirfile/": "", "dirfile/in": "x\n", "lnk": "-> d", "h1": "hard\n", "h2": "hard\n",
	}
	tests := []struct {
		name  string
		upper []LayerEntry
		want  map[string]string // differences from unchanged; "-" is absent
		err   string
	}{
		{
			name:  "whiteouts and opaque directories hide what is below",
			upper: []LayerEntry{file(".wh.gone", ""), file("d/.wh.one", ""), dir("op/"), file("op/.wh..wh..opq", ""), file("op/new", "n\n")},
			want:  map[string]string{"gone": "-", "d/one": "-", "op/old": "-", "op/new": "n\n"},
		},
		{
			name:  "a file does not become a directory",
			upper: []LayerEntry{dir("filedir/"), file("filedir/in", "now a dir\n")},
			err:   "Error while extracting OCI image: IO error: failed to unpack `/var/lib/lxc/302/rootfs/filedir/in`",
		},
		{
			name:  "a file does not become a directory without an entry for it",
			upper: []LayerEntry{file("filedir/in", "now a dir\n")},
			err:   "Error while extracting OCI image: IO error: failed to unpack `/var/lib/lxc/302/rootfs/filedir/in`",
		},
		{
			name:  "a file becomes a directory after a whiteout",
			upper: []LayerEntry{file(".wh.filedir", ""), dir("filedir/"), file("filedir/in", "now a dir\n")},
			want:  map[string]string{"filedir": "-", "filedir/": "", "filedir/in": "now a dir\n"},
		},
		{
			name:  "a directory becomes a file",
			upper: []LayerEntry{file("dirfile", "now a file\n")},
			want:  map[string]string{"dirfile/": "-", "dirfile/in": "-", "dirfile": "now a file\n"},
		},
		{
			name:  "a directory over a link keeps the link and goes through it",
			upper: []LayerEntry{dir("lnk/"), file("lnk/x", "x\n")},
			want:  map[string]string{"d/x": "x\n"},
		},
		{
			name:  "a link becomes a file",
			upper: []LayerEntry{file("lnk", "now a file\n")},
			want:  map[string]string{"lnk": "now a file\n"},
		},
		{
			name:  "a file becomes a link",
			upper: []LayerEntry{symlink("gone", "d")},
			want:  map[string]string{"gone": "-> d"},
		},
		{
			name:  "a directory becomes a link",
			upper: []LayerEntry{symlink("dirfile", "d")},
			want:  map[string]string{"dirfile/": "-", "dirfile/in": "-", "dirfile": "-> d"},
		},
		{
			name:  "a file goes through a relative link",
			upper: []LayerEntry{file("lnk/via", "via\n")},
			want:  map[string]string{"d/via": "via\n"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := imageNode(t)
			a := pulled(t, n, ImageSpec{Layers: [][]LayerEntry{below(), tt.upper}})
			root, again := t.TempDir(), t.TempDir()
			err := a.unpack(unpacking{dir: root, shown: "/var/lib/lxc/302/rootfs"})
			full := opened(t, n)
			full.kept = maxKept
			if err := full.unpack(unpacking{dir: again, shown: "/var/lib/lxc/302/rootfs"}); fmt.Sprint(err) != tt.err && (err != nil || tt.err != "") {
				t.Errorf("when no layer is kept: error = %v\nwant    %s", err, tt.err)
			}
			if diff := cmp.Diff(treeOf(t, root), treeOf(t, again)); diff != "" {
				t.Errorf("unpacked tree when layers are kept, and when not (-kept +not):\n%s", diff)
			}
			if fmt.Sprint(err) != tt.err && (err != nil || tt.err != "") {
				t.Fatalf("error = %v\nwant    %s", err, tt.err)
			}
			if tt.err != "" {
				return
			}
			want := map[string]string{}
			for _, m := range []map[string]string{unchanged, tt.want} {
				for k, v := range m {
					want[k] = v
					if v == "-" {
						delete(want, k)
					}
				}
			}
			if diff := cmp.Diff(want, treeOf(t, root)); diff != "" {
				t.Errorf("unpacked tree (-want +got):\n%s", diff)
			}
			compareFiles(t, a, root)
		})
	}
}

func compareFiles(t *testing.T, a *ociArchive, root string) {
	t.Helper()
	names := []string{"d/one", "d/two", "d/x", "d/via", "lnk/via", "gone", "op/old", "op/new", "filedir", "filedir/in", "dirfile", "dirfile/in", "h2", "lnk"}
	got, err := a.Files(names...)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{}
	for _, name := range names {
		if data, err := os.ReadFile(filepath.Join(root, name)); err == nil {
			want[name] = data
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Files against what was unpacked (-unpacked +Files):\n%s", diff)
	}
}

// A layer is decompressed once, whatever is done with it; nothing of it stays.
func TestUnpackReadsTheArchiveOnce(t *testing.T) {
	n := imageNode(t)
	addImage(t, n, "test.example/img:v1", ImageSpec{Layers: [][]LayerEntry{{file("f", "x")}, {file("g", "y")}}})
	mustRun(t, n, "skopeo", "copy", "-q", "docker://test.example/img:v1", "oci-archive:/img.tar")
	before := treeOf(t, n.dir)
	a, err := n.openArchive("/img.tar")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.orderedLayers(); err != nil {
		t.Fatal(err)
	}
	put(t, n, "/img.tar", nil)
	root := t.TempDir()
	if err := a.Unpack(root); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"f": "x", "g": "y"}, treeOf(t, root)); diff != "" {
		t.Errorf("unpacked tree (-want +got):\n%s", diff)
	}
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	after := treeOf(t, n.dir)
	delete(before, "root/img.tar")
	delete(after, "root/img.tar")
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("files of the lab, before and after (-before +after):\n%s", diff)
	}
}

func TestUnpackOwnersAndModes(t *testing.T) {
	private := dir("d/")
	private.Mode, private.Uid = 0o700, 5
	gone := file("gone", "newer\n")
	gone.Mode, gone.Uid, gone.Gid = 0o600, 5, 6
	sticky := dir("tmp/")
	sticky.Mode = 0o1777
	a := pulled(t, imageNode(t), ImageSpec{Layers: [][]LayerEntry{below(), {gone, private, sticky}}})
	got := map[string]owner{}
	root := t.TempDir()
	err := a.unpack(unpacking{dir: root, own: func(name string, o owner) { got[name] = o }})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]owner{"gone": {5, 6, 0o600}, "d": {5, 0, 0o700}, "tmp": {0, 0, 0o1777}, "d/one": {0, 0, 0o644}}
	for name, o := range want {
		if got[name] != o {
			t.Errorf("owner of %q = %+v, want %+v", name, got[name], o)
		}
	}
	if fi, err := os.Stat(filepath.Join(root, "gone")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode of \"gone\" = %v, %v; want 0600", fi.Mode(), err)
	}
}

func TestUnpackStopsWhenStepSays(t *testing.T) {
	a := pulled(t, imageNode(t), ImageSpec{Layers: [][]LayerEntry{below()}})
	stop := errors.New("stop")
	steps := 0
	root := t.TempDir()
	err := a.unpack(unpacking{dir: root, step: func() error {
		if steps++; steps == 5 {
			return stop
		}
		return nil
	}})
	if !errors.Is(err, stop) {
		t.Errorf("error = %v, want that of step", err)
	}
	if got := treeOf(t, root); len(got) == 0 || got["h1"] != "" {
		t.Errorf("unpacked %v, want the beginning only", got)
	}
}

func TestUnpackIntoARootThatIsTooSmall(t *testing.T) {
	a := pulled(t, imageNode(t), ImageSpec{Layers: [][]LayerEntry{{file("small", "12345"), file("bin/busybox", strings.Repeat("x", 100))}}})
	err := a.unpack(unpacking{dir: t.TempDir(), shown: "/var/lib/lxc/201/rootfs", limit: 104})
	want := "Error while extracting OCI image: IO error: failed to unpack `/var/lib/lxc/201/rootfs/bin/busybox`"
	if err == nil || err.Error() != want {
		t.Errorf("error = %v\nwant    %s", err, want)
	}
	if err := a.unpack(unpacking{dir: t.TempDir(), limit: 105}); err != nil {
		t.Errorf("with room for all: %v", err)
	}
}

func TestUnpackWritesNothingOutside(t *testing.T) {
	deep := strings.Repeat("../", 12)
	const shown = "/var/lib/lxc/340/rootfs"
	outside := "Error while extracting OCI image: IO error: trying to unpack outside of destination path: " + shown
	device := LayerEntry{Header: tar.Header{Name: "dev/sda", Typeflag: tar.TypeBlock, Devmajor: 8}}
	pipe := LayerEntry{Header: tar.Header{Name: "pipe", Typeflag: tar.TypeFifo}}
	big := file("big", "x\n")
	big.Uid = 70000
	tests := []struct {
		name    string
		entries []LayerEntry
		err     string
		want    map[string]string // tree afterwards, when there is no error
	}{
		{"a leading slash is dropped", []LayerEntry{file("/abs", "a")}, "", map[string]string{"abs": "a"}},
		{"a name with dots is passed over", []LayerEntry{file(deep+"tmp/escaped", "x"), file("a/../b", "x"), file("c", "c")}, "", map[string]string{"c": "c"}},
		{"a file below an absolute link", []LayerEntry{symlink("esc", "/tmp"), file("esc/f", "x")}, outside, nil},
		{"a file below a relative link that leads out", []LayerEntry{symlink("esc", deep+"tmp"), file("esc/f", "x")}, outside, nil},
		{
			"a directory below an absolute link",
			[]LayerEntry{dir("run/"), symlink("run2", "/run"), dir("run2/app/"), file("run2/app/pid", "1")},
			"Error while extracting OCI image: IO error: failed to create `" + shown + "/run2/app`", nil,
		},
		{"a link chain that leads out", []LayerEntry{symlink("a", "b"), symlink("b", ".."), file("a/f", "x")}, outside, nil},
		{"a hard link to the outside", []LayerEntry{hardlink("shadow", deep+"etc/hostname")}, "Error while extracting OCI image: IO error: failed to unpack `" + shown + "/shadow`", nil},
		{
			"a hard link through a link", []LayerEntry{symlink("e", "/etc"), hardlink("shadow", "e/hostname")},
			"Error while extracting OCI image: IO error: failed to unpack `" + shown + "/shadow`", nil,
		},
		{"a file in place of a link to the outside", []LayerEntry{symlink("f", "/etc/hostname"), file("f", "mine")}, "", map[string]string{"f": "mine"}},
		{"a whiteout of what is above", []LayerEntry{file(deep+".wh.tmp", ""), file(".wh...", ""), file("c", "c")}, "", map[string]string{"c": "c"}},
		{"devices and pipes become files", []LayerEntry{device, pipe}, "", map[string]string{"dev/": "", "dev/sda": "", "pipe": ""}},
		{"an id beyond the map", []LayerEntry{big}, "Error while extracting OCI image: IO error: failed to unpack `" + shown + "/big`", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := imageNode(t)
			a := pulled(t, n, ImageSpec{Layers: [][]LayerEntry{tt.entries}})
			around := t.TempDir()
			root := filepath.Join(around, "root")
			if err := os.Mkdir(root, 0o755); err != nil {
				t.Fatal(err)
			}
			put(t, n, "/keep", []byte("keep"))
			err := a.unpack(unpacking{dir: root, shown: shown})
			if (err != nil || tt.err != "") && fmt.Sprint(err) != tt.err {
				t.Errorf("error = %v\nwant    %s", err, tt.err)
			}
			if tt.err == "" {
				if diff := cmp.Diff(tt.want, treeOf(t, root)); diff != "" {
					t.Errorf("unpacked tree (-want +got):\n%s", diff)
				}
			}
			names, err := os.ReadDir(around)
			if err != nil || len(names) != 1 {
				t.Errorf("beside the root: %v, %v; want only the root", names, err)
			}
		})
	}
}

func FuzzUnpackStaysInside(f *testing.F) {
	f.Add("esc", "/tmp", byte(tar.TypeSymlink), "esc/f", byte(tar.TypeReg))
	f.Add("a", "../..", byte(tar.TypeSymlink), "a/keep", byte(tar.TypeReg))
	f.Add("../keep", "", byte(tar.TypeReg), ".wh...", byte(tar.TypeReg))
	f.Add("h", "../keep", byte(tar.TypeLink), "h", byte(tar.TypeReg))
	f.Add("d/", "", byte(tar.TypeDir), "d/.wh..wh..opq", byte(tar.TypeReg))
	f.Fuzz(func(t *testing.T, name, link string, kind byte, second string, secondKind byte) {
		n := &node{dir: t.TempDir()}
		entries := []LayerEntry{{Header: tar.Header{Name: name, Linkname: link, Typeflag: kind}}, {Header: tar.Header{Name: second, Linkname: link, Typeflag: secondKind}}}
		p, err := buildImage(ImageSpec{Layers: [][]LayerEntry{entries}})
		if err != nil {
			t.Skip("archive/tar does not write such an entry")
		}
		if err := os.Mkdir(n.host("/"), 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, n, "/img.tar", layoutTar(t, p, "", entriesOf(p)))
		a := opened(t, n)
		around := t.TempDir()
		root, keep := filepath.Join(around, "root"), filepath.Join(around, "keep")
		if err := errors.Join(os.Mkdir(root, 0o755), os.WriteFile(keep, []byte("keep"), 0o600)); err != nil {
			t.Fatal(err)
		}
		_ = a.Unpack(root) // an error is fine, a trace outside is not
		_, _ = a.Files("etc/passwd", name, second)
		names, err := os.ReadDir(around)
		if data, keepErr := os.ReadFile(keep); err != nil || len(names) != 2 || keepErr != nil || string(data) != "keep" {
			t.Errorf("beside the root: %v %v, keep holds %q %v", names, err, data, keepErr)
		}
	})
}
