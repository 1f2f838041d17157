package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// tarOf makes an archive: "d/" is a directory, "l -> x" a link, "l => x" another
// name, "! x" a device, anything else a file that holds its own name.
func tarOf(t *testing.T, members ...string) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m, Mode: 0o4755, ModTime: time.Unix(1e9, 0)}
		content := ""
		if name, target, ok := strings.Cut(m, " -> "); ok {
			h.Name, h.Linkname, h.Typeflag = name, target, tar.TypeSymlink
		} else if name, target, ok := strings.Cut(m, " => "); ok {
			h.Name, h.Linkname, h.Typeflag = name, target, tar.TypeLink
		} else if name, ok := strings.CutPrefix(m, "! "); ok {
			h.Name, h.Typeflag = name, tar.TypeChar
		} else if strings.HasSuffix(m, "/") {
			h.Typeflag = tar.TypeDir
		} else {
			h.Typeflag, h.Size, content = tar.TypeReg, int64(len(m)), m
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// tree lists what lies below a directory: "d/", "l -> x", "f".
func tree(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(dir, at)
		switch {
		case err != nil || relErr != nil:
			return err
		case rel == ".":
			return nil
		case d.IsDir():
			rel += "/"
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(at)
			if err != nil {
				return err
			}
			rel += " -> " + target
		}
		out = append(out, filepath.ToSlash(rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestUnpack(t *testing.T) {
	for _, tt := range []struct {
		name    string
		members []string
		want    string // below the directory that holds the target "t" and "old"
		left    int
		err     string
	}{
		{"a directory", []string{"d/", "d/f", "d/e/", "d/e/g"}, "old t/ t/e/ t/e/g t/f", 0, ""},
		{"as tar writes it", []string{"./d/", "./d/f"}, "old t/ t/f", 0, ""},
		{"a file", []string{"d"}, "old t", 0, ""},
		{"links that stay inside", []string{"d/", "d/f", "d/e/", "d/l -> f", "d/e/l -> ../f"}, "old t/ t/e/ t/e/l -> ../f t/f t/l -> f", 0, ""},
		{"another name of a file", []string{"d/", "d/f", "d/g => d/f"}, "old t/ t/f t/g", 0, ""},

		{"a name that leads up", []string{"d/", "d/../../x"}, "old t/", 0, "was not asked for"},
		{"a name that leads up inside", []string{"d/", "d/e/../../old"}, "old t/", 0, "was not asked for"},
		{"an absolute name", []string{"d/", "/d/x"}, "old t/", 0, "was not asked for"},
		{"another name", []string{"d/", "dd"}, "old t/", 0, "was not asked for"},
		{"a link up", []string{"d/", "d/l -> ../old"}, "old t/", 1, ""},
		{"an absolute link", []string{"d/", "d/l -> /etc/passwd"}, "old t/", 1, ""},
		{"a link down and up", []string{"d/", "d/e/", "d/e/l -> x/../../../old"}, "old t/ t/e/", 1, ""},
		{"a file through a link", []string{"d/", "d/e/", "d/l -> e", "d/l/f"}, "old t/ t/e/ t/l -> e", 0, "no directory"},
		{"a file in place of a link that was made", []string{"d/", "d/f", "d/l -> f", "d/l"}, "old t/ t/f t/l -> f", 0, "twice"},
		{"a directory in place of a link", []string{"d/", "d/f", "d/l -> f", "d/l/"}, "old t/ t/f t/l -> f", 0, "file exists"},
		{"the target is a link", []string{"d -> old", "d/x"}, "old", 0, `"d" is a link to "old"`},
		{"the target is a device", []string{"! d"}, "old", 0, `"d" is neither a file nor a directory`},
		{"the target twice", []string{"d/", "d"}, "old t/", 0, "twice"},
		{"another name of a file outside", []string{"d/", "d/g => old"}, "old t/", 0, "which it does not have"},
		{"another name of a link", []string{"d/", "d/l -> /etc/passwd", "d/g => d/l"}, "old t/", 1, "which it does not have"},
		{"another name of a link that stays inside", []string{"d/", "d/e/", "d/e/l -> ../f", "d/g => d/e/l"}, "old t/ t/e/ t/e/l -> ../f", 0, "which is no file"},
		{"a device", []string{"d/", "! d/null"}, "old t/", 1, ""},
		{"nothing", nil, "old", 0, "empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "old"), []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			sum, err := Unpack(tarOf(t, tt.members...), "d", Target{Name: filepath.Join(dir, "t")})
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if got := tree(t, dir); got != tt.want || len(sum.LeftOut) != tt.left {
				t.Errorf("made %q, left out %q; want %q, %d", got, sum.LeftOut, tt.want, tt.left)
			}
			if data, err := os.ReadFile(filepath.Join(dir, "old")); err != nil || string(data) != "mine" {
				t.Errorf("what was there is %q, %v", data, err)
			}
		})
	}
}

func TestWhatIsThereIsReplacedOnlyIfAsked(t *testing.T) {
	dir := t.TempDir()
	target, elsewhere := filepath.Join(dir, "t"), filepath.Join(dir, "elsewhere")
	for _, name := range []string{filepath.Join(target, "f"), elsewhere} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(elsewhere, filepath.Join(target, "l")); err != nil {
		t.Fatal(err)
	}
	for _, member := range []string{"d/f", "d/l"} {
		if _, err := Unpack(tarOf(t, "d/", member), "d", Target{Name: target}); err == nil || !strings.Contains(err.Error(), "is there already") {
			t.Errorf("%s: got error %v", member, err)
		}
	}
	if _, err := Unpack(tarOf(t, "d/", "d/f", "d/l"), "d", Target{Name: target, Force: true}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{filepath.Join(target, "f"): "d/f", filepath.Join(target, "l"): "d/l", elsewhere: "mine"} {
		if data, err := os.ReadFile(name); err != nil || string(data) != want {
			t.Errorf("%s holds %q, %v; want %q", name, data, err, want)
		}
	}
	if fi, err := os.Stat(filepath.Join(target, "f")); err != nil || fi.Mode() != 0o755 && fi.Mode() != 0o700 || fi.ModTime().Unix() != 1e9 {
		t.Errorf("file is %v, %v", fi, err)
	}
}

func TestWhatIsReplacedStaysUntilTheNewIsWhole(t *testing.T) {
	whole := tarOf(t, "d").Bytes()
	dir := t.TempDir()
	target := filepath.Join(dir, "t")
	if err := os.WriteFile(target, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Unpack(bytes.NewReader(whole[:512]), "d", Target{Name: target, Force: true}); err == nil {
		t.Error("wanted an error")
	}
	if data, err := os.ReadFile(target); err != nil || string(data) != "mine" {
		t.Errorf("what was there is %q, %v", data, err)
	}
	if got := tree(t, dir); got != "t" {
		t.Errorf("left %q", got)
	}
}

func TestADirectoryKeepsItsMode(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{"d/", "d/e/"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o500}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "t")
	if _, err := Unpack(&b, "d", Target{Name: target}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{target, filepath.Join(target, "e")} {
		if fi, err := os.Stat(name); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("%s is %v, %v; wanted 0700: its own mode, and what tg needs", name, fi, err)
		}
	}
}

func TestAFileThatIsCutOffGoes(t *testing.T) {
	whole := tarOf(t, "d/", "d/f").Bytes()
	dir := t.TempDir()
	if _, err := Unpack(bytes.NewReader(whole[:1024+1]), "d", Target{Name: filepath.Join(dir, "t")}); err == nil {
		t.Error("wanted an error")
	}
	if got := tree(t, dir); got != "t/" {
		t.Errorf("left %q", got)
	}
}

func TestPackIsUnpackedAsItWas(t *testing.T) {
	src := filepath.Join(t.TempDir(), "src")
	long := strings.Repeat("x", 120)
	if err := os.MkdirAll(filepath.Join(src, "a", long), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"f", "a/g", "a/" + long + "/h"} {
		if err := os.WriteFile(filepath.Join(src, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../f", filepath.Join(src, "a", "l")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	sum, err := Pack(&b, src, "as", 0o755)
	size, sizeErr := Size(src)
	if err != nil || sizeErr != nil || sum.Files != 3 || sum.Bytes != size {
		t.Fatalf("packed %+v, %v; size %d, %v", sum, err, size, sizeErr)
	}
	dst := filepath.Join(t.TempDir(), "dst")
	if _, err := Unpack(&b, "as", Target{Name: dst}); err != nil {
		t.Fatal(err)
	}
	if got, want := tree(t, dst), tree(t, src); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzUnpack(f *testing.F) {
	for _, members := range [][]string{{"d/", "d/f"}, {"d/", "d/l -> ../x", "d/l/f"}, {"d"}, {"d/", "d/e/", "d/e/l -> ../f", "d/g => d/e/l"}, {"d/", "d/f", "d/g => d/f"}} {
		f.Add(tarOf(&testing.T{}, members...).Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "old"), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = Unpack(bytes.NewReader(data), "d", Target{Name: filepath.Join(dir, "t"), Force: true}) // most are refused
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.Name() != "t" && e.Name() != "old" {
				t.Errorf("%q lies beside the target", e.Name())
			}
		}
		if data, err := os.ReadFile(filepath.Join(dir, "old")); err != nil || string(data) != "mine" {
			t.Errorf("what was there is %q, %v", data, err)
		}
		leadsOut(t, filepath.Join(dir, "t"))
	})
}

// leadsOut fails for every link below top that leads elsewhere, be it by the name of
// something that is not there.
func leadsOut(t *testing.T, top string) {
	err := filepath.WalkDir(top, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink == 0 {
			return err
		}
		to, err := os.Readlink(at)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, filepath.Join(filepath.Dir(at), to))
		if filepath.IsAbs(to) || err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			t.Errorf("link %q leads out, to %q", at, to)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
