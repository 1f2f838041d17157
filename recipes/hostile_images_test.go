package recipes_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/lab/labtest"
)

// hostileRef is where a case puts its image, and hostileApp a recipe that uses it.
const (
	hostileRef = "ghcr.io/hostile/image:v1"
	hostileApp = `recipe("x")
img = oci_pull("ghcr.io/hostile/image:v1")
pct_create("c", image = img, disk = "1G", ready = exec_ready(["/bin/sh", "-c", "true"]))
`
)

// sound returns an image without fault.
func sound() lab.ImageSpec {
	return lab.ImageSpec{Base: "debian12", Entrypoint: []string{"/bin/sh"}, Env: []string{"PATH=/bin"}, WorkingDir: "/tmp", StopSignal: "SIGTERM"}
}

// An imageCase is an image that must not become a container.
type imageCase struct {
	name string
	spec func(*lab.ImageSpec)
	want string // part of the one error
	late bool   // Proxmox alone can tell, while it unpacks or when it has
}

func env(entries ...string) func(*lab.ImageSpec) {
	return func(s *lab.ImageSpec) { s.Env = entries }
}

func layer(entries ...lab.LayerEntry) func(*lab.ImageSpec) {
	return func(s *lab.ImageSpec) { s.Layers = append(s.Layers, entries) }
}

func layers(change func(l *lab.RawLayer)) func(*lab.ImageSpec) {
	return func(s *lab.ImageSpec) {
		s.Raw = func(r *lab.RawImage) { change(&r.Layers[len(r.Layers)-1]) }
	}
}

func entry(name string, kind byte, link string) lab.LayerEntry {
	return lab.LayerEntry{Header: tar.Header{Name: name, Typeflag: kind, Linkname: link, Mode: 0o755}}
}

func textFile(name, content string) lab.LayerEntry {
	return lab.LayerEntry{Header: tar.Header{Name: name, Typeflag: tar.TypeReg}, Content: content}
}

// hostileConfigs are images whose config is at fault.
func hostileConfigs() []imageCase {
	return []imageCase{
		{name: "Env with a newline", spec: env("A=1\nonboot: 0"), want: `image Env[0] is "A=1\nonboot: 0" and holds the control character U+000A at byte 3`},
		{name: "Env with a carriage return", spec: env("A=1\ronboot: 0"), want: "image Env[0] is \"A=1\\ronboot: 0\" and holds the control character U+000D"},
		{name: "Env with a NUL", spec: env("A=1\x00B=2"), want: "holds the control character U+0000 at byte 3"},
		{name: "Env with an escape", spec: env("A=\x1b[2J"), want: "holds the control character U+001B at byte 2"},
		{name: "Env with a delete character", spec: env("A=\x7f"), want: "holds the control character U+007F"},
		{name: "Env with a next-line character", spec: env("A=x\u0085y"), want: "holds the control character U+0085"},
		{name: "Env with a newline in its name", spec: env("A\nB=1"), want: "image Env[0] is \"A\\nB=1\" and holds the control character U+000A at byte 1"},
		{name: "Env without an equals sign", spec: env("PATH=/bin", "NAME"), want: `image Env[1] is "NAME" without "=", with which no container starts`},
		{name: "Env without a name", spec: env("=x"), want: `image Env[0] is "=x"; wanted a name without blanks before "="`},
		{name: "Env with a blank in its name", spec: env("A B=1"), want: `image Env[0] is "A B=1"; wanted a name without blanks`},
		{name: "empty Env entry", spec: env(""), want: `image Env[0] is "" without "="`},
		{name: "WorkingDir with a newline", spec: func(s *lab.ImageSpec) { s.WorkingDir = "/srv\nlxc.init.uid: 0" }, want: "image WorkingDir is \"/srv\\nlxc.init.uid: 0\" and holds the control character U+000A at byte 4"},
		{name: "WorkingDir that is relative", spec: func(s *lab.ImageSpec) { s.WorkingDir = "srv" }, want: `image WorkingDir is "srv"; wanted an absolute path`},
		{name: "User with a newline", spec: func(s *lab.ImageSpec) { s.User = "a\nb" }, want: "image User is \"a\\nb\" and holds the control character U+000A"},
		{name: "User above 65535", spec: func(s *lab.ImageSpec) { s.User = "70000" }, want: `the image wants to run as user "70000"; an unprivileged container has ids from 0 to 65535`},
		{name: "group above 65535", spec: func(s *lab.ImageSpec) { s.User = "1000:100000" }, want: `the image wants to run as user "1000:100000"; an unprivileged container has ids from 0 to 65535`},
		{name: "Entrypoint with a newline", spec: func(s *lab.ImageSpec) { s.Entrypoint = []string{"/bin/sh", "-c", "a\nb"} }, want: "image Entrypoint[2] is \"a\\nb\" and holds the control character U+000A"},
		{name: "Cmd with a NUL", spec: func(s *lab.ImageSpec) { s.Cmd = []string{"a\x00b"} }, want: "image Cmd[0] is \"a\\x00b\" and holds the control character U+0000"},
		{name: "Entrypoint whose program is empty", spec: func(s *lab.ImageSpec) { s.Entrypoint = []string{""} }, want: "starts with an empty word"},
		{name: "Entrypoint with quotes of both kinds", spec: func(s *lab.ImageSpec) { s.Entrypoint = []string{"/bin/sh", "-c", `echo "it's" here`} }, want: "both"},
		{name: "neither Entrypoint nor Cmd", spec: func(s *lab.ImageSpec) { s.Entrypoint = nil }, want: "has neither entrypoint nor cmd"},
		{name: "Volume with a newline", spec: func(s *lab.ImageSpec) { s.Volumes = []string{"/data\nx"} }, want: "image Volumes[0] is \"/data\\nx\" and holds the control character U+000A"},
		{name: "Volume with a path out", spec: func(s *lab.ImageSpec) { s.Volumes = []string{"/../../etc"} }, want: `image Volumes[0] is "/../../etc"; wanted an absolute path without ".."`},
		{name: "Volume that is relative", spec: func(s *lab.ImageSpec) { s.Volumes = []string{"data"} }, want: `image Volumes[0] is "data"; wanted an absolute path without ".."`},
		{name: "StopSignal without SIG", spec: func(s *lab.ImageSpec) { s.StopSignal = "QUIT" }, want: `image StopSignal is "QUIT"; LXC wants a number or a name like SIGTERM`},
		{name: "StopSignal that is none", spec: func(s *lab.ImageSpec) { s.StopSignal = "SIGNOPE" }, want: `image StopSignal is "SIGNOPE"`},
		{name: "StopSignal with a newline", spec: func(s *lab.ImageSpec) { s.StopSignal = "SIGTERM\nx" }, want: "image StopSignal is \"SIGTERM\\nx\" and holds the control character U+000A"},
		{name: "another architecture", spec: func(s *lab.ImageSpec) { s.Arch = "arm64" }, want: `image is for "linux/arm64", wanted "linux/amd64"`},
		{name: "another operating system", spec: func(s *lab.ImageSpec) { s.OS = "windows" }, want: `image is for "windows/amd64", wanted "linux/amd64"`},
		{name: "an index without the platform", spec: func(s *lab.ImageSpec) { s.Platforms = []string{"arm64", "riscv64"} }, want: "image has no linux/amd64; it has linux/arm64, linux/riscv64"},
		{name: "a config of 5 MB", spec: func(s *lab.ImageSpec) { s.Labels = map[string]string{"x": strings.Repeat("x", 5<<20)} }, want: "registry answered with"},
		{name: "a thousand faults at once", spec: func(s *lab.ImageSpec) {
			s.Env = nil
			for i := range 1000 {
				s.Env = append(s.Env, fmt.Sprintf("A%d=\n", i))
			}
		}, want: "and 990 more"},
		{name: "User by a name that passwd lacks", spec: func(s *lab.ImageSpec) { s.User = "nobody-here" }, late: true, want: `the image wants to run as user "nobody-here", whom its /etc/passwd does not know`},
		{name: "User without a passwd", spec: func(s *lab.ImageSpec) {
			s.Base, s.User = "", "1000"
			s.Files = map[string]string{"bin/sh": "x", "etc/os-release": "ID=debian\nVERSION_ID=12\n", "etc/debian_version": "12.1\n"}
		}, late: true, want: "cannot resolve /etc/passwd path in container rootfs"},
		{name: "Volume that is a file", spec: func(s *lab.ImageSpec) { s.Volumes = []string{"/etc/passwd"} }, late: true, want: "mkdir //etc/passwd: File exists"},
	}
}

// hostileLayers are images whose layers are at fault.
func hostileLayers() []imageCase {
	other := "sha256:" + strings.Repeat("0", 64)
	return []imageCase{
		{name: "no layers", spec: func(s *lab.ImageSpec) { s.Base = "" }, want: "image has no layers, so nothing could be unpacked"},
		{name: "a layer of an unknown media type", spec: layers(func(l *lab.RawLayer) { l.MediaType = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted" }), want: `layer 1 of the image has media type "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"`},
		{name: "a layer that is no layer", spec: layers(func(l *lab.RawLayer) { l.MediaType = "text/html" }), want: `layer 1 of the image has media type "text/html"`},
		{name: "a layer without a media type", spec: layers(func(l *lab.RawLayer) { l.MediaType = "" }), want: `layer 1 of the image has media type ""`},
		{name: "a layer with another digest", spec: layers(func(l *lab.RawLayer) { l.Digest = other }), want: "Digest did not match"},
		{name: "a layer with another diff_id", spec: layers(func(l *lab.RawLayer) { l.DiffID = other }), late: true, want: "Unknown layer digest"},
		{name: "a layer that is cut off", spec: layers(func(l *lab.RawLayer) { l.Blob = l.Blob[:len(l.Blob)/2] }), late: true, want: "Error while extracting OCI image"},
		{name: "a layer that is no archive", spec: layers(func(l *lab.RawLayer) { l.Blob = []byte("<html>busy</html>") }), late: true, want: "Error while extracting OCI image"},
		{name: "a layer that is empty", spec: layers(func(l *lab.RawLayer) { l.Blob = nil }), late: true, want: "Error while extracting OCI image"},
		{name: "a manifest that declares a layer of 8 EiB", spec: manifestOf(func(m map[string]any) { layerOf(m)["size"] = int64(1) << 62 }), want: "wanted at most 1T"},
		{name: "a manifest that declares 40 layers of 1 TiB", spec: manifestOf(func(m map[string]any) {
			one := layerOf(m)
			one["size"] = int64(1) << 39
			m["layers"] = []any{one, one, one, one}
		}), want: "but its config tells the digests of 1"},
		{name: "a manifest that declares a negative size", spec: manifestOf(func(m map[string]any) { layerOf(m)["size"] = -1 }), want: "has size -1"},
		{name: "a manifest with a digest that is none", spec: manifestOf(func(m map[string]any) { layerOf(m)["digest"] = "sha256:../../etc/passwd" }), want: `"sha256:../../etc/passwd" is no digest`},
		{name: "a manifest with a digest of another kind", spec: manifestOf(func(m map[string]any) { layerOf(m)["digest"] = "sha512:" + strings.Repeat("0", 128) }), want: "is no digest; wanted sha256:"},
		{name: "a manifest of Docker's schema 1", spec: manifestOf(func(m map[string]any) { m["schemaVersion"] = 1 }), want: "image manifest has schemaVersion 1"},
		{name: "a manifest of a schema to come", spec: manifestOf(func(m map[string]any) { m["schemaVersion"] = 3 }), want: "image manifest has schemaVersion 3; wanted 2"},
		{name: "a manifest without a config", spec: manifestOf(func(m map[string]any) { delete(m, "config") }), want: "image manifest names neither a config nor other manifests"},
		{name: "a manifest that lists more layers than the config", spec: manifestOf(func(m map[string]any) { m["layers"] = append(m["layers"].([]any), layerOf(m)) }), want: "image has 2 layers, but its config tells the digests of 1"},
		{name: "a manifest of 5 MB", spec: manifestOf(func(m map[string]any) { m["annotations"] = map[string]string{"x": strings.Repeat("x", 5<<20)} }), want: "registry answered with"},
		{name: "a layer of 1 MB that unpacks to more than the disk holds", spec: layers(bomb), late: true, want: "failed to unpack"},
		{name: "ids above 65535", spec: layer(lab.LayerEntry{Header: tar.Header{Name: "big", Typeflag: tar.TypeReg, Uid: 70000}, Content: "x"}), late: true, want: "failed to unpack"},
		{name: "an entry below a link that leads out", spec: layer(entry("out", tar.TypeSymlink, "../../../.."), textFile("out/pwned", "x")), late: true, want: "Error while extracting OCI image"},
		{name: "an entry below an absolute link", spec: layer(entry("abs", tar.TypeSymlink, "/root"), textFile("abs/pwned", "x")), late: true, want: "Error while extracting OCI image"},
		{name: "a hard link to a file of the node", spec: layer(entry("shadow", tar.TypeLink, "../../../../../etc/shadow")), late: true, want: "Error while extracting OCI image"},
		{name: "a file where a directory was", spec: layer(textFile("bin/sh/x", "x")), late: true, want: "failed to unpack"},
	}
}

// bomb makes a layer one that unpacks to a thousand times its size.
func bomb(l *lab.RawLayer) {
	const size = 1<<30 + 1
	var packed bytes.Buffer
	zip, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is one
	}
	sum := sha256.New()
	w := tar.NewWriter(io.MultiWriter(zip, sum))
	zeros := make([]byte, 1<<20)
	err = w.WriteHeader(&tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Mode: 0o644, Size: size})
	for left := int64(size); err == nil && left > 0; left -= int64(len(zeros)) {
		_, err = w.Write(zeros[:min(left, int64(len(zeros)))])
	}
	if err = errors.Join(err, w.Close(), zip.Close()); err != nil {
		panic(err) // it is all in memory
	}
	l.Blob, l.DiffID = packed.Bytes(), fmt.Sprintf("sha256:%x", sum.Sum(nil))
}

// manifestOf changes the manifest of the image after it was made.
func manifestOf(change func(m map[string]any)) func(*lab.ImageSpec) {
	return func(s *lab.ImageSpec) {
		s.Raw = func(r *lab.RawImage) {
			r.Manifest = func(data []byte) []byte {
				var m map[string]any
				if err := json.Unmarshal(data, &m); err != nil {
					panic(err) // the lab wrote it
				}
				change(m)
				data, _ = json.Marshal(m)
				return data
			}
		}
	}
}

func layerOf(m map[string]any) map[string]any { return m["layers"].([]any)[0].(map[string]any) }

// hostileImages runs an application with each image, on a node of its own.
func hostileImages(t *testing.T, cases []imageCase) int {
	ran := 0
	for i, c := range cases {
		if raceSkips(i) {
			continue
		}
		ran++
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if labtest.Raced && strings.Contains(c.name, "more than the disk") {
				t.Skip("a gigabyte takes too long with the race detector")
			}
			r := newRig(t, "9.2")
			spec := sound()
			c.spec(&spec)
			r.add(spec)
			before, mark := r.state(), len(r.lab.Log())
			_, err := r.run("x.star", hostileApp, nil, quick)
			got := checkOneError(t, err)
			if !strings.Contains(got, c.want) {
				t.Errorf("error is\n%s\nwant it to hold\n%s", got, c.want)
			}
			if !strings.HasPrefix(got, "x.star:2:") && !strings.HasPrefix(got, "x.star:3:") {
				t.Errorf("the error blames no line:\n%s", got)
			}
			if !strings.Contains(got, "hint: ") {
				t.Errorf("the error does not say what to do:\n%s", got)
			}
			if !c.late {
				r.checkNothingMade(before, mark)
			}
			r.checkStaysInside()
			r.converges()
		})
	}
	return ran
}

// add puts an image where hostileRef points to.
func (r *rig) add(spec lab.ImageSpec) string {
	r.t.Helper()
	digest, err := r.lab.AddImage(hostileRef, spec)
	if err != nil {
		r.t.Fatal(err)
	}
	return digest
}

// state returns what lies on the node.
func (r *rig) state() map[string]string {
	return r.files("etc", "root", "tank", "var/lib/vz", "var/lib/tengil")
}

// checkNothingMade looks whether there is a container, an archive or a part of one.
// The node may have notes of the run: the application's record, an image's facts.
func (r *rig) checkNothingMade(before map[string]string, mark int) {
	r.t.Helper()
	for name := range r.state() {
		if _, old := before[name]; !old && !strings.Contains(name, "/tengil/") {
			r.t.Errorf("there is %s now", name)
		}
	}
	for _, line := range r.mutations(mark) {
		if strings.Contains(line, "pct ") || strings.HasPrefix(line, "zfs ") {
			r.t.Errorf("%s ran", line)
		}
	}
}

// checkStaysInside looks for what an image would have written outside of a
// container's root.
func (r *rig) checkStaysInside() {
	r.t.Helper()
	err := filepath.WalkDir(r.lab.Root(), func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "pwned" {
			r.t.Errorf("there is %s", strings.TrimPrefix(name, r.lab.Root()))
		}
		return err
	})
	if err != nil {
		r.t.Error(err)
	}
}

// converges mends the image, and looks whether the application comes up whole:
// one container, no half-made ones, and nothing left to do.
func (r *rig) converges() {
	r.t.Helper()
	spec := sound()
	spec.Labels = map[string]string{"mended": "yes"}
	r.add(spec)
	again := strings.Replace(hostileApp, `:v1")`, `:v1", policy = "always")`, 1)
	if _, err := r.run("x.star", again, nil, quick); err != nil {
		r.t.Fatalf("with a sound image: %v", err)
	}
	p := r.mustPlan("x.star", again, nil)
	if !p.Empty() {
		r.t.Error("with a sound image there is something left to do")
	}
	guests, parts := 0, 0
	for name, text := range r.files("etc/pve/nodes", "var/lib/vz/template") {
		if strings.HasSuffix(name, ".conf") {
			guests++
			r.checkConf(name, text)
		}
		if strings.HasSuffix(name, ".partial") {
			parts++
		}
	}
	if guests != 1 || parts != 0 {
		r.t.Errorf("in the end there are %d containers and %d parts of archives, want 1 and 0", guests, parts)
	}
}

func TestTheHostileCorpusIsSoundWithoutItsFaults(t *testing.T) {
	t.Parallel()
	r := newRig(t, "9.2")
	r.add(sound())
	r.mustRun("x.star", hostileApp, nil)
	if p := r.mustPlan("x.star", hostileApp, nil); !p.Empty() {
		t.Error("something is left to do")
	}
}
