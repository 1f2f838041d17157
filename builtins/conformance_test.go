package builtins_test

import (
	"strings"
	"testing"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/builtins/kindtest"
	"github.com/tengil/tengil/engine"
)

func language() kindtest.Language {
	return kindtest.Language{Kinds: builtins.Kinds(), Constructors: builtins.Constructors()}
}

// inDirectories are the choices for a host that keeps data in /srv/data.
var inDirectories = engine.Choices{Data: "/srv/data"}

const alpine = `
web = pct_create("web", image = oci_pull("docker.io/library/alpine:3.22"), memory = "64M", disk = "1G")
`

// ranged are the choices of an owner who gives containers fixed addresses.
var ranged = engine.Choices{Range: "10.10.10.200-10.10.10.249/24", Gateway: "10.10.10.1"}

func cases() []kindtest.Case {
	return []kindtest.Case{
		{Name: "a secret is made once", Kind: "secret", Recipe: `output("length", secret("db", length = 12))`},
		{
			Name: "a dataset with all its parameters", Kind: "zfs_dataset",
			Recipe: `zfs_dataset("tank/app/db", profile = "postgres", owner = 999, mode = "0700", quota = "1G", properties = {"sync": "always", "snapdir": "visible"})`,
			Change: `zfs_dataset("tank/app/db", profile = "media", owner = 1000, group = 44, mode = "0750", quota = "2G", protect = True, properties = {"sync": "standard"})`,
		},
		{
			Name: "datasets below one another, made side by side", Kind: "zfs_dataset",
			Recipe: `
zfs_dataset("tank/gg/data/sub", owner = 1)
zfs_dataset("tank/gg/data", profile = "media", owner = 2)
zfs_dataset("tank/gg/data/sub2", owner = 3)
`,
		},
		{
			Name: "a dataset that is a directory", Kind: "zfs_dataset", Storage: "dir", Choices: inDirectories, Setup: kindtest.Exec("mkdir", "-p", "/srv/data"),
			Recipe: `zfs_dataset("data/app/db", profile = "postgres", owner = 999, mode = "0700", quota = "1G", properties = {"sync": "always"})`,
			Change: `zfs_dataset("data/app/db", profile = "media", owner = 1000, group = 44, mode = "0750", protect = True)`,
		},
		{
			Name: "directories whose datasets lie below one another", Kind: "zfs_dataset", Storage: "dir", Choices: inDirectories, Setup: kindtest.Exec("mkdir", "-p", "/srv/data"),
			Recipe: `
zfs_dataset("data/gg/data/sub", owner = 1)
zfs_dataset("data/gg/data", profile = "media", owner = 2)
`,
		},
		{
			Name: "a directory that is adopted", Kind: "zfs_dataset", Storage: "dir", Choices: inDirectories, Setup: kindtest.Exec("mkdir", "-p", "/srv/data/photos/2026"),
			Recipe: `zfs_dataset("data/photos", owner = 1000, adopt = True, protect = True)`,
		},
		{
			Name: "a file in a directory", Kind: "file", Storage: "dir", Choices: inDirectories, Setup: kindtest.Exec("mkdir", "-p", "/srv/data"),
			Recipe: `file(zfs_dataset("data/app/etc"), "/conf.d/app.conf", content = "a\n", uid = 1000, mode = "0640")`,
			Change: `file(zfs_dataset("data/app/etc"), "/conf.d/app.conf", content = "other\n", uid = 1000, mode = "0600")`,
		},
		{
			Name: "a container with a GPU whose root is a disk image", Kind: "gpu_attach", Storage: "dir", Choices: inDirectories, Setup: kindtest.Exec("mkdir", "-p", "/srv/data"),
			Recipe: strings.Replace(alpine, `disk = "1G"`, `disk = "1G", mounts = {"/data": zfs_dataset("data/app/web", owner = 5)}`, 1) + "gpu_attach(web)",
		},
		{
			Name: "a container whose root is a logical volume and that is replaced", Kind: "pct_create", Storage: "lvmthin", Recipe: alpine,
			Change: `pct_create("web", image = oci_pull("docker.io/library/nginx:1.29"), memory = "64M", disk = "1G", ready = tcp_ready(80))`,
		},
		{
			Name: "a container that is replaced", Kind: "pct_create", Recipe: alpine,
			Change: `pct_create("web", image = oci_pull("docker.io/library/nginx:1.29"), memory = "64M", disk = "1G", ready = tcp_ready(80))`,
		},
		{Name: "a directory of the node", Kind: "host_dir", Recipe: `host_dir("/srv/films")`, Setup: kindtest.Exec("mkdir", "-p", "/srv/films")},
		{Name: "a command that makes a path", Kind: "node_exec", Recipe: `node_exec(["mkdir", "/srv/made"], creates = "/srv/made")`},
		{Name: "a command with a guard", Kind: "node_exec", Recipe: `node_exec(["touch", "/srv/done"], unless = ["test", "-e", "/srv/other"])`},
		{Name: "an image", Kind: "oci_pull", Recipe: `oci_pull("docker.io/library/alpine:3.22")`},
		{
			Name: "an image that a mirror has", Kind: "oci_pull", Choices: behindMirror, Setup: ownImages,
			Recipe: `oci_pull("` + ownImage + `")`,
		},
		{
			Name: "an image that no mirror has", Kind: "oci_pull", Choices: behindMirror,
			Recipe: `oci_pull("docker.io/library/alpine:3.22")`,
		},
		{
			Name: "an image whose tag is looked up each time", Kind: "oci_pull",
			Recipe: `oci_pull("valkey/valkey:8-bookworm", policy = "always")`,
		},
		{Name: "a container", Kind: "pct_create", Recipe: alpine},
		{
			Name: "containers with addresses of the host's range", Kind: "pct_create", Choices: ranged,
			Recipe: `
db = pct_create("db", image = oci_pull("docker.io/library/alpine:3.22"), memory = "64M", disk = "1G")
pct_create("web", image = oci_pull("docker.io/library/alpine:3.22"), memory = "64M", disk = "1G", env = {"DB": db.address})
`,
			Change: `pct_create("web", image = oci_pull("docker.io/library/nginx:1.29"), memory = "64M", disk = "1G", ready = tcp_ready(80))`,
		},
		{
			Name: "two containers of which one waits for the other", Kind: "pct_create",
			Recipe: `
password = secret("db")
db = pct_create("db", image = oci_pull("docker.io/valkey/valkey:8-bookworm"), memory = "128M", disk = "1G",
	mounts = {"/data": zfs_dataset("tank/app/db", owner = 999)}, env = {"PASSWORD": password}, ready = tcp_ready(6379), ready_timeout = "20s")
pct_create("web", image = oci_pull("docker.io/library/alpine:3.22"), memory = "64M", disk = "1G",
	mounts = {"/films": mount(host_dir("/srv/films"), ro = True)}, env = {"DB": db.address})
`,
			Setup: kindtest.Exec("mkdir", "-p", "/srv/films"),
		},
		{Name: "a file in a dataset", Kind: "file",
			Recipe: `file(zfs_dataset("tank/app/etc"), "/conf.d/app.conf", content = "password = %s\n" % secret("db"), uid = 1000, mode = "0640")`,
			Change: `file(zfs_dataset("tank/app/etc"), "/conf.d/app.conf", content = "other\n", uid = 1000, mode = "0600")`,
		},
		{Name: "a file in a container", Kind: "file",
			Base:   alpine,
			Recipe: alpine + `file(web, "/etc/app.conf", content = "a = 1\n")`,
			Change: alpine + `file(web, "/etc/app.conf", content = "a = 2\n", mode = "0600", uid = 5)`,
		},
		{Name: "a command in a container", Kind: "pct_exec",
			Base:   alpine,
			Recipe: alpine + `pct_exec(web, ["mkdir", "-p", "/srv/made"], creates = "/srv/made")`},
		{Name: "a device", Kind: "device_attach", Base: alpine, Recipe: alpine + `device_attach(web, "/dev/net/tun", mode = "0666")`},
		{Name: "a GPU", Kind: "gpu_attach", Recipe: alpine + `gpu_attach(web)`},
		{Name: "no GPU", Kind: "gpu_attach", Base: alpine, Recipe: alpine + `gpu_attach(web, "none")`},
	}
}

func TestConformance(t *testing.T) { kindtest.Run(t, language(), cases()) }

func TestDocumentation(t *testing.T) { kindtest.Documented(t, language(), cases()) }
