package pve

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Captured: skopeo 1.18.0, 2026-11-23: inspect --config.
const webConfig = `{
    "created": "2026-11-23T16:40:45.531510648Z",
    "architecture": "amd64",
    "os": "linux",
    "config": {
        "ExposedPorts": {"80/tcp": {}},
        "Env": ["PATH=/bin:/sbin", "GREETING=hello world"],
        "Entrypoint": ["/bin/httpd"],
        "Cmd": ["-f", "-v", "-p", "80", "-h", "/www"],
        "Volumes": {"/data": {}},
        "WorkingDir": "/www",
        "Labels": {"org.opencontainers.image.title": "web"}
    },
    "rootfs": {"type": "layers", "diff_ids": ["sha256:ff7ddbba713157d4f9efe0616f8d595e3189132b04414a3540df3634a6722aae"]}
}`

func TestParseImageConfig(t *testing.T) {
	got, err := ParseImageConfig([]byte(webConfig))
	if err != nil {
		t.Fatal(err)
	}
	want := ImageConfig{
		Arch: "amd64", OS: "linux",
		Env:        []string{"PATH=/bin:/sbin", "GREETING=hello world"},
		Entrypoint: []string{"/bin/httpd"}, Cmd: []string{"-f", "-v", "-p", "80", "-h", "/www"},
		WorkingDir: "/www", Volumes: []string{"/data"}, ExposedPorts: []string{"80/tcp"},
		Labels:  map[string]string{"org.opencontainers.image.title": "web"},
		DiffIDs: []string{"sha256:ff7ddbba713157d4f9efe0616f8d595e3189132b04414a3540df3634a6722aae"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := got.Check("amd64"); err != nil {
		t.Errorf("a sound image is refused: %v", err)
	}
	if _, err := ParseImageConfig([]byte("{")); err == nil {
		t.Error("broken JSON passes")
	}
}

func TestCheckImage(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*ImageConfig)
		want   string // part of the error
	}{
		{"newline in Env", func(c *ImageConfig) { c.Env = append(c.Env, "A=1\nlxc.hook.pre-start: /x") }, `Env[2] is "A=1\nlxc.hook.pre-start: /x" and holds the control character U+000A at byte 3`},
		{"carriage return in Env", func(c *ImageConfig) { c.Env[0] += "\r" }, "Env[0]"},
		{"newline in WorkingDir", func(c *ImageConfig) { c.WorkingDir = "/a\nb" }, "WorkingDir"},
		{"newline in User", func(c *ImageConfig) { c.User = "a\nb" }, "User"},
		{"newline in Entrypoint", func(c *ImageConfig) { c.Entrypoint = []string{"a\nb"} }, "Entrypoint[0]"},
		{"escape in Cmd", func(c *ImageConfig) { c.Cmd = []string{"a", "\x1b"} }, "Cmd[1]"},
		{"newline in a volume", func(c *ImageConfig) { c.Volumes = []string{"/a\n"} }, "Volumes[0]"},
		{"newline in StopSignal", func(c *ImageConfig) { c.StopSignal = "SIGTERM\nx: y" }, "StopSignal"},
		{"NUL in Env", func(c *ImageConfig) { c.Env[0] = "A=\x00" }, "U+0000"},
		{"Env without =", func(c *ImageConfig) { c.Env[1] = "NOVALUE" }, `Env[1] is "NOVALUE" without "="`},
		{"Env without name", func(c *ImageConfig) { c.Env[1] = "=x" }, `Env[1] is "=x"`},
		{"Env with a blank in the name", func(c *ImageConfig) { c.Env[1] = "SP ACE=4" }, "Env[1]"},
		{"another architecture", func(c *ImageConfig) { c.Arch = "arm64" }, `image is for "linux/arm64", wanted "linux/amd64"`},
		{"another system", func(c *ImageConfig) { c.OS = "windows" }, `"windows/amd64"`},
		{"signal without SIG", func(c *ImageConfig) { c.StopSignal = "QUIT" }, `StopSignal is "QUIT"`},
		{"signal that does not exist", func(c *ImageConfig) { c.StopSignal = "SIGNOPE" }, `"SIGNOPE"`},
		{"relative WorkingDir", func(c *ImageConfig) { c.WorkingDir = "www" }, `WorkingDir is "www"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := ParseImageConfig([]byte(webConfig))
			if err != nil {
				t.Fatal(err)
			}
			c.change(&config)
			if err := config.Check("amd64"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
		})
	}
	for _, good := range []string{"SIGQUIT", "SIGRTMIN+3", "3", ""} {
		if err := (ImageConfig{StopSignal: good}).Check("amd64"); err != nil {
			t.Error(err)
		}
	}
}

func TestParseManifest(t *testing.T) {
	a, b := "sha256:"+strings.Repeat("a", 64), "sha256:"+strings.Repeat("b", 64)
	manifest := `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",` +
		`"config":{"mediaType":"x","digest":"` + a + `","size":10},"layers":[{"digest":"` + b + `","size":20},{"digest":"` + a + `","size":2}]}`
	m, err := ParseManifest([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	if m.IsIndex() || m.Config.Digest != a || len(m.Layers) != 2 || m.Size() != 22 {
		t.Errorf("manifest is %+v", m)
	}
	index := `{"schemaVersion":2,"manifests":[{"digest":"` + a + `","platform":{"os":"linux","architecture":"arm64","variant":"v8"}},` +
		`{"digest":"` + b + `","platform":{"os":"linux","architecture":"amd64"}},{"digest":"` + a + `","platform":{"os":"unknown","architecture":"unknown"}}]}`
	m, err = ParseManifest([]byte(index))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := m.Pick("amd64"); err != nil || d.Digest != b {
		t.Errorf("picked %+v, %v", d, err)
	}
	if _, err := m.Pick("riscv64"); err == nil || !strings.Contains(err.Error(), "it has linux/arm64/v8, linux/amd64") {
		t.Errorf("error is %v", err)
	}
	for name, bad := range map[string]string{
		"schema 1": `{"schemaVersion":1}`, "no config": `{"schemaVersion":2}`, "no JSON": `x`,
		"digest with a path": strings.Replace(manifest, b, "sha256:../../etc", 1), "negative size": strings.Replace(manifest, "20", "-20", 1),
	} {
		if _, err := ParseManifest([]byte(bad)); err == nil {
			t.Errorf("%s passes", name)
		}
	}
	if got, want := Digest(nil), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; got != want {
		t.Errorf("digest of nothing is %s, want %s", got, want)
	}
}
