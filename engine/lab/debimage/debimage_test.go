package debimage

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func describe(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		at := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAnImageComesAfterTheOneItAddsTo(t *testing.T) {
	images, err := load(describe(t, map[string]string{
		"a/image.json": `{"from": "b"}`, "b/image.json": `{"from": "c"}`, "c/image.json": `{"packages": ["dash"]}`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, i := range images {
		got += i.name
	}
	if got != "cba" {
		t.Errorf("order %q, want cba", got)
	}
}

func TestDescriptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"a circle":            {"a/image.json": `{"from": "b"}`, "b/image.json": `{"from": "a"}`},
		"one that is missing": {"a/image.json": `{"from": "b"}`},
		"an unknown field":    {"a/image.json": `{"package": []}`},
		"none at all":         {},
	} {
		t.Run(name, func(t *testing.T) {
			if images, err := load(describe(t, files)); err == nil {
				t.Errorf("it was taken: %v", images)
			}
		})
	}
}

// What an image is known by in the cache changes with all that goes into it and
// into those below it.
func TestTheKeyChangesWithWhatGoesIn(t *testing.T) {
	files := map[string]string{
		"a/image.json": `{"packages": ["dash"]}`, "b/image.json": `{"from": "a"}`, "b/root/etc/motd": "hello", "c/image.json": `{}`,
	}
	keys := func() map[string]string {
		images, err := load(describe(t, files))
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, i := range images {
			out[i.name] = i.key
		}
		return out
	}
	before := keys()
	files["b/root/etc/motd"] = "good bye"
	changed := keys()
	if changed["b"] == before["b"] || changed["a"] != before["a"] || changed["c"] != before["c"] {
		t.Errorf("a file of b changed: keys %v, were %v", changed, before)
	}
	files["a/image.json"] = `{"packages": ["bash"]}`
	if again := keys(); again["b"] == changed["b"] || again["a"] == changed["a"] || again["c"] != changed["c"] {
		t.Errorf("the packages of a changed: keys %v, were %v", again, changed)
	}
}

// Packages ship files below /bin, which is a link in an image: an entry there
// must not take its place.
func TestFilesOfPackagesLandInAMergedUsr(t *testing.T) {
	var deb bytes.Buffer
	w := tar.NewWriter(&deb)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "./bin/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "./bin/tool", Mode: 0o755},
		{Typeflag: tar.TypeLink, Name: "./bin/other", Linkname: "./bin/tool"},
		{Typeflag: tar.TypeDir, Name: "./usr/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "./usr/share/doc/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "./usr/share/doc/tool/README", Mode: 0o644},
		{Typeflag: tar.TypeReg, Name: "./usr/lib/postgresql/15/bin/psql", Mode: 0o755},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	l := &layerWriter{tar: tar.NewWriter(&layer), made: map[string]bool{}, links: "usr/lib/postgresql/*/bin"}
	if err := errors.Join(l.skeleton(), l.unpack(tar.NewReader(&deb)), l.tar.Close()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(&layer); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimSuffix(h.Name+" > "+h.Linkname, " > "))
	}
	want := "usr/bin,usr/lib,usr/lib64,usr/sbin,bin > usr/bin,lib > usr/lib,lib64 > usr/lib64,sbin > usr/sbin,var/lock > /run/lock,var/run > /run," +
		"etc/nsswitch.conf,usr/bin/tool,usr/bin/other > usr/bin/tool,usr,usr/lib/postgresql/15/bin/psql,usr/local/bin/psql > /usr/lib/postgresql/15/bin/psql"
	if strings.Join(got, ",") != want {
		t.Errorf("the layer holds\n%s\nwant\n%s", strings.Join(got, ","), want)
	}
}
