package builtins_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/recipe"
)

// prelude defines what examples use.
const prelude = `recipe(name = "app")
pool, release, gpu = "tank", "v3.1.0", "auto"
password = secret("password")
db = pct_create("postgres", image = oci_pull("docker.io/library/postgres:17"))
server = pct_create("app-server", image = oci_pull("docker.io/library/alpine:3.22"))
`

func exampleFacts() *engine.Facts {
	return &engine.Facts{
		Node: "pve", Arch: "amd64", PVE: "9.2", Packages: map[string]string{"pve-container": "6.1.10", "libpve-storage-perl": "9.1.7"},
		Pools: []engine.Pool{{Name: "tank"}}, Bridges: []string{"vmbr0"},
		Storages: []engine.Storage{
			{Name: "local", Type: "dir", Path: "/var/lib/vz", Content: []string{"vztmpl"}},
			{Name: "local-zfs", Type: "zfspool", Pool: "rpool/data", Content: []string{"rootdir"}},
		},
		GPUs: []engine.GPU{
			{Vendor: "intel", PCI: "0000:00:02.0", Driver: "i915", Card: "card0", Render: "renderD128"},
			{Vendor: "intel", PCI: "0000:03:00.0", Driver: "xe", Card: "card1", Render: "renderD129"},
		},
		Default: engine.Choices{Pool: "tank", Storage: "local-zfs", Templates: "local", Bridge: "vmbr0"},
	}
}

func evaluate(t *testing.T, line string) error {
	t.Helper()
	_, err := recipe.Load(t.Context(), "app.star", recipe.Options{
		Kinds: builtins.Kinds(), Constructors: builtins.Constructors(), Facts: exampleFacts(),
		FS: fstest.MapFS{"app.star": {Data: []byte(prelude + line + "\n")}},
	})
	return err
}

func TestExamplesWork(t *testing.T) {
	for _, k := range builtins.Kinds() {
		if k.Define != nil {
			continue
		}
		if err := evaluate(t, k.Example); err != nil {
			t.Errorf("%s: %v", k.Example, err)
		}
	}
	for _, c := range builtins.Constructors() {
		if err := evaluate(t, "x = "+c.Example); err != nil {
			t.Errorf("%s: %v", c.Example, err)
		}
	}
}

// TestParameterExamplesWork calls each function with the examples of its required
// parameters, of the parameter itself, and of those it makes no sense without.
func TestParameterExamplesWork(t *testing.T) {
	with := map[string][]string{
		"zfs_dataset.group": {"owner"}, "pct_create.gateway": {"ip"}, "pct_create.gateway6": {"ip6"},
		"pct_create.cmd": {"entrypoint"},
	}
	check := func(name string, params []engine.Param, always ...string) {
		for _, p := range params {
			var args []string
			for _, q := range params {
				needed := q.Required || q.Name == p.Name
				for _, w := range append(with[name+"."+p.Name], always...) {
					needed = needed || q.Name == w && !(p.Name == "unless" && w == "creates")
				}
				if needed {
					args = append(args, fmt.Sprintf("%s = %s", q.Name, q.Example))
				}
			}
			line := name + "(" + strings.Join(args, ", ") + ")"
			if err := evaluate(t, "x = "+line); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
	for _, k := range builtins.Kinds() {
		if k.Define != nil {
			continue
		}
		var always []string
		if strings.HasSuffix(k.Name, "_exec") {
			always = []string{"creates"}
		}
		check(k.Name, k.Params, always...)
	}
	for _, c := range builtins.Constructors() {
		check(c.Name, c.Params)
	}
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct{ name, line, says string }{
		{"a secret in argv", `node_exec(["setpw", password], creates = "/x")`, "argv: argument 1 holds a secret"},
		{"a secret inside an argument", `pct_exec(db, ["psql", "-p%s" % password], creates = "/x")`, "argv: argument 1 holds a secret"},
		{"a command without a guard", `node_exec(["true"])`, "wanted creates= or unless="},
		{"a command with two guards", `node_exec(["true"], creates = "/x", unless = ["true"])`, "wanted creates= or unless="},
		{"a command that may take no time", `node_exec(["true"], unless = ["true"], timeout = "0s")`, "wanted more than 0"},
		{"a pool that is not there", `zfs_dataset("nas/media")`, `pool "nas" does not exist on pve`},
		{"a pool as a dataset", `zfs_dataset("tank")`, `"tank" is a pool`},
		{"a dataset that looks like an option", `zfs_dataset("-o/x")`, "starts with a dash"},
		{"a property of tengil's own", `zfs_dataset("tank/x", properties = {"tengil:app": "y"})`, "tengil keeps its own marks there"},
		{"an owner beyond the container's ids", `zfs_dataset("tank/x", owner = 70000)`, "owner: wanted 0 to 65535, got 70000"},
		{"a path that no mount point can hold", `host_dir("/srv/a,b")`, "which Proxmox cannot store"},
		{"a directory of the system", `host_dir("/etc/pve/priv")`, "belongs to the node's system"},
		{"a file outside of everything", `file(server, "../etc/passwd", content = "")`, "is relative"},
		{"a file whose path has blanks", `file(server, "/etc/a b", content = "")`, "a blank"},
		{"an image that looks like an option", `oci_pull("--all")`, "wanted lower-case letters"},
		{"a GPU that is not there", `gpu_attach(server, "nvidia")`, "no nvidia GPU on pve; it has: intel at 0000:00:02.0"},
		{"a device that is no device", `device_attach(server, "/etc/passwd")`, "is not below /dev/"},
		{"a short secret", `secret("x", length = 4)`, "length: wanted 8 to 1024, got 4"},
		{"a probe of no port", `pct_create("x", image = oci_pull("alpine"), ready = tcp_ready(0))`, "port: wanted 1 to 65535, got 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := evaluate(t, tt.line)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: want an error with %q, got %v", tt.line, tt.says, err)
			}
			if err != nil && !strings.Contains(err.Error(), "app.star:6:") {
				t.Errorf("%s: the error does not name the line: %v", tt.line, err)
			}
		})
	}
}
