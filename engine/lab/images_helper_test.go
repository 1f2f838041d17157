package lab

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine/lab/labtest"
)

// imageNode returns a node that has no programs but those of images.
func imageNode(t *testing.T) *node {
	t.Helper()
	n := &node{
		name: "pve1", dir: labtest.TempDir(t), pve: "6.1.10",
		programs: imagePrograms(), log: slog.New(slog.DiscardHandler), cut: func() {},
	}
	for _, dir := range []string{"/root/sk", "/var/tmp", "/run"} {
		if err := n.mkdirAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// An outcome is what a program did, as a transcript records it.
type outcome struct {
	Exit           int
	Stdout, Stderr string
}

// runOn runs a program of the node from /root.
func runOn(t *testing.T, n *node, stdin string, argv ...string) outcome {
	t.Helper()
	var out, err bytes.Buffer
	exit := n.exec(t.Context(), argv, nil, "/root", strings.NewReader(stdin), &out, &err)
	return outcome{exit, out.String(), err.String()}
}

// mustRun runs a program that has to succeed and returns what it printed.
func mustRun(t *testing.T, n *node, argv ...string) string {
	t.Helper()
	o := runOn(t, n, "", argv...)
	if o.Exit != 0 || o.Stderr != "" {
		t.Fatalf("%q: exit %d, stderr %q; want 0 and nothing", argv, o.Exit, o.Stderr)
	}
	return o.Stdout
}

func addImage(t *testing.T, n *node, ref string, spec ImageSpec) string {
	t.Helper()
	digest, err := (&Lab{node: n}).AddImage(ref, spec)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// pulled puts an image through the registry and skopeo into /img.tar and opens it;
// the archive is closed when the test ends.
func pulled(t *testing.T, n *node, spec ImageSpec) *ociArchive {
	t.Helper()
	addImage(t, n, "test.example/img:v1", spec)
	mustRun(t, n, "skopeo", "copy", "-q", "docker://test.example/img:v1", "oci-archive:/img.tar")
	return opened(t, n)
}

// opened is the archive /img.tar, which is closed when the test ends.
func opened(t *testing.T, n *node) *ociArchive {
	t.Helper()
	a, err := n.openArchive("/img.tar")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// layoutTar packs an image as an OCI archive with the given names before its
// members and entries in its index, as no tool would.
func layoutTar(t *testing.T, p push, prefix string, index []descriptor) []byte {
	t.Helper()
	data, err := json.Marshal(manifest{SchemaVersion: 2, Manifests: index})
	if err != nil {
		t.Fatal(err)
	}
	blobs := maps.Clone(p.blobs)
	for _, m := range p.manifests {
		blobs[m.Digest] = m.Data
	}
	entries := []LayerEntry{
		{Header: tar.Header{Name: prefix + "blobs/", Typeflag: tar.TypeDir}},
		{Header: tar.Header{Name: prefix + "blobs/sha256/", Typeflag: tar.TypeDir}},
	}
	for _, d := range slices.Sorted(maps.Keys(blobs)) {
		entries = append(entries, LayerEntry{Header: tar.Header{Name: prefix + blobName(d)}, Content: string(blobs[d])})
	}
	entries = append(entries,
		LayerEntry{Header: tar.Header{Name: prefix + "index.json"}, Content: string(data)},
		LayerEntry{Header: tar.Header{Name: prefix + "oci-layout"}, Content: `{"imageLayoutVersion": "1.0.0"}`})
	packed, err := packTar(entries)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// entriesOf returns the descriptors of all images of p, in order.
func entriesOf(p push) []descriptor {
	var all []descriptor
	for _, m := range p.manifests {
		all = append(all, descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Data))})
	}
	return all
}

func mustBuild(t *testing.T, spec ImageSpec) push {
	t.Helper()
	p, err := buildImage(spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func put(t *testing.T, n *node, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(n.host(name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}
