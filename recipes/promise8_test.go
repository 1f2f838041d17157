package recipes_test

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/plan"
)

// 8. An image is checked before the node trusts it: its digest is verified, its
// config inspected for control characters, its platform matched; and what is
// unpacked is what was checked, whatever a registry or the node does in between.
func TestPromise8ImagesAreChecked(t *testing.T) {
	var checked atomic.Int64
	t.Run("cases", func(t *testing.T) {
		for _, release := range releases {
			for _, c := range promise8 {
				t.Run(release+" "+c.name, func(t *testing.T) {
					t.Parallel()
					checked.Add(1)
					r := newRig(t, release)
					digest := r.add(sound())
					c.run(t, r, digest)
					r.checkStaysInside()
				})
			}
		}
	})
	t.Logf("%d cases", checked.Load())
	if want := int64(len(releases) * len(promise8)); checked.Load() != want {
		t.Errorf("%d cases ran, want %d", checked.Load(), want)
	}
}

// evil is an image that adds lines to a container's config, if it can.
func evil() lab.ImageSpec {
	spec := sound()
	spec.Env = append(spec.Env, "A=1\nonboot: 0")
	return spec
}

// inspecting matches "skopeo inspect FLAG" of the tag.
func inspecting(flag string) func(argv []string) bool {
	return func(argv []string) bool {
		return len(argv) > 3 && argv[0] == "skopeo" && argv[2] == flag && argv[3] == "docker://"+hostileRef
	}
}

var promise8 = []struct {
	name string
	run  func(t *testing.T, r *rig, digest string)
}{
	{"control characters in the config", func(t *testing.T, r *rig, _ string) {
		r.add(evil())
		r.mustRefuse("holds the control character U+000A")
	}},
	{"another platform", func(t *testing.T, r *rig, _ string) {
		spec := sound()
		spec.Arch = "arm64"
		r.add(spec)
		r.mustRefuse(`image is for "linux/arm64", wanted "linux/amd64"`)
	}},
	{"a layer with another digest", func(t *testing.T, r *rig, _ string) {
		spec := sound()
		layers(func(l *lab.RawLayer) { l.Digest = "sha256:" + strings.Repeat("0", 64) })(&spec)
		r.add(spec)
		r.mustRefuse("Digest did not match")
	}},
	{"a layer with another diff_id", func(t *testing.T, r *rig, _ string) {
		spec := sound()
		layers(func(l *lab.RawLayer) { l.DiffID = "sha256:" + strings.Repeat("0", 64) })(&spec)
		r.add(spec)
		r.mustRefuse("Unknown layer digest")
	}},
	{"another manifest under the planned digest", func(t *testing.T, r *rig, _ string) {
		says("--raw", "{}")(t, r)
		r.mustRefuse("registry sent something else than the digest says")
	}},
	{"another config than the archive has", func(t *testing.T, r *rig, _ string) {
		says("--config", `{"architecture":"amd64","os":"linux","config":{"Env":["A=1"],"Cmd":["/bin/sh"]},"rootfs":{"diff_ids":["x"]}}`)(t, r)
		r.mustRefuse("the config in the archive is not the one that the registry showed")
	}},
	{"a tag that moves between the plan and the run", func(t *testing.T, r *rig, digest string) {
		p := r.mustPlan("x.star", hostileApp, nil)
		r.add(evil())
		if _, err := exec.Run(t.Context(), p, r.host, quick); err != nil {
			t.Fatal(err)
		}
		r.mustBeOf(digest)
	}},
	{"a tag that moves between manifest and config", func(t *testing.T, r *rig, digest string) {
		r.lab.Fault(lab.Fault{Match: inspecting("--raw"), When: lab.After, Do: lab.Pause, Then: func([]string) { _, _ = r.lab.AddImage(hostileRef, evil()) }})
		if p, err := r.plan("x.star", hostileApp, nil); err == nil {
			if _, err := exec.Run(t.Context(), p, r.host, quick); err != nil {
				t.Fatal(err)
			}
			r.mustBeOf(digest)
		} else if !strings.Contains(err.Error(), "holds the control character") {
			t.Error(err)
		}
		r.mustBeClean()
	}},
	{"a tag that moves while the image is copied", func(t *testing.T, r *rig, digest string) {
		r.lab.Fault(lab.Fault{Prefix: []string{"skopeo", "copy"}, Do: lab.Pause, Then: func([]string) { _, _ = r.lab.AddImage(hostileRef, evil()) }})
		r.mustRun("x.star", hostileApp, nil)
		r.mustBeOf(digest)
	}},
	{"a pull that is replaced before it is verified", func(t *testing.T, r *rig, digest string) {
		for _, changed := range []string{"PATH=/bin", digest} { // in the config; of the manifest all
			r.lab.Fault(lab.Fault{Prefix: []string{"skopeo", "copy"}, When: lab.After, Do: lab.Pause, Then: func([]string) {
				r.changeBlob(changed, func(_ *testing.T, data []byte) []byte { return bytes.ToUpper(data) })
			}})
			r.mustRefuse("what was pulled is not the image: ")
		}
		r.converges()
	}},
	{"a blob of an earlier pull that was damaged since", func(t *testing.T, r *rig, digest string) {
		r.mustRun("x.star", strings.Join(strings.Split(hostileApp, "\n")[:2], "\n")+"\n", nil)
		r.changeBlob("PATH=/bin", func(_ *testing.T, data []byte) []byte { return append(data, ' ') })
		r.removeArchives()
		r.mustRun("x.star", hostileApp, nil) // the size tells before anything is done
		r.mustBeOf(digest)
	}},
	{"a layer of an earlier pull that is cut short", func(t *testing.T, r *rig, digest string) {
		r.mustRun("x.star", strings.Join(strings.Split(hostileApp, "\n")[:2], "\n")+"\n", nil)
		r.changeBlob("\x1f\x8b\x08", func(_ *testing.T, data []byte) []byte { return data[:len(data)/2] }) // how gzip begins
		r.removeArchives()
		r.mustRun("x.star", hostileApp, nil)
		r.mustBeOf(digest)
	}},
	{"a blob that is damaged while the archive is gone", func(t *testing.T, r *rig, digest string) {
		r.mustRun("x.star", strings.Join(strings.Split(hostileApp, "\n")[:2], "\n")+"\n", nil)
		r.changeBlob("PATH=/bin", func(_ *testing.T, data []byte) []byte {
			return bytes.ReplaceAll(data, []byte("linux"), []byte("Linux"))
		})
		r.removeArchives()
		r.mustRefuse("cannot replace it")
		r.mustRun("x.star", hostileApp, nil)
		r.mustBeOf(digest)
	}},
	{"an archive that is replaced before it is unpacked", func(t *testing.T, r *rig, _ string) {
		other := r.otherArchive()
		r.meddle(func(*testing.T, []byte) []byte { return other })
		r.mustRefuse("the config in the archive is not the one that the registry showed")
		r.removeArchives()
		r.converges()
	}},
	{"an archive that is damaged before it is unpacked", func(t *testing.T, r *rig, _ string) {
		r.meddle(edited("blobs/", "PRETTY_NAME", "PRETTY_LAME"))
		r.mustRefuse("Error while extracting OCI image")
		r.removeArchives()
		r.converges()
	}},
	{"an archive of an earlier run that was damaged since", func(t *testing.T, r *rig, _ string) {
		pull := strings.Join(strings.Split(hostileApp, "\n")[:2], "\n") + "\n"
		r.mustRun("x.star", pull, nil)
		for name := range r.files("var/lib/vz/template/cache") {
			r.change(name, edited("blobs/", "PATH=/bin", "PATH=/tmp"))
		}
		r.mustRefuse("archive has blob sha256:")
		r.removeArchives()
		r.converges()
	}},
	{"a pull that was cut", func(t *testing.T, r *rig, digest string) {
		r.lab.Fault(lab.Fault{Prefix: []string{"skopeo", "copy"}, When: lab.During, Do: lab.Kill})
		_, _ = r.run("x.star", hostileApp, nil, quick)
		r.mustRun("x.star", hostileApp, nil)
		r.mustBeOf(digest)
	}},
	{"a pull that was cut and whose part was replaced", func(t *testing.T, r *rig, digest string) {
		r.lab.Fault(lab.Fault{Prefix: []string{"skopeo", "copy"}, When: lab.After, Do: lab.Kill, Then: func([]string) {
			r.changeBlob("PATH=/bin", func(*testing.T, []byte) []byte { return []byte("{}") })
		}})
		_, _ = r.run("x.star", hostileApp, nil, quick)
		r.mustRun("x.star", hostileApp, nil)
		r.mustBeOf(digest)
	}},
	{"facts of an image that somebody wrote", func(t *testing.T, r *rig, _ string) {
		r.mustRun("x.star", hostileApp, nil)
		for name := range r.files("var/lib/tengil/images") {
			r.change(name, func(_ *testing.T, data []byte) []byte {
				return []byte(strings.ReplaceAll(string(data), "PATH=/bin", `PATH=/bin\nonboot: 0`))
			})
		}
		r.mustRefuseIn("/var/lib/tengil/images/", "holds the control character U+000A")
	}},
}

// mustRefuse runs the application, which must end with one error, and no
// container and no file that somebody could take for a whole image.
func (r *rig) mustRefuse(want string) {
	r.t.Helper()
	_, err := r.run("x.star", hostileApp, nil, quick)
	if got := checkOneError(r.t, err); !strings.Contains(got, want) {
		r.t.Errorf("error is\n%s\nwant it to hold %q", got, want)
	}
	for name, text := range r.files("etc/pve/nodes", "var/lib/vz/template") {
		if strings.HasSuffix(name, ".conf") || strings.HasSuffix(name, ".partial") {
			r.t.Errorf("there is %s:\n%.300s", name, text)
		}
	}
}

// mustRefuseIn is mustRefuse where a container is there already.
func (r *rig) mustRefuseIn(wants ...string) {
	r.t.Helper()
	_, err := r.plan("x.star", hostileApp, nil)
	for _, want := range wants {
		if got := checkOneError(r.t, err); !strings.Contains(got, want) {
			r.t.Errorf("error is\n%s\nwant it to hold %q", got, want)
		}
	}
	r.mustBeClean()
}

// mustBeOf looks whether the one container is of the image with that digest, and
// another run has nothing to do.
func (r *rig) mustBeOf(digest string) {
	r.t.Helper()
	_, conf := r.confOf("x-c")
	if !strings.Contains(conf, strings.TrimPrefix(digest, "sha256:")) {
		r.t.Errorf("the container is not of %s:\n%s", digest, conf)
	}
	r.mustBeClean()
	if p := r.mustPlan("x.star", hostileApp, nil); !p.Empty() {
		r.t.Errorf("something is left to do:\n%s", plan.Text(p))
	}
}

// mustBeClean looks for lines in configs that an image has added.
func (r *rig) mustBeClean() {
	r.t.Helper()
	for name, text := range r.files("etc/pve/nodes") {
		r.checkConf(name, text)
	}
}
