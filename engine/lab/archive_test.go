package lab

import (
	"archive/tar"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tengil/tengil/engine/pve"
)

// Short forms of layer entries.
func file(name, content string) LayerEntry {
	return LayerEntry{Header: tar.Header{Name: name}, Content: content}
}

func dir(name string) LayerEntry {
	return LayerEntry{Header: tar.Header{Name: name, Typeflag: tar.TypeDir}}
}

func symlink(name, target string) LayerEntry {
	return LayerEntry{Header: tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink, Mode: 0o777}}
}

func hardlink(name, target string) LayerEntry {
	return LayerEntry{Header: tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeLink}}
}

// below is the first layer of the captured layer images.
// treeOf lists what is below a directory: content of files, targets of links.
// compareFiles checks that Files, which merges without unpacking, shows what
// unpacking makes.
func TestOpenArchiveTakesTheConfig(t *testing.T) {
	spec := ImageSpec{
		Entrypoint: []string{"/entry"}, Cmd: []string{"-a", "b c"}, Env: []string{"PATH=/bin", "X= y\t"},
		User: "www:www", WorkingDir: "/w", Volumes: []string{"/data", "/a"}, Ports: []string{"80/tcp"},
		StopSignal: "SIGINT", Labels: map[string]string{"l": "v"}, Files: map[string]string{"etc/passwd": "root\n"},
	}
	n := imageNode(t)
	a := pulled(t, n, spec)
	want := pve.ImageConfig{
		Arch: "amd64", OS: "linux", Entrypoint: spec.Entrypoint, Cmd: spec.Cmd, Env: spec.Env, User: "www:www",
		WorkingDir: "/w", Volumes: []string{"/a", "/data"}, ExposedPorts: spec.Ports, StopSignal: "SIGINT", Labels: spec.Labels,
	}
	if diff := cmp.Diff(want, a.Config, cmpopts.IgnoreFields(pve.ImageConfig{}, "DiffIDs")); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if want := mustBuild(t, spec).digest(); a.Digest != want {
		t.Errorf("digest = %s, want that of the registry %s", a.Digest, want)
	}
	fromRegistry, err := pve.ParseImageConfig([]byte(mustRun(t, n, "skopeo", "inspect", "--config", "docker://test.example/img:v1")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fromRegistry, a.Config); diff != "" {
		t.Errorf("config in the archive differs from the registry's (-registry +archive):\n%s", diff)
	}
}

func TestOpenArchiveRefuses(t *testing.T) {
	plain := ImageSpec{Layers: [][]LayerEntry{{file("f", "x")}}}
	const unknown = "Error while extracting OCI image: Unknown layer digest %s found in rootfs.diff_ids"
	diffID := digestOf(mustPack(t, plain.Layers[0]))
	tamper := func(f func(*RawLayer)) ImageSpec {
		s := plain
		s.Raw = func(r *RawImage) { f(&r.Layers[0]) }
		return s
	}
	tests := []struct {
		name string
		spec ImageSpec
		err  string
	}{
		{"an encrypted layer", tamper(func(l *RawLayer) { l.MediaType += "+encrypted" }), fmt.Sprintf(unknown, diffID)},
		{"a layer of Docker's media type", tamper(func(l *RawLayer) { l.MediaType = mediaDockerLayer }), fmt.Sprintf(unknown, diffID)},
		{"a wrong diff_id", tamper(func(l *RawLayer) { l.DiffID = "sha256:" + strings.Repeat("0", 64) }), fmt.Sprintf(unknown, "sha256:"+strings.Repeat("0", 64))},
		{"a layer cut off", tamper(func(l *RawLayer) { l.Blob = l.Blob[:len(l.Blob)/2] }), "Error while extracting OCI image: IO error: corrupt deflate stream"},
		{"a blob that is not its digest", tamper(func(l *RawLayer) { l.Digest, l.Blob = digestOf(l.Blob), l.Blob[:len(l.Blob)/2] }), "Error while extracting OCI image: IO error: corrupt deflate stream"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := imageNode(t)
			p := mustBuild(t, tt.spec)
			put(t, n, "/img.tar", layoutTar(t, p, "", entriesOf(p)))
			a, err := n.openArchive("/img.tar")
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Unpack(t.TempDir()); err == nil || err.Error() != tt.err {
				t.Errorf("error = %v\nwant    %s", err, tt.err)
			}
		})
	}
}

func mustPack(t *testing.T, entries []LayerEntry) []byte {
	t.Helper()
	data, err := packTar(entries)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestFirstManifestWins(t *testing.T) {
	n := imageNode(t)
	p := mustBuild(t, ImageSpec{Platforms: []string{"arm64", "amd64"}, Files: map[string]string{"f": "x"}})
	all := entriesOf(p) // arm64, amd64, index
	put(t, n, "/multi.tar", layoutTar(t, p, "", all[:2]))
	a, err := n.openArchive("/multi.tar")
	if err != nil {
		t.Fatal(err)
	}
	if a.Config.Arch != "arm64" || a.Digest != all[0].Digest {
		t.Errorf("took %s %s, want the first, arm64 %s", a.Config.Arch, a.Digest, all[0].Digest)
	}
	put(t, n, "/nested.tar", layoutTar(t, p, "", all[2:]))
	_, err = n.openArchive("/nested.tar")
	if want := "Error while parsing OCI image: Unsupported CPU architecture"; err == nil || err.Error() != want {
		t.Errorf("index in the index: error = %v, want %s", err, want)
	}
}

func TestOCIArchiveDetection(t *testing.T) {
	p := mustBuild(t, ImageSpec{Files: map[string]string{"f": "x"}})
	whole := layoutTar(t, p, "", entriesOf(p))
	tests := []struct {
		name, path string
		data       []byte
		want       bool
		err        string
	}{
		{"an OCI archive", "/a.tar", whole, true, ""},
		{"names that begin with ./", "/a.tar", layoutTar(t, p, "./", entriesOf(p)), false, ""},
		{"another suffix", "/a.tar.gz", whole, false, ""},
		{"an upper-case suffix", "/a.TAR", whole, false, ""},
		{"a root file system", "/a.tar", mustPack(t, []LayerEntry{file("etc/passwd", "x")}), false, ""},
		{"an empty file", "/a.tar", nil, false, "command 'tar -tf /a.tar' failed: exit code 2"},
		{"an archive cut off", "/a.tar", whole[:len(whole)/2], false, "command 'tar -tf /a.tar' failed: exit code 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := imageNode(t)
			put(t, n, tt.path, tt.data)
			got, err := n.isOCIArchive(tt.path)
			if got != tt.want || (err != nil || tt.err != "") && fmt.Sprint(err) != tt.err {
				t.Errorf("= %v, %v; want %v, %q", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestOpenArchiveBelowAClosedDirectory(t *testing.T) {
	n := imageNode(t)
	p := mustBuild(t, ImageSpec{Files: map[string]string{"f": "x"}})
	put(t, n, "/root/img.tar", layoutTar(t, p, "", entriesOf(p)))
	if _, err := n.openArchive("/root/img.tar"); err != nil {
		t.Fatalf("with an open directory: %v", err)
	}
	n.setOwner("/root", owner{Mode: 0o700})
	_, err := n.openArchive("/root/img.tar")
	if want := "Error while parsing OCI image: IO error: Permission denied (os error 13)"; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

func TestFilesFollowsLinks(t *testing.T) {
	a := pulled(t, imageNode(t), ImageSpec{Layers: [][]LayerEntry{
		{dir("usr/lib/"), file("usr/lib/os-release", "ID=a\n"), symlink("etc/os-release", "../usr/lib/os-release"), symlink("lib", "/usr/lib"), symlink("loop", "loop"), symlink("up", "../../../../usr/lib/os-release")},
		{file("usr/lib/os-release", "ID=b\n")},
	}})
	got, err := a.Files("etc/os-release", "/lib/os-release", "up", "loop", "usr", "nothing")
	if err != nil {
		t.Fatal(err)
	}
	b := []byte("ID=b\n")
	if diff := cmp.Diff(map[string][]byte{"etc/os-release": b, "/lib/os-release": b, "up": b}, got); diff != "" {
		t.Errorf("Files (-want +got):\n%s", diff)
	}
}
