package recipes_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/pve"
)

// An archiveCase is what becomes of an archive after it was pulled and verified.
type archiveCase struct {
	name  string
	spoil func(t *testing.T, whole []byte) []byte
	want  string
}

// A member is one member of an archive.
type member struct {
	tar.Header
	data []byte
}

// repacked changes the members of an archive. It runs on the lab's side, where a
// test cannot be ended.
func repacked(change func(m []member) []member) func(*testing.T, []byte) []byte {
	return func(t *testing.T, whole []byte) []byte {
		t.Helper()
		var all []member
		r := tar.NewReader(bytes.NewReader(whole))
		h, err := r.Next()
		for ; err == nil; h, err = r.Next() {
			data, err := io.ReadAll(r)
			if err != nil {
				t.Error(err)
			}
			all = append(all, member{*h, data})
		}
		if !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for _, m := range change(all) {
			m.Size = int64(len(m.data))
			err := w.WriteHeader(&m.Header)
			if err == nil {
				_, err = w.Write(m.data)
			}
			if err != nil {
				t.Error(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		return out.Bytes()
	}
}

// edited changes the content of the members that match tells.
func edited(match, old, new string) func(*testing.T, []byte) []byte {
	return repacked(func(all []member) []member {
		for i, m := range all {
			if strings.HasPrefix(m.Name, match) {
				all[i].data = bytes.ReplaceAll(m.data, []byte(old), []byte(new))
			}
		}
		return all
	})
}

// index is a repacking with another index.json.
func index(text string) func(*testing.T, []byte) []byte {
	return repacked(func(all []member) []member {
		for i, m := range all {
			if m.Name == "index.json" {
				all[i].data = []byte(text)
			}
		}
		return all
	})
}

func hostileArchives() []archiveCase {
	none := strings.Repeat("0", 64)
	nested := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"digest":"sha256:` + none + `","size":1}]}`
	return []archiveCase{
		{"empty", func(*testing.T, []byte) []byte { return nil }, "tar: exit status 2"},
		{"cut off in the middle", func(_ *testing.T, whole []byte) []byte { return whole[:len(whole)/2] }, "tar: exit status 2"},
		{"compressed", func(t *testing.T, whole []byte) []byte {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			_, err := w.Write(whole)
			if err = errors.Join(err, w.Close()); err != nil {
				t.Error(err)
			}
			return b.Bytes()
		}, ""},
		{"a web page", func(*testing.T, []byte) []byte { return []byte("<html></html>\n") }, "tar: exit status 2"},
		{"members with ./ before them", repacked(func(all []member) []member {
			for i := range all {
				all[i].Name = "./" + all[i].Name
			}
			return all
		}), "tar: exit status 2"},
		{"no index", repacked(func(all []member) []member {
			var out []member
			for _, m := range all {
				if m.Name != "index.json" {
					out = append(out, m)
				}
			}
			return out
		}), "tar: exit status 2"},
		{"two indexes", repacked(func(all []member) []member {
			for _, m := range all {
				if m.Name == "index.json" {
					return append(all, m)
				}
			}
			return all
		}), "index.json: image manifest: invalid character"},
		{"an index that is no JSON", index("{"), "index.json: image manifest: unexpected end of JSON input"},
		{"an index without manifests", index(`{"schemaVersion":2,"manifests":[]}`), "index.json: image manifest names neither a config nor other manifests"},
		{"an index of two images", index(`{"schemaVersion":2,"manifests":[{"digest":"sha256:` + none + `"},{"digest":"sha256:` + none + `"}]}`), "archive lists 2 images; wanted 1"},
		{"an index that names what is not there", index(`{"schemaVersion":2,"manifests":[{"digest":"sha256:` + none + `"}]}`), "tar: exit status 2"},
		{"an index that names a path", index(`{"schemaVersion":2,"manifests":[{"digest":"sha256:../../etc/passwd"}]}`), `"sha256:../../etc/passwd" is no digest`},
		{"an index inside of the index", repacked(func(all []member) []member {
			digest := pve.Digest([]byte(nested))
			for i, m := range all {
				if m.Name == "index.json" {
					all[i].data = []byte(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"` + digest + `"}]}`)
				}
			}
			return append(all, member{tar.Header{Name: "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:"), Typeflag: tar.TypeReg, Mode: 0o644}, []byte(nested)})
		}), "archive holds an index inside of its index"},
		{"another manifest under its digest", edited("blobs/", `"schemaVersion":2`, `"schemaVersion": 2`), "archive has blob sha256:"},
		{"another config under its digest", edited("blobs/", "PATH=/bin", "PATH=/tmp"), "archive has blob sha256:"},
		{"a config with a newline", edited("blobs/", "PATH=/bin", `PATH=/b\n`), "archive has blob sha256:"},
		{"another layer under its digest", edited("blobs/", "PRETTY_NAME", "PRETTY_LAME"), "Error while extracting OCI image"},
		{"the archive of another image", nil, "the config in the archive is not the one that the registry showed"},
	}
}

// hostileArchivesRun replaces the archive when it has just got its final name.
func hostileArchivesRun(t *testing.T) int {
	ran, cases := 0, hostileArchives()
	for i, c := range cases {
		if raceSkips(i) {
			continue
		}
		ran++
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "9.2")
			r.add(sound())
			spoil := c.spoil
			if spoil == nil {
				other := r.otherArchive()
				spoil = func(*testing.T, []byte) []byte { return other }
			}
			r.meddle(spoil)
			_, err := r.run("x.star", hostileApp, nil, quick)
			got := checkOneError(t, err)
			if !strings.Contains(got, c.want) || !strings.HasPrefix(got, "x.star:3:1: pct_create/c: ") || !strings.Contains(got, "pvesm free local:vztmpl/") {
				t.Errorf("error is\n%s\nwant it at x.star:3:1, to hold %q and to say what to remove", got, c.want)
			}
			if guests := r.files("etc/pve/nodes"); len(guests) != 0 {
				t.Errorf("a container was made: %v", guests)
			}
			r.removeArchives()
			r.converges()
		})
	}
	return ran
}

// meddle changes the archive when it has just got its final name.
func (r *rig) meddle(spoil func(*testing.T, []byte) []byte) {
	named := func(argv []string) bool { return argv[0] == "mv" && strings.HasSuffix(argv[len(argv)-1], ".tar") }
	r.lab.Fault(lab.Fault{Match: named, When: lab.After, Do: lab.Pause, Then: func(argv []string) { r.change(argv[len(argv)-1], spoil) }})
}

// otherArchive returns the archive of an image that is sound, and another one.
func (r *rig) otherArchive() []byte {
	r.t.Helper()
	spec := sound()
	spec.Env = []string{"PATH=/other"}
	if _, err := r.lab.AddImage("ghcr.io/hostile/other:v1", spec); err != nil {
		r.t.Fatal(err)
	}
	var said bytes.Buffer
	if exit := r.lab.Exec(r.t.Context(), []string{"skopeo", "copy", "docker://ghcr.io/hostile/other:v1", "oci-archive:/root/other.tar"}, nil, nil, &said); exit != 0 {
		r.t.Fatalf("skopeo: %s", said.String())
	}
	data, err := os.ReadFile(filepath.Join(r.lab.Root(), "root/other.tar"))
	if err != nil {
		r.t.Fatal(err)
	}
	return data
}

// change changes a file of the node behind its back.
func (r *rig) change(name string, of func(*testing.T, []byte) []byte) {
	r.t.Helper()
	name = filepath.Join(r.lab.Root(), name)
	data, err := os.ReadFile(name)
	if err != nil {
		r.t.Error(err)
		return
	}
	if err := os.WriteFile(name, of(r.t, data), 0o600); err != nil {
		r.t.Error(err)
	}
}

// changeBlob changes the blobs of the store that hold a text, or have it in their name.
func (r *rig) changeBlob(text string, of func(*testing.T, []byte) []byte) {
	r.t.Helper()
	changed := false
	for name, data := range r.files("var/lib/tengil/store/blobs") {
		if strings.Contains(data, text) || strings.HasSuffix(text, path.Base(name)) {
			r.change(name, of)
			changed = true
		}
	}
	if !changed {
		r.t.Errorf("no blob of the store has %q", text)
	}
}

// removeArchives removes all archives, as the hint says.
func (r *rig) removeArchives() {
	r.t.Helper()
	for name := range r.files("var/lib/vz/template/cache") {
		var said bytes.Buffer
		if exit := r.lab.Exec(r.t.Context(), []string{"pvesm", "free", "local:vztmpl/" + path.Base(name)}, nil, nil, &said); exit != 0 {
			r.t.Errorf("pvesm free: %s", said.String())
		}
	}
}

// A registryCase is a registry that does not do what it should.
type registryCase struct {
	name string
	ref  string // "" is hostileRef
	make func(*testing.T, *rig)
	want string
}

func trouble(what lab.Trouble) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		if err := r.lab.SetCondition(lab.Condition{Kind: lab.BadRegistry, On: "ghcr.io", Trouble: what}); err != nil {
			t.Fatal(err)
		}
	}
}

// says makes skopeo print something else for the planned digest.
func says(flag, text string) func(*testing.T, *rig) {
	return func(_ *testing.T, r *rig) {
		r.lab.Fault(lab.Fault{Match: func(argv []string) bool {
			return len(argv) > 3 && argv[0] == "skopeo" && argv[1] == "inspect" && argv[2] == flag && strings.Contains(argv[3], "@sha256:")
		}, Do: lab.Replace, Text: text})
	}
}

func hostileRegistries() []registryCase {
	return []registryCase{
		{"too many requests", "", trouble(lab.Busy), "pull rate limit"},
		{"an internal error", "", trouble(lab.ServerError), "500"},
		{"out of service", "", trouble(lab.Unavailable), "503"},
		{"connections that break in a blob", "", trouble(lab.CutBlobs), "connection reset"},
		{"blobs shorter than they are said to be", "", trouble(lab.ShortBlobs), "unexpected EOF"},
		{"blobs with another content", "", trouble(lab.WrongBlobs), ""},
		{"blobs that are unknown", "", trouble(lab.NoBlobs), "blob"},
		{"a manifest that is cut off", "", trouble(lab.BadManifests), "ghcr.io sent no manifest for ghcr.io/hostile/image:v1: wanted JSON, got "},
		{"a web page for a manifest", "", trouble(lab.WrongManifest), `ghcr.io sent no manifest for ghcr.io/hostile/image:v1: wanted JSON, got 61 bytes that begin with "<html>`},
		{"redirects in a circle", "", trouble(lab.RedirectLoop), "stopped after 10 redirects"},
		{"a tag that does not exist", "ghcr.io/hostile/image:nosuch", nil, "the registry has no ghcr.io/hostile/image:nosuch"},
		{"a repository that does not exist", "ghcr.io/hostile/nosuch:v1", nil, "ghcr.io/hostile/nosuch:v1"},
		{"a registry that does not exist", "registry.invalid/x:v1", nil, "registry.invalid"},
		{"a digest that does not exist", "ghcr.io/hostile/image@sha256:" + strings.Repeat("0", 64), nil, "sha256:000000"},
		{"another manifest under the digest", "", says("--raw", `{"schemaVersion":2,"config":{"digest":"sha256:`+strings.Repeat("0", 64)+`"},"layers":[]}`), "registry sent something else than the digest says: manifest sha256:"},
		{"nothing under the digest", "", says("--raw", ""), "registry sent something else than the digest says: manifest sha256:"},
		{"a web page for a config", "", says("--config", "<html></html>"), "skopeo inspect --config docker://ghcr.io/hostile/image@sha256:"},
		{"null for a config", "", says("--config", "null"), "wanted the digests of layers"},
		{"a config with a newline under the digest", "", says("--config", `{"architecture":"amd64","os":"linux","config":{"Env":["A=1\nonboot: 0"]},"rootfs":{"diff_ids":["x"]}}`), "holds the control character U+000A"},
		{"a config of another image under the digest", "", says("--config", `{"architecture":"amd64","os":"linux","config":{"Env":["A=1"],"Cmd":["/bin/sh"]},"rootfs":{"diff_ids":["x"]}}`), "what was pulled is not the image: the config in the archive is not the one"},
	}
}

func hostileRegistriesRun(t *testing.T) int {
	cases := hostileRegistries()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "9.2")
			r.add(sound())
			if c.make != nil {
				c.make(t, r)
			}
			text := hostileApp
			if c.ref != "" {
				text = strings.Replace(text, hostileRef, c.ref, 1)
			}
			before, mark := r.state(), len(r.lab.Log())
			_, err := r.run("x.star", text, nil, quick)
			got := checkOneError(t, err)
			if !strings.Contains(got, c.want) || !strings.HasPrefix(got, "x.star:2:7: oci_pull/") {
				t.Errorf("error is\n%s\nwant it at x.star:2:7, and to hold %q", got, c.want)
			}
			if !strings.Contains(got, "hint: ") && !errors.Is(err, engine.ErrTransient) {
				t.Errorf("the error does not say what to do:\n%s", got)
			}
			r.checkNothingMade(before, mark)
			if _, err := r.lab.ClearConditions(lab.BadRegistry, ""); err != nil {
				t.Fatal(err)
			}
			r.converges()
		})
	}
	return len(cases)
}
