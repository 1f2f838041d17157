package labtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// An image is a small image that runs: busybox, a program that stays, and files
// that try the unpacking of layers.
type image struct {
	Entrypoint       []string
	Env              []string
	User, WorkingDir string
	Volumes          []string
	// Managed gives it the files of a distribution that Proxmox VE knows.
	Managed bool
	// Escapes gives it a file behind a link that leads out of the root.
	Escapes bool
}

// conformanceImages are the archives that transcripts name, by file name.
func conformanceImages() map[string]image {
	app := []string{"/bin/app"}
	env := []string{"PATH=/bin", "GREETING=hello there", `QUOTED="it's"`}
	return map[string]image{
		"app.tar":     {Entrypoint: app, Env: env, WorkingDir: "/srv"},
		"user.tar":    {Entrypoint: app, Env: env, User: "app", Volumes: []string{"/var/cache/app"}},
		"deaf.tar":    {Entrypoint: []string{"sleep", "100000"}, Env: env},
		"ends.tar":    {Entrypoint: []string{"true"}, Env: env},
		"missing.tar": {Entrypoint: []string{"/bin/not-there"}, Env: env},
		"managed.tar": {Entrypoint: app, Env: env, Managed: true},
		"escapes.tar": {Entrypoint: app, Env: env, Escapes: true},
	}
}

// PlaceImages puts the archives that transcripts name where the node whose "/" is
// the directory root has its templates.
func PlaceImages(t testing.TB, root string) {
	t.Helper()
	all, err := archives()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range all {
		if err := os.WriteFile(filepath.Join(root, "var/lib/vz/template/cache", name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// archives makes them once.
var archives = sync.OnceValues(func() (map[string][]byte, error) {
	all := map[string][]byte{}
	for name, i := range conformanceImages() {
		data, err := i.archive()
		if err != nil {
			return nil, err
		}
		all[name] = data
	}
	return all, nil
})

// busybox is the program of all programs of the image; where it is not installed,
// only the model can run it.
func busybox() string {
	name, err := exec.LookPath("busybox")
	if err != nil {
		return "busybox"
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return "busybox"
	}
	return string(data)
}

// applets are the names that busybox has in the image.
const applets = "sh sleep true false cat env echo id ls stat touch mkdir rm test grep hostname ip ps"

// entry is a file of a layer.
type entry struct {
	tar.Header
	content string
}

func file(name string, mode int64, content string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode}, content}
}

func dir(name string, mode int64) entry {
	return entry{tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: mode}, ""}
}

func link(kind byte, name, to string) entry {
	return entry{tar.Header{Name: name, Typeflag: kind, Linkname: to, Mode: 0o777}, ""}
}

func (e entry) of(uid, gid int) entry {
	e.Uid, e.Gid = uid, gid
	return e
}

func (e entry) attr(name, value string) entry {
	e.PAXRecords = map[string]string{"SCHILY.xattr." + name: value}
	return e
}

// netBindService is a capability as a file has it: revision 2, effective.
const netBindService = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func (i image) layers() [][]entry {
	base := []entry{
		dir("bin", 0o755), dir("etc", 0o755), dir("srv", 0o755), dir("run", 0o755), dir("var", 0o755), dir("tmp", 0o1777),
		file("bin/busybox", 0o755, busybox()),
		file("bin/app", 0o755, "#!/bin/sh\ntrap 'exit 0' TERM\nwhile :; do sleep 1 & wait $!; done\n"),
		file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/home/app:/bin/sh\n"),
		file("etc/group", 0o644, "root:x:0:\napp:x:1001:\n"),
		file("srv/changed", 0o644, "first\n"), file("srv/gone", 0o644, "first\n"),
		dir("srv/tree", 0o755), file("srv/tree/leaf", 0o644, "first\n"),
		dir("srv/opaque", 0o700), file("srv/opaque/below", 0o644, "first\n"),
		dir("srv/own", 0o2750).of(1000, 1001), file("srv/own/file", 0o640, "mine\n").of(1000, 1001),
		file("srv/setuid", 0o4755, "x\n"), file("srv/last-id", 0o644, "x\n").of(65535, 65535),
		file("srv/one", 0o644, "linked\n"), link(tar.TypeLink, "srv/two", "srv/one"),
		link(tar.TypeSymlink, "srv/link", "one"), link(tar.TypeSymlink, "srv/out", "/etc/passwd"),
		file("srv/noted", 0o644, "x\n").attr("user.note", "kept"),
		file("srv/capable", 0o755, "x\n").attr("security.capability", netBindService),
	}
	for name := range strings.FieldsSeq(applets) {
		base = append(base, link(tar.TypeSymlink, "bin/"+name, "busybox"))
	}
	if i.Managed {
		base = append(base, file("etc/os-release", 0o644, "ID=debian\nVERSION_ID=13\n"), file("etc/debian_version", 0o644, "13.1\n"),
			file("etc/hosts", 0o644, "10.9.8.7 own-line\n"))
	}
	if i.Escapes {
		base = append(base, link(tar.TypeSymlink, "srv/away", "../../../../tmp"), file("srv/away/escaped", 0o644, "out\n"))
	}
	return [][]entry{base, {
		file("srv/changed", 0o600, "second\n"), file("srv/.wh.gone", 0o644, ""), file("srv/.wh.tree", 0o644, ""),
		dir("srv/opaque", 0o755), file("srv/opaque/.wh..wh..opq", 0o644, ""), file("srv/opaque/above", 0o644, "second\n"),
		link(tar.TypeLink, "srv/three", "srv/one"),
	}, {
		file("../escaped", 0o644, "out\n"), file("/srv/rooted", 0o644, "third\n"),
	}}
}

// archive returns the image as skopeo writes an OCI archive.
func (i image) archive() ([]byte, error) {
	blobs := []entry{dir("blobs", 0o755), dir("blobs/sha256", 0o755)}
	blob := func(kind string, data []byte) map[string]any {
		sum := sha256.Sum256(data)
		blobs = append(blobs, file("blobs/sha256/"+hex.EncodeToString(sum[:]), 0o644, string(data)))
		return map[string]any{"mediaType": "application/vnd.oci.image." + kind, "digest": "sha256:" + hex.EncodeToString(sum[:]), "size": len(data)}
	}
	var layers []any
	var diffIDs []string
	for _, entries := range i.layers() {
		data, err := pack(entries)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		diffIDs = append(diffIDs, "sha256:"+hex.EncodeToString(sum[:]))
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(data); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		layers = append(layers, blob("layer.v1.tar+gzip", packed.Bytes()))
	}
	volumes := map[string]struct{}{}
	for _, v := range i.Volumes {
		volumes[v] = struct{}{}
	}
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
		"config": map[string]any{"Entrypoint": i.Entrypoint, "Env": i.Env, "User": i.User, "WorkingDir": i.WorkingDir, "Volumes": volumes},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": blob("config.v1+json", config), "layers": layers,
	})
	if err != nil {
		return nil, err
	}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{blob("manifest.v1+json", manifest)}})
	if err != nil {
		return nil, err
	}
	return pack(append(blobs, file("index.json", 0o644, string(index)), file("oci-layout", 0o644, `{"imageLayoutVersion":"1.0.0"}`)))
}

// pack makes a tar of entries.
func pack(entries []entry) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Header
		h.Size, h.ModTime = int64(len(e.content)), time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
