package builtins_test

import (
	"io/fs"
	"testing"

	"github.com/tengil/tengil/builtins/kindtest"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/recipes"
)

// withServices is a node on which the owner has installed what the kinds need.
func withServices(t *testing.T, l *lab.Lab) {
	kindtest.Exec("apt-get", "install", "-y", "samba", "nfs-kernel-server")(t, l)
	kindtest.Exec("mkdir", "-p", "/srv/photos", "/srv/films")(t, l)
}

func scriptCases() []kindtest.Case {
	const cron = `load("@tengil//kinds/cron_job.star", "cron_job")
`
	const nfs = `load("@tengil//kinds/nfs_export.star", "nfs_export")
`
	const samba = `load("@tengil//kinds/samba_share.star", "samba_share")
`
	return []kindtest.Case{
		{
			Name: "a job of cron", Kind: "cron_job",
			Recipe: cron + `cron_job("check", schedule = "15 3 * * *", command = ["/usr/bin/true", "it's 100%", "$(x)"])`,
			Change: cron + `cron_job("check", schedule = "@daily", command = ["/usr/bin/true"], user = "www-data", mailto = "a@example.org")`,
		},
		{
			Name: "an export", Kind: "nfs_export", Setup: withServices,
			Recipe: nfs + `nfs_export("photos", path = "/srv/photos", clients = ["192.168.1.0/24", "nas"])`,
			Change: nfs + `nfs_export("photos", path = "/srv/films", clients = ["*"], options = ["ro"])`,
		},
		{
			Name: "an export of a dataset that the recipe makes", Kind: "nfs_export", Setup: withServices,
			Recipe: nfs + `nfs_export("data", path = zfs_dataset("tank/app/data").mountpoint, clients = ["*"])`,
		},
		{
			Name: "a share", Kind: "samba_share", Setup: withServices,
			Recipe: samba + `samba_share("photos", path = "/srv/photos", users = ["ben", "@family"], comment = "Photos")`,
			Change: samba + `samba_share("photos", path = "/srv/films", read_only = True, guests = True)`,
		},
		{
			Name: "two shares, made side by side, one of a dataset", Kind: "samba_share", Setup: withServices,
			Recipe: samba + `
samba_share("data", path = zfs_dataset("tank/app/data").mountpoint)
samba_share("photos", path = "/srv/photos")
`,
			Change: samba + `samba_share("photos", path = "/srv/photos")`,
		},
	}
}

func TestScriptConformance(t *testing.T) {
	lang := language()
	lang.Catalogs = map[string]fs.FS{"tengil": recipes.FS}
	kindtest.Run(t, lang, scriptCases())
}
