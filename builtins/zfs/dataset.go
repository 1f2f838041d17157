// Package zfs is the recipe function zfs_dataset: a ZFS file system with the
// properties, quota and owner that an application needs.
package zfs

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/builtins/bind"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// KindName is the name of the recipe function.
const KindName = "zfs_dataset"

// Dataset returns the kind.
func Dataset() engine.Kind {
	return engine.Kind{
		Name: KindName,
		Doc: "Makes a ZFS dataset and keeps its properties as the recipe says. Missing parents are made too. " +
			"A dataset outlives its containers: nothing but tg destroy --data removes it. " +
			"Properties that the recipe does not name are left alone. " +
			"On a host without ZFS, whose owner has chosen a directory for data, it makes a directory there, which has no properties and no quota.",
		Example: `zfs_dataset("tank/immich/db", profile = "postgres", owner = 999)`,
		Params:  params(),
		Outputs: []engine.Output{
			{Name: "name", Doc: "The name of the dataset."},
			{Name: "mountpoint", Doc: "The directory on the node where it is mounted, or which it is."},
		},
		New:      newDataset,
		FindAsks: func(*engine.Answers) []engine.Ask { return append(findDirectoryAsks(), ListAsk()) },
		Find:     find,
	}
}

func params() []engine.Param {
	return []engine.Param{
		{Name: "name", Type: engine.TypeString, Required: true, Position: 1,
			Doc:     "The dataset with its pool: `tank/immich/db`.",
			Example: `pool + "/photos"`},
		{Name: "profile", Type: engine.TypeString, Choices: profileNames(),
			Doc: "Sets record size, compression, atime, xattr, ACLs and log bias for a use. " +
				"A changed record size concerns new files only.",
			Example: `"postgres"`},
		{Name: "owner", Type: engine.TypeInt,
			Doc: "The user id, as the container sees it, that owns the top directory. Proxmox shifts ids of unprivileged " +
				"containers by 100000 and so does tengil: 999 is 100999 on the node.",
			Example: `999`},
		{Name: "group", Type: engine.TypeInt, Default: "same as owner",
			Doc: "The group id, as the container sees it, of the top directory.", Example: `999`},
		{Name: "mode", Type: engine.TypeString,
			Doc: "Permissions of the top directory, in octal.", Example: `"0750"`},
		{Name: "properties", Type: engine.TypeTextMap,
			Doc: "ZFS properties; they win over the profile's.", Example: `{"recordsize": "32K", "sync": "disabled"}`},
		{Name: "quota", Type: engine.TypeSize,
			Doc: "The most that the dataset, with its snapshots and children, may take.", Example: `"500G"`},
		{Name: "protect", Type: engine.TypeBool, Default: "False",
			Doc: "Refuse to destroy the dataset even with tg destroy --data.", Example: `True`},
		{Name: "adopt", Type: engine.TypeBool, Default: "False",
			Doc:     "Take over a dataset of that name that tengil did not make. Its content stays as it is.",
			Example: `True`},
	}
}

// A dataset is the wanted state.
type dataset struct {
	app   string
	id    engine.StepID
	name  string
	props []property // sorted by name; never mountpoint's default
	ownership
	protect bool
	adopt   bool
}

func newDataset(c engine.Call) (*engine.Made, error) {
	name := c.Args.String("name")
	if err := checkName(name, c.Facts); err != nil {
		return nil, err
	}
	explicit, err := properties(c.Args)
	if err != nil {
		return nil, err
	}
	id := engine.StepID(KindName + "/" + name)
	src := &bind.Source{Node: id.Node(""), Dataset: name}
	src.Path = engine.Hole(engine.Ref{Node: src.Node, Output: "mountpoint"}, false)
	owner, err := ownershipOf(c.Args, src)
	if err != nil {
		return nil, err
	}
	d := dataset{
		app: c.App, id: id, name: name, props: wanted(c.Args.String("profile"), explicit),
		ownership: owner, protect: c.Args.Bool("protect"), adopt: c.Args.Bool("adopt"),
	}
	made := &engine.Made{Name: name, Known: map[string]string{"name": name}, Detail: src}
	if data := dirOf(name, c.Facts); data != "" {
		src.Dir = dirPath(data, name)
		dir, err := newDirectory(d, c, data, explicit)
		made.Parts = []engine.Part{{Spec: dir}}
		return made, err
	}
	made.Parts = []engine.Part{{Spec: d}}
	return made, nil
}

func checkName(name string, f *engine.Facts) error {
	if err := pve.CheckDataset(name); err != nil {
		return engine.ArgErrorf("name", "%w", err)
	}
	pool := pve.PoolOf(name)
	if pool == name {
		return engine.ArgErrorf("name", "%q is a pool; wanted a dataset below it, such as %q", name, name+"/data")
	}
	var have []string
	for _, p := range f.Pools {
		have = append(have, strconv.Quote(p.Name))
	}
	if f.Imagined || slices.Contains(have, strconv.Quote(pool)) {
		return nil
	}
	err := engine.ArgErrorf("name", "pool %q does not exist on %s", pool, f.Node)
	if len(have) == 0 {
		return engine.WithHint(err, f.Node+" has no ZFS pool")
	}
	return engine.WithHint(err, "pools on this host: "+strings.Join(have, ", "))
}

// properties returns the explicit ones; quota= is one of them.
func properties(a engine.Args) ([]property, error) {
	var out []property
	for _, e := range a.Entries("properties") {
		t, _ := e.Value.(engine.Text)
		value, ok := t.Literal()
		if !ok {
			return nil, engine.ArgErrorf("properties", "%s is known only later; a property must be known when the recipe is read", e.Key)
		}
		if err := checkProperty(e.Key, value); err != nil {
			return nil, engine.ArgErrorf("properties", "%w", err)
		}
		out = append(out, property{e.Key, value, "the recipe sets it"})
	}
	if a.Has("quota") {
		q := a.Size("quota")
		if q <= 0 {
			return nil, engine.ArgErrorf("quota", "wanted more than 0, got %s", q)
		}
		out = append(out, property{"quota", strconv.FormatInt(int64(q), 10), "the recipe sets it"})
	}
	return out, nil
}

// reserved are properties that tengil needs for itself or that have a parameter.
func reserved() map[string]string {
	return map[string]string{
		"mounted": "it cannot be set", "canmount": "the dataset must be mounted", "volsize": "the dataset is no volume",
		"quota": "use the parameter quota",
	}
}

func checkProperty(name, value string) error {
	if why, bad := reserved()[name]; bad {
		return fmt.Errorf("%q: %s", name, why)
	}
	if strings.HasPrefix(name, "tengil:") {
		return fmt.Errorf("%q: tengil keeps its own marks there", name)
	}
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_:.") != "" || strings.HasPrefix(name, ".") {
		return fmt.Errorf("%q is no name of a property", name)
	}
	if known := pve.ZFSProperties(); !strings.Contains(name, ":") && !slices.Contains(known, name) {
		return fmt.Errorf("ZFS has no property %q%s that can be set; see man zfsprops", name, engine.DidYouMean(name, known))
	}
	if _, i := pve.ControlChars(value); i >= 0 || strings.Contains(value, "\t") || value == "" {
		return fmt.Errorf("%s is %q; wanted text without control characters", name, value)
	}
	if name == "mountpoint" {
		if err := pve.CheckPath(value); err != nil {
			return fmt.Errorf("mountpoint: %w", err)
		}
	}
	return nil
}

// ours reports whether the marks that zfs list shows are the dataset's own. Its
// children inherit them, so the step's mark must name the dataset itself.
func ours(name string, props map[string]string) bool {
	return props[stepProp] == KindName+"/"+name && props[appProp] != ""
}

// parents returns the datasets above name, below the pool, outermost first.
func parents(name string) []string {
	var out []string
	for p := path.Dir(name); strings.Contains(p, "/"); p = path.Dir(p) {
		out = append(out, p)
	}
	slices.Reverse(out)
	return out
}
