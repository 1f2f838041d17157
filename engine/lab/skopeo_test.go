package lab

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine/pve"
)

const local = "127.0.0.1:5000"

// webNode returns a node with the registry of the captured runs.
func webNode(t *testing.T) *node {
	t.Helper()
	n := imageNode(t)
	addImage(t, n, local+"/web:latest", ImageSpec{
		Entrypoint: []string{"/bin/httpd"}, Cmd: []string{"-f", "-p", "80"}, Env: []string{"PATH=/bin:/sbin", "GREETING=hello world"},
		Labels: map[string]string{"org.opencontainers.image.title": "web"}, Files: map[string]string{"www/index.html": "hello\n"},
	})
	addImage(t, n, local+"/multi:one", ImageSpec{Platforms: []string{"arm64", "amd64"}, Files: map[string]string{"f": "x"}})
	return n
}

// message returns the text of skopeo's error line.
func message(t *testing.T, stderr string) string {
	t.Helper()
	m := regexp.MustCompile(`^time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ" level=fatal msg=(".*")\n(lab: there is no stand-in for .*\n)?$`).FindStringSubmatch(stderr)
	if m == nil {
		t.Fatalf("stderr is %q, want one line of level fatal", stderr)
	}
	var msg string
	if err := json.Unmarshal([]byte(m[1]), &msg); err != nil {
		t.Fatal(err)
	}
	return msg
}

// The messages and exit statuses are captured (skopeo 1.18.0, 2026-11-23).
func TestSkopeoRefuses(t *testing.T) {
	zero := "sha256:" + strings.Repeat("0", 64)
	tests := []struct {
		name string
		argv string
		exit int
		msg  string
	}{
		{"a registry without TLS", "inspect docker://127.0.0.1:5000/web:latest", 1, `Error parsing image name "docker://127.0.0.1:5000/web:latest": pinging container registry 127.0.0.1:5000: Get "https://127.0.0.1:5000/v2/": http: server gave HTTP response to HTTPS client`},
		{"a missing tag", "inspect --tls-verify=false docker://127.0.0.1:5000/web:nosuch", 2, `Error parsing image name "docker://127.0.0.1:5000/web:nosuch": reading manifest nosuch in 127.0.0.1:5000/web: manifest unknown`},
		{"a missing repository", "inspect --tls-verify=false docker://127.0.0.1:5000/nosuch:latest", 2, `Error parsing image name "docker://127.0.0.1:5000/nosuch:latest": reading manifest latest in 127.0.0.1:5000/nosuch: manifest unknown`},
		{"upper case", "inspect --tls-verify=false docker://127.0.0.1:5000/Web:latest", 1, `Error parsing image name "docker://127.0.0.1:5000/Web:latest": invalid reference format: repository name must be lowercase`},
		{"nothing that listens", "inspect --tls-verify=false docker://127.0.0.1:1/web:latest", 1, `Error parsing image name "docker://127.0.0.1:1/web:latest": pinging container registry 127.0.0.1:1: Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused`},
		{"no such host", "inspect --tls-verify=false docker://registry.invalid/web:latest", 1, `Error parsing image name "docker://registry.invalid/web:latest": pinging container registry registry.invalid: Get "http://registry.invalid/v2/": dial tcp: lookup registry.invalid on 10.10.10.1:53: server misbehaving`},
		{"no transport", "inspect --tls-verify=false web:latest", 1, `Error parsing image name "web:latest": Invalid image name "web:latest", unknown transport "web"`},
		{"tags of a missing repository", "list-tags --tls-verify=false docker://127.0.0.1:5000/nosuch", 1, `Error listing repository tags: fetching tags list: repository name not known to registry`},
		{"tag and digest", "copy --src-tls-verify=false docker://127.0.0.1:5000/web:v2@" + zero + " oci-archive:/root/sk/d.tar", 1, "Invalid source name docker://127.0.0.1:5000/web:v2@" + zero + ": Docker references with both a tag and digest are currently not supported"},
		{"a missing digest", "copy --src-tls-verify=false docker://127.0.0.1:5000/web@" + zero + " oci-archive:/root/sk/d.tar", 2, "initializing source docker://127.0.0.1:5000/web@" + zero + ": reading manifest " + zero + " in 127.0.0.1:5000/web: manifest unknown"},
		{"a missing tag in copy", "copy --src-tls-verify=false docker://127.0.0.1:5000/web:nosuch oci-archive:/root/sk/f.tar", 2, "initializing source docker://127.0.0.1:5000/web:nosuch: reading manifest nosuch in 127.0.0.1:5000/web: manifest unknown"},
		{"a missing directory", "copy --src-tls-verify=false docker://127.0.0.1:5000/web:latest oci-archive:/root/none/f.tar", 1, "Invalid destination name oci-archive:/root/none/f.tar: lstat /root/none: no such file or directory"},
		{"TLS in copy", "copy docker://127.0.0.1:5000/web:latest oci-archive:/root/sk/g.tar", 1, `initializing source docker://127.0.0.1:5000/web:latest: pinging container registry 127.0.0.1:5000: Get "https://127.0.0.1:5000/v2/": http: server gave HTTP response to HTTPS client`},
		{"an archive that is not there", "inspect oci-archive:/root/sk/none.tar", 1, `Error parsing image name "oci-archive:/root/sk/none.tar": creating temp directory: archive file not found: "/root/sk/none.tar"`},
		{"an unknown command", "nosuch", 1, "Unrecognized command `skopeo nosuch`\nTry 'skopeo --help' for more information"},
		{"names without a transport", "copy a b", 1, `Invalid source name a: Invalid image name "a", expected colon-separated transport:reference`},
		{"no command", "", 1, "Missing command 'skopeo COMMAND'\nTry 'skopeo --help' for more information"},
		{"login without TLS", "login -u u --password-stdin 127.0.0.1:5000", 1, `authenticating creds for "127.0.0.1:5000": pinging container registry 127.0.0.1:5000: Get "https://127.0.0.1:5000/v2/": http: server gave HTTP response to HTTPS client`},
	}
	n := webNode(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := runOn(t, n, "secret\n", append([]string{"skopeo"}, strings.Fields(tt.argv)...)...)
			if got := message(t, o.Stderr); got != tt.msg {
				t.Errorf("message:\ngot  %s\nwant %s", got, tt.msg)
			}
			if o.Exit != tt.exit || o.Stdout != "" {
				t.Errorf("exit %d, stdout %q; want %d and nothing", o.Exit, o.Stdout, tt.exit)
			}
			if left, _ := os.ReadDir(n.host("/root/sk")); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestSkopeoInspect(t *testing.T) {
	n := webNode(t)
	raw := mustRun(t, n, "skopeo", "inspect", "--tls-verify=false", "--raw", "docker://127.0.0.1:5000/web:latest")
	m, err := pve.ParseManifest([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
    "Name": "127.0.0.1:5000/web",
    "Digest": "DIGEST",
    "RepoTags": [
        "latest"
    ],
    "Created": "2025-01-01T00:00:00Z",
    "DockerVersion": "",
    "Labels": {
        "org.opencontainers.image.title": "web"
    },
    "Architecture": "amd64",
    "Os": "linux",
    "Layers": [
        "LAYER"
    ],
    "LayersData": [
        {
            "MIMEType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "Digest": "LAYER",
            "Size": SIZE,
            "Annotations": null
        }
    ],
    "Env": [
        "PATH=/bin:/sbin",
        "GREETING=hello world"
    ]
}
`
	size, _ := json.Marshal(m.Layers[0].Size)
	r := strings.NewReplacer("DIGEST", pve.Digest([]byte(raw)), "LAYER", m.Layers[0].Digest, "SIZE", string(size))
	if diff := cmp.Diff(r.Replace(want), mustRun(t, n, "skopeo", "inspect", "--tls-verify=false", "docker://127.0.0.1:5000/web")); diff != "" {
		t.Errorf("inspect (-want +got):\n%s", diff)
	}
	got := mustRun(t, n, "skopeo", "inspect", "--tls-verify=false", "--no-tags", "--format", "{{.Digest}} {{.Architecture}} {{.Os}}", "docker://127.0.0.1:5000/web:latest")
	if want := pve.Digest([]byte(raw)) + " amd64 linux\n"; got != want {
		t.Errorf("--format printed %q, want %q", got, want)
	}
	config := mustRun(t, n, "skopeo", "inspect", "--tls-verify=false", "--raw", "--config", "docker://127.0.0.1:5000/web:latest")
	if pve.Digest([]byte(config)) != m.Config.Digest {
		t.Errorf("--raw --config printed %q, which has not the digest %s", config, m.Config.Digest)
	}
	if got := mustRun(t, n, "skopeo", "--version"); got != "skopeo version 1.18.0\n" {
		t.Errorf("--version printed %q", got)
	}
}

func TestSkopeoInspectConfig(t *testing.T) {
	const want = `{
    "created": "2025-01-01T00:00:00Z",
    "architecture": "arm64",
    "os": "linux",
    "config": {},
    "rootfs": {
        "type": "layers",
        "diff_ids": [
            "DIFFID"
        ]
    }
}
`
	n := webNode(t)
	entries := fileEntries(map[string]string{"f": "x"}, "arm64")
	got := mustRun(t, n, "skopeo", "inspect", "--tls-verify=false", "--override-arch", "arm64", "--config", "docker://127.0.0.1:5000/multi:one")
	if diff := cmp.Diff(strings.Replace(want, "DIFFID", digestOf(mustPack(t, entries)), 1), got); diff != "" {
		t.Errorf("--config (-want +got):\n%s", diff)
	}
}

func TestSkopeoCopy(t *testing.T) {
	n := webNode(t)
	raw := mustRun(t, n, "skopeo", "inspect", "--tls-verify=false", "--raw", "docker://127.0.0.1:5000/web:latest")
	m, err := pve.ParseManifest([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	put(t, n, "/root/sk/a.tar", []byte("old"))
	got := mustRun(t, n, "skopeo", "copy", "--src-tls-verify=false", "--digestfile", "/root/sk/dig", "docker://127.0.0.1:5000/web:latest", "oci-archive:/root/sk/a.tar:web:v2")
	want := "Getting image source signatures\nCopying blob " + m.Layers[0].Digest + "\nCopying config " + m.Config.Digest + "\nWriting manifest to image destination\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("copy printed (-want +got):\n%s", diff)
	}
	digest, err := n.readFile("/root/sk/dig")
	if err != nil || string(digest) != pve.Digest([]byte(raw)) {
		t.Errorf("--digestfile has %q, %v; want %s", digest, err, pve.Digest([]byte(raw)))
	}
	members, err := n.tarMembers("/root/sk/a.tar")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"blobs/", "blobs/sha256/", "index.json", "oci-layout", blobName(m.Layers[0].Digest), blobName(m.Config.Digest), blobName(pve.Digest([]byte(raw)))} {
		if _, ok := members[name]; !ok {
			t.Errorf("archive has no %q", name)
		}
	}
	a := &ociArchive{node: n, path: "/root/sk/a.tar", members: members}
	index, err := a.read("index.json")
	wantIndex := `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + pve.Digest([]byte(raw)) + `","size":` + jsonNumber(len(raw)) + `,"annotations":{"org.opencontainers.image.ref.name":"web:v2"}}]}`
	if err != nil || string(index) != wantIndex {
		t.Errorf("index.json:\ngot  %s %v\nwant %s", index, err, wantIndex)
	}
	if left, _ := os.ReadDir(n.host("/var/tmp")); len(left) != 0 {
		t.Errorf("left in /var/tmp: %v", left)
	}
}

func jsonNumber(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestSkopeoCopyPicksThePlatform(t *testing.T) {
	n := webNode(t)
	for _, arch := range []string{"amd64", "arm64"} {
		mustRun(t, n, "skopeo", "copy", "-q", "--src-tls-verify=false", "--override-arch", arch, "docker://127.0.0.1:5000/multi:one", "oci-archive:/img.tar")
		a := opened(t, n)
		if a.Config.Arch != arch {
			t.Errorf("--override-arch %s copied %s", arch, a.Config.Arch)
		}
	}
	o := runOn(t, n, "", "skopeo", "copy", "--src-tls-verify=false", "--override-arch", "s390x", "docker://127.0.0.1:5000/multi:one", "oci-archive:/img.tar")
	want := `choosing an image from manifest list docker://127.0.0.1:5000/multi:one: no image found in image index for architecture "s390x", variant "", OS "linux"`
	if got := message(t, o.Stderr); got != want || o.Exit != 1 {
		t.Errorf("exit %d, message:\ngot  %s\nwant %s", o.Exit, got, want)
	}
	// An image without an index is copied whatever its architecture.
	mustRun(t, n, "skopeo", "copy", "-q", "--src-tls-verify=false", "--override-arch", "arm64", "docker://127.0.0.1:5000/web:latest", "oci-archive:/img.tar")
}

func TestSkopeoCopyChecksBlobs(t *testing.T) {
	n := imageNode(t)
	var right, wrong string
	p := mustBuild(t, ImageSpec{Files: map[string]string{"f": "x"}, Raw: func(r *RawImage) {
		l := &r.Layers[0]
		right, l.Digest = digestOf(l.Blob), digestOf(l.Blob)
		l.Blob = l.Blob[:len(l.Blob)/2]
		wrong = digestOf(l.Blob)
	}})
	put(t, n, "/bad.tar", layoutTar(t, p, "", entriesOf(p)))
	o := runOn(t, n, "", "skopeo", "copy", "oci-archive:/bad.tar", "oci-archive:/root/sk/out.tar")
	want := "writing blob: happened during read: Digest did not match, expected " + right + ", got " + wrong
	if got := message(t, o.Stderr); got != want || o.Exit != 1 {
		t.Errorf("exit %d, message:\ngot  %s\nwant %s", o.Exit, got, want)
	}
	if want := "Getting image source signatures\nCopying blob " + right + "\n"; o.Stdout != want {
		t.Errorf("stdout = %q, want %q", o.Stdout, want)
	}
}

func TestSkopeoChecksBlobsOfRegistries(t *testing.T) {
	n := imageNode(t)
	var right string
	wrong := []byte("not what was asked for")
	addImage(t, n, "test.example/bad:1", ImageSpec{Files: map[string]string{"f": "x"}, Raw: func(r *RawImage) {
		right = digestOf(r.Layers[0].Blob)
		r.Layers[0].Digest, r.Layers[0].Blob = right, wrong
	}})
	o := runOn(t, n, "", "skopeo", "copy", "-q", "docker://test.example/bad:1", "oci-archive:/root/sk/out.tar")
	want := "writing blob: happened during read: Digest did not match, expected " + right + ", got " + digestOf(wrong)
	if got := message(t, o.Stderr); got != want || o.Exit != 1 {
		t.Errorf("exit %d, message:\ngot  %s\nwant %s", o.Exit, got, want)
	}
	if left, _ := os.ReadDir(n.host("/root/sk")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSkopeoConvertsDockerImages(t *testing.T) {
	n := imageNode(t)
	digest := addImage(t, n, "test.example/d:1", ImageSpec{Docker: true, Entrypoint: []string{"/x"}, Files: map[string]string{"f": "x"}})
	mustRun(t, n, "skopeo", "copy", "-q", "docker://test.example/d:1", "oci-archive:/img.tar")
	a := opened(t, n)
	if a.Digest == digest {
		t.Error("the digest in the archive is the registry's; conversion changes it")
	}
	root := t.TempDir()
	if err := a.Unpack(root); err != nil {
		t.Fatal(err)
	}
	if got := treeOf(t, root)["f"]; got != "x" {
		t.Errorf("unpacked f = %q, want \"x\"", got)
	}
}

func TestSkopeoCutLeavesHalfAnArchive(t *testing.T) {
	n := webNode(t)
	n.faults.add(Fault{Prefix: []string{"skopeo", "copy"}, When: During, Do: Kill})
	o := runOn(t, n, "", "skopeo", "copy", "--src-tls-verify=false", "docker://127.0.0.1:5000/web:latest", "oci-archive:/root/sk/a.tar")
	if o.Exit != exitKilled {
		t.Fatalf("exit %d, want %d", o.Exit, exitKilled)
	}
	fi, err := n.stat("/root/sk/a.tar")
	if err != nil || fi.Size() == 0 {
		t.Fatalf("target: %v, %v; want the first half of an archive", fi, err)
	}
	if ok, err := n.isOCIArchive("/root/sk/a.tar"); ok {
		t.Errorf("half an archive is taken for a whole one (%v)", err)
	}
	mustRun(t, n, "skopeo", "copy", "-q", "--src-tls-verify=false", "docker://127.0.0.1:5000/web:latest", "oci-archive:/root/sk/a.tar")
	if ok, err := n.isOCIArchive("/root/sk/a.tar"); !ok {
		t.Errorf("after another copy the archive is not whole: %v", err)
	}
}

func TestSkopeoEndsWithItsContext(t *testing.T) {
	n := webNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	exit := n.exec(ctx, []string{"skopeo", "inspect", "docker://docker.io/library/alpine"}, nil, "/root", strings.NewReader(""), io.Discard, io.Discard)
	if exit != exitKilled {
		t.Errorf("exit %d, want %d", exit, exitKilled)
	}
}

func TestSkopeoLayout(t *testing.T) {
	n := webNode(t)
	addImage(t, n, local+"/web:v2", ImageSpec{Files: map[string]string{"www/index.html": "hello\n"}, Cmd: []string{"/x"}})
	for _, tag := range []string{"latest", "v2"} {
		mustRun(t, n, "skopeo", "copy", "-q", "--src-tls-verify=false", "docker://127.0.0.1:5000/web:"+tag, "oci:/root/sk/layout:"+tag)
	}
	mustRun(t, n, "skopeo", "copy", "-q", "oci:/root/sk/layout:v2", "oci-archive:/img.tar")
	want := mustRun(t, n, "skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://127.0.0.1:5000/web:v2")
	if got := mustRun(t, n, "skopeo", "inspect", "--format", "{{.Digest}}", "oci-archive:/img.tar"); got != want {
		t.Errorf("digest after two copies = %q, want %q", got, want)
	}
	o := runOn(t, n, "", "skopeo", "inspect", "oci:/root/sk/layout")
	if got, want := message(t, o.Stderr), `Error parsing image name "oci:/root/sk/layout": more than one image in oci, choose an image`; got != want {
		t.Errorf("message:\ngot  %s\nwant %s", got, want)
	}
}

func TestSkopeoLogin(t *testing.T) {
	n := webNode(t)
	if err := (&Lab{node: n}).RequireLogin(local, "u", "secret"); err != nil {
		t.Fatal(err)
	}
	inspect := []string{"skopeo", "inspect", "--tls-verify=false", "--format", "{{.Architecture}}", "docker://127.0.0.1:5000/web:latest"}
	o := runOn(t, n, "", inspect...)
	if got, want := message(t, o.Stderr), `Error parsing image name "docker://127.0.0.1:5000/web:latest": reading manifest latest in 127.0.0.1:5000/web: unauthorized: authentication required`; got != want || o.Exit != 1 {
		t.Errorf("exit %d, message:\ngot  %s\nwant %s", o.Exit, got, want)
	}
	o = runOn(t, n, "wrong", "skopeo", "login", "--tls-verify=false", "-u", "u", "--password-stdin", local)
	if got, want := message(t, o.Stderr), `logging into "127.0.0.1:5000": invalid username/password`; got != want {
		t.Errorf("message:\ngot  %s\nwant %s", got, want)
	}
	o = runOn(t, n, "secret\n", "skopeo", "login", "--tls-verify=false", "-u", "u", "--password-stdin", local)
	if want := (outcome{0, "Login Succeeded!\n", ""}); o != want {
		t.Errorf("login: %+v, want %+v", o, want)
	}
	if got := mustRun(t, n, "skopeo", "login", "--get-login", local); got != "u\n" {
		t.Errorf("--get-login printed %q", got)
	}
	if got := mustRun(t, n, inspect...); got != "amd64\n" {
		t.Errorf("logged in, inspect printed %q", got)
	}
	mustRun(t, n, "skopeo", "inspect", "--tls-verify=false", "--creds", "u:secret", "--authfile", "/none", "docker://127.0.0.1:5000/web:latest")
	if got := mustRun(t, n, "skopeo", "logout", local); got != "Removed login credentials for 127.0.0.1:5000\n" {
		t.Errorf("logout printed %q", got)
	}
	if o := runOn(t, n, "", inspect...); o.Exit != 1 {
		t.Errorf("logged out, inspect ends with %d, want 1", o.Exit)
	}
}

// A realRegistry stands for the network: it answers every request with a status.
