package recipes_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab/labtest"
	"github.com/tengil/tengil/engine/plan"
)

// An edit changes one parameter of the Immich recipe: an option, or one argument
// of one call.
type edit struct {
	name   string
	old    string // text of the recipe
	new    string
	values map[string]string // instead of old and new: options
	want   []string          // "step field", all that the plan may have but for consequences
	needs  string            // release of Proxmox VE

	planOnly bool
}

const (
	immichDB     = "pct_create/db "
	immichRedis  = "pct_create/redis "
	immichServer = "pct_create/server "
)

// redis returns an edit that gives the container redis one parameter more.
func redis(param, value string, want ...string) edit {
	for i := range want {
		want[i] = immichRedis + want[i]
	}
	return edit{name: "redis " + param, old: `"redis", image`, new: `"redis", ` + param + " = " + value + `, image`, want: want}
}

// moved is an edit after which redis has another address, which server is told.
func moved(e edit) edit { e.want = append(e.want, immichServer+"env.REDIS_HOSTNAME"); return e }

// planned is an edit that the lab cannot apply.
func planned(e edit) edit { e.planOnly = true; return e }

func since(release string, e edit) edit { e.needs = release; return e }

// edits covers every option and every argument that immich.star has, and every
// parameter of pct_create that it does not use; TestEveryParameterIsWalked
// fails when one is missing.
var edits = []edit{
	{name: "release", values: map[string]string{"release": "v3.1.1"}, want: []string{
		"oci_pull/ghcr.io/immich-app/immich-machine-learning:v3.1.1 ", "oci_pull/ghcr.io/immich-app/immich-server:v3.1.1 ",
		"pct_create/machine-learning image", "pct_create/server image"}},
	{name: "pool", values: map[string]string{"pool": "rpool"}, want: []string{
		immichDB + "mounts./var/lib/postgresql/data", immichServer + "mounts./data", "zfs_dataset/rpool/immich/db ", "zfs_dataset/rpool/photos "}},
	{name: "library", values: map[string]string{"library": "tank/pictures"}, want: []string{immichServer + "mounts./data", "zfs_dataset/tank/pictures "}},
	{name: "gpu", values: map[string]string{"gpu": "none"}, want: []string{
		"pct_create/machine-learning devices", "pct_create/machine-learning lxc.mount.entry", immichServer + "devices", immichServer + "lxc.mount.entry"}},
	{name: "db image", old: "postgres:14-vectorchord0.4.3-pgvectors0.2.0", new: "postgres:15-vectorchord0.4.3", want: []string{
		"oci_pull/ghcr.io/immich-app/postgres:15-vectorchord0.4.3 ", immichDB + "image"}},
	{name: "db memory", old: `memory = "2G"`, new: `memory = "3G"`, want: []string{immichDB + "memory"}},
	{name: "db cores", old: `cores = 2`, new: `cores = 3`, want: []string{immichDB + "cores"}},
	{name: "db cores left out", old: "cores = 2,\n", new: "\n", want: []string{immichDB + "cores"}},
	{name: "db disk grows", old: `disk = "8G"`, new: `disk = "16G"`, want: []string{immichDB + "disk"}},
	{name: "db disk shrinks", old: `disk = "8G"`, new: `disk = "6G"`, want: []string{immichDB + "disk"}},
	{name: "db shm", old: `shm = "128M"`, new: `shm = "256M"`, want: []string{immichDB + "shm"}},
	{name: "db mounts", old: `"/var/lib/postgresql/data": zfs`, new: `"/var/lib/postgresql": zfs`, want: []string{
		immichDB + "mounts./var/lib/postgresql", immichDB + "mounts./var/lib/postgresql/data"}},
	{name: "db dataset profile", old: `profile = "postgres"`, new: `profile = "media"`, want: []string{"zfs_dataset/tank/immich/db *"}},
	{name: "db dataset owner", old: `owner = 999`, new: `owner = 1000`, want: []string{"zfs_dataset/tank/immich/db owner"}},
	{name: "db env changed", old: `"POSTGRES_DB": "immich"`, new: `"POSTGRES_DB": "photos"`, want: []string{immichDB + "env.POSTGRES_DB"}},
	{name: "db env added", old: `"POSTGRES_DB": "immich"`, new: `"POSTGRES_DB": "immich", "PGTZ": "UTC"`, want: []string{immichDB + "env.PGTZ"}},
	{name: "db env removed", old: `"POSTGRES_USER": "postgres", `, new: ``, want: []string{immichDB + "env.POSTGRES_USER"}},
	{name: "db ready", old: `["pg_isready", "-U", "postgres", "-d", "immich"]`, new: `["pg_isready"]`},
	{name: "server dataset protect", old: `protect = True`, new: `protect = False`, want: []string{"zfs_dataset/tank/photos protect"}},

	redis("hostname", `"cache"`, "hostname"),
	redis("swap", `"0"`, "swap"),
	redis("storage", `"local-zfs"`),
	redis("entrypoint", `["valkey-server", "--save", ""]`, "entrypoint"),
	redis("cmd", `["valkey-server", "--port", "6379"]`, "entrypoint"),
	since("9.2", redis("user", `"999:1000"`, "user")),
	redis("workdir", `"/tmp"`, "workdir"),
	redis("shm", `"96M"`, "shm"),
	redis("tmpfs", `{"/scratch": "32M"}`, "tmpfs./scratch"),
	redis("devices", `["/dev/net/tun,mode=0666"]`, "devices./dev/net/tun"),
	redis("features", `["nesting"]`, "features"),
	redis("cap_drop", `["sys_time"]`, "cap_drop"),
	redis("cap_keep", `["net_bind_service", "setuid", "setgid"]`, "cap_keep"),
	redis("bridge", `"vmbr0"`),
	planned(redis("vlan", `20`, "net")), // the lab's bridge has no port that could carry a tag
	moved(redis("ip", `"10.10.10.50/24"`, "net")),
	moved(redis("gateway", `"10.10.10.1", ip = "10.10.10.50/24"`, "net")),
	redis("ip6", `"fd00::5/64"`, "net"),
	redis("gateway6", `"fd00::1", ip6 = "fd00::5/64"`, "net"),
	redis("mac", `"BC:24:11:00:00:42"`, "net"),
	redis("firewall", `True`, "net"),
	redis("mtu", `1400`, "net"),
	redis("nameserver", `["9.9.9.9", "1.1.1.1"]`, "nameserver"),
	redis("searchdomain", `"home.example"`, "searchdomain"),
	redis("onboot", `False`, "onboot"),
	redis("order", `3`, "startup"),
	redis("up", `"10s"`, "startup"),
	redis("down", `"90s"`, "startup"),
	redis("tags", `["photos"]`, "tags"),
	redis("protection", `True`, "protection"),
	redis("ostype", `"auto"`),
	redis("vmid", `4711`, "vmid"),
	redis("lxc", `["lxc.prlimit.nofile: 65536"]`, "lxc.prlimit.nofile"),
	redis("after", `[db]`),
	redis("ready_timeout", `"1m"`),
}

// consequences are fields that follow from others: a restart, the new container
// of a replaced one, what happened to depend on an address.
var consequences = []string{"running", "ready", "config", "previous", "mac", "names"}

// fieldsOf lists what a plan changes, "step field", without consequences.
func fieldsOf(p *engine.Plan) []string {
	seen := map[string]bool{}
	for _, n := range p.Nodes {
		for _, c := range n.Diff.Changes {
			field := c.Field
			for _, many := range []string{"devices", "lxc.mount.entry"} {
				if c.Action == engine.Update && strings.HasPrefix(field, many+"./dev/dri") {
					field = many
				}
			}
			// A new container gets its devices anew, an address that may change is not known.
			if slices.Contains(consequences, field) || strings.HasPrefix(c.To, "(known ") || n.Step.ID.Kind() == "gpu_attach" {
				continue
			}
			seen[string(n.Step.ID)+" "+field] = true
		}
	}
	var out []string
	for f := range seen {
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}

// Changing any one parameter gives a plan with exactly that field; applying it
// converges, and so does the way back.
func TestEachParameterChangesExactlyItsField(t *testing.T) {
	base := source(t, "immich.star")
	for _, release := range releases {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, release)
			r.mustRun("immich.star", "", nil)
			for i, e := range edits {
				if e.needs > release || labtest.Raced && i%5 != 0 {
					continue
				}
				t.Run(e.name, func(t *testing.T) { r.walk(t, base, e) })
			}
		})
	}
}

func (r *rig) walk(t *testing.T, base string, e edit) {
	src := base
	if e.old != "" {
		src = strings.Replace(base, e.old, e.new, 1)
		if src == base {
			t.Fatalf("the recipe does not have %q", e.old)
		}
	}
	p, err := r.plan("immich.star", src, e.values)
	if err != nil {
		t.Fatal(err)
	}
	got := fieldsOf(p)
	if len(e.want) == 1 && strings.HasSuffix(e.want[0], "*") {
		prefix := strings.TrimSuffix(e.want[0], "*")
		if len(got) == 0 || slices.ContainsFunc(got, func(f string) bool { return !strings.HasPrefix(f, prefix) }) {
			t.Errorf("changes %q, want only %s", got, e.want[0])
		}
	} else if diff := cmp.Diff(e.want, got); diff != "" && len(e.want)+len(got) > 0 {
		t.Errorf("changes (-want +got):\n%s\n%s", diff, plan.Text(p))
	}
	if e.planOnly {
		return
	}
	for _, step := range []struct {
		name, src string
		values    map[string]string
	}{{"the edit", src, e.values}, {"the way back", base, nil}} {
		if _, err := r.run("immich.star", step.src, step.values, quick); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		p, err := r.plan("immich.star", step.src, step.values)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if !p.Empty() {
			t.Fatalf("%s does not converge:\n%s", step.name, plan.Text(p))
		}
	}
}

func TestEveryParameterIsWalked(t *testing.T) {
	walked := map[string]bool{"name": true, "image": true, "memory": true, "cores": true, "disk": true, "mounts": true, "env": true, "ready": true}
	for _, e := range edits {
		if param, ok := strings.CutPrefix(e.name, "redis "); ok {
			walked[param] = true
		}
	}
	for _, k := range builtins.Kinds() {
		if k.Name != "pct_create" {
			continue
		}
		for _, p := range k.Params {
			if !walked[p.Name] {
				t.Errorf("no edit changes %s", p.Name)
			}
		}
	}
}
