package pct

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/builtins/bind"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// A Mount is what mount(…) makes: a directory of the node and how it is mounted.
type Mount struct {
	Source *bind.Source
	// Options are everything but Volume and Path.
	Options pve.Mount
}

// MountConstructor returns the constructor mount.
func MountConstructor() engine.Constructor {
	return engine.Constructor{
		Name: "mount",
		Doc: "Says how a dataset or a directory is mounted, as a value in `mounts` of pct_create; " +
			"without options, the dataset or directory alone does the same.",
		Example: `mount(zfs_dataset("tank/media"), ro = True)`,
		Params: []engine.Param{
			{Name: "source", Type: engine.TypeStep, Of: []string{"zfs_dataset", "host_dir"}, Required: true, Position: 1,
				Doc: "What is mounted.", Example: `host_dir("/srv/films")`},
			{Name: "ro", Type: engine.TypeBool, Default: "False", Doc: "Mount read-only.", Example: `True`},
			{Name: "idmap", Type: engine.TypeString,
				Doc: "Which ids of the container stand for which ids on the disk: `passthrough` for the same, or entries " +
					"`u:INSIDE:DISK:COUNT` and `g:INSIDE:DISK:COUNT` joined by `;` (pve-container 6.1.6 and later).",
				Example: `"u:1000:1000:1;g:1000:1000:1"`},
			{Name: "options", Type: engine.TypeStrings, Doc: "Mount options: discard, lazytime, noatime, nodev, noexec, nosuid.",
				Example: `["noexec", "nosuid"]`},
			{Name: "shared", Type: engine.TypeBool, Default: "False",
				Doc: "The same directory exists on all nodes of the cluster, so that the container may move.", Example: `True`},
		},
		New: newMount,
	}
}

func newMount(c engine.Call) (any, error) {
	h := c.Args.Step("source")
	src, ok := bind.Of(h)
	if !ok {
		return nil, engine.ArgErrorf("source", "wanted a zfs_dataset or a host_dir")
	}
	m := &Mount{Source: src, Options: pve.Mount{IDMap: c.Args.String("idmap"), Options: c.Args.Strings("options")}}
	if c.Args.Bool("ro") {
		m.Options.RO = pve.On
	}
	if c.Args.Bool("shared") {
		m.Options.Shared = pve.On
	}
	if err := checkIDMap(m.Options.IDMap); err != nil {
		return nil, engine.ArgErrorf("idmap", "%w", err)
	}
	for _, o := range m.Options.Options {
		if all := []string{"discard", "lazytime", "noatime", "nodev", "noexec", "nosuid"}; !slices.Contains(all, o) {
			return nil, engine.ArgErrorf("options", "no mount option %q; there are %s", o, strings.Join(all, ", "))
		}
	}
	return m, nil
}

var idmapEntry = regexp.MustCompile(`^([ug]):([0-9]{1,10}):([0-9]{1,10}):([0-9]{1,10})$`)

// checkIDMap checks the syntax and that no id inside is mapped twice, which
// Proxmox refuses (PVE::LXC::resolve_mountpoint_idmap).
func checkIDMap(s string) error {
	if s == "" || s == "passthrough" {
		return nil
	}
	type span struct{ from, to uint64 }
	taken := map[string][]span{}
	for e := range strings.SplitSeq(s, ";") {
		f := idmapEntry.FindStringSubmatch(e)
		if f == nil {
			return fmt.Errorf("entry %q; wanted u:INSIDE:DISK:COUNT or g:INSIDE:DISK:COUNT", e)
		}
		from, _ := strconv.ParseUint(f[2], 10, 64) // digits, by the pattern
		count, _ := strconv.ParseUint(f[4], 10, 64)
		if count == 0 || from+count > bind.MaxID+1 {
			return fmt.Errorf("entry %q: ids inside go from 0 to %d", e, bind.MaxID)
		}
		for _, t := range taken[f[1]] {
			if from < t.to && t.from < from+count {
				return fmt.Errorf("entry %q maps ids that another entry maps too", e)
			}
		}
		taken[f[1]] = append(taken[f[1]], span{from, from + count})
	}
	return nil
}
