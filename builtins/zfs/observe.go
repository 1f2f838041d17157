package zfs

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// User properties that say whose a dataset is. Children inherit them.
const (
	appProp     = "tengil:app"
	stepProp    = "tengil:step"
	formatProp  = "tengil:format"
	protectProp = "tengil:protect"
	format      = "1"
	// parentMark begins stepProp of a parent that was made on the way.
	parentMark = "parent/"
)

// columns are what every dataset is asked for at once, so that one command
// serves all steps.
func columns() []string {
	return []string{
		"name", "mountpoint", "mounted", "used", "available", "quota", "recordsize", "compression", "atime", "xattr", "acltype",
		"logbias", "redundant_metadata", "primarycache", "sync", appProp, stepProp, formatProp, protectProp,
	}
}

// ListAsk asks for all datasets; give its answer to List.
func ListAsk() engine.Ask {
	return engine.AskRun("zfs", "list", "-Hp", "-t", "filesystem", "-o", strings.Join(columns(), ","))
}

// List returns the properties of all datasets, by dataset; unset ones are missing.
// A node without ZFS has none; one that could not be asked is an error.
func List(a *engine.Answers) (map[string]map[string]string, error) {
	return engine.Parsed(a, "zfs list", func(a *engine.Answers) (map[string]map[string]string, error) {
		ans := a.Get(ListAsk())
		if errors.Is(ans.Err, engine.ErrNobody) || pve.WithoutZFS(ans.Err) {
			return nil, nil
		}
		if ans.Err != nil {
			return nil, pve.Explain(ans.Err)
		}
		return pve.ParseZFSList(ans.Result.Stdout, columns())
	})
}

// Mountpoint returns where a dataset is mounted, or will be: a missing one below
// its closest ancestor. The error says why it is, or will be, mounted nowhere.
func Mountpoint(all map[string]map[string]string, name string) (string, error) {
	for at := name; at != "."; at = path.Dir(at) {
		props, ok := all[at]
		if !ok {
			continue
		}
		mp := props["mountpoint"]
		if !strings.HasPrefix(mp, "/") {
			return "", engine.WithHint(fmt.Errorf("dataset %q has mountpoint %q, so %q would be mounted nowhere", at, mp, name),
				`give the dataset its own: properties = {"mountpoint": "/srv/data"}`)
		}
		return path.Join(mp, strings.TrimPrefix(name, at)), nil
	}
	return "/" + name, nil
}

// A state is what is there.
type state struct {
	exists     bool
	props      map[string]string // canonical values, also of exotic properties
	mountpoint string
	topDir              // asked only where it is mounted and matters
	missing    []string // parents that must be made, outermost first
}

func (d dataset) Asks(known *engine.Answers) []engine.Ask {
	if known == nil {
		return []engine.Ask{ListAsk()}
	}
	all, err := List(known)
	if err != nil {
		return nil // Observe tells
	}
	props, ok := all[d.name]
	if !ok {
		return nil
	}
	var asks []engine.Ask
	if exotic := d.exotic(); len(exotic) > 0 {
		asks = append(asks, d.getAsk(exotic))
	}
	if d.wantsStat() && props["mounted"] == "yes" {
		asks = append(asks, statAsk(props["mountpoint"]))
	}
	return asks
}

func (d dataset) wantsStat() bool { return d.uid != nil || d.mode != "" }

func statAsk(dir string) engine.Ask { return engine.AskRun("stat", "-c", "%u %g %a", dir) }

// exotic returns the wanted properties that the shared list does not show.
func (d dataset) exotic() []string {
	var out []string
	for _, p := range d.props {
		if !slices.Contains(columns(), p.name) {
			out = append(out, p.name)
		}
	}
	return out
}

func (d dataset) getAsk(names []string) engine.Ask {
	return engine.AskRun("zfs", "get", "-Hp", "-o", "property,value,source", strings.Join(names, ","), d.name)
}

func (d dataset) Observe(a *engine.Answers) (engine.State, error) {
	all, err := List(a)
	if err != nil {
		return nil, err
	}
	// zfs lists the dataset of a pool with the others, and New has seen the pool.
	if pool := pve.PoolOf(d.name); all != nil && all[pool] == nil {
		return nil, engine.WithHint(fmt.Errorf("zfs list: wanted %q among the datasets, got %d others", pool, len(all)), "look at the pool, on the node:\n    zpool status "+pool)
	}
	st := &state{props: map[string]string{}}
	for _, p := range parents(d.name) {
		if _, ok := all[p]; !ok {
			st.missing = append(st.missing, p)
		}
	}
	props, exists := all[d.name]
	if st.mountpoint, err = d.mountpoint(all); err != nil {
		return nil, err
	}
	if !exists {
		return st, nil
	}
	st.exists = true
	for k, v := range props {
		st.props[k] = canonical(k, v)
	}
	if err := d.observeExotic(a, st); err != nil {
		return nil, err
	}
	if d.wantsStat() && props["mounted"] == "yes" {
		return st, d.observeOwner(a, st)
	}
	return st, nil
}

// mountpoint returns where the dataset will be once the recipe is applied.
func (d dataset) mountpoint(all map[string]map[string]string) (string, error) {
	for _, p := range d.props {
		if p.name == "mountpoint" {
			return path.Clean(p.value), nil
		}
	}
	return Mountpoint(all, d.name)
}

func (d dataset) observeExotic(a *engine.Answers, st *state) error {
	exotic := d.exotic()
	if len(exotic) == 0 {
		return nil
	}
	ans := a.Get(d.getAsk(exotic))
	if ans.Err != nil {
		return pve.Explain(ans.Err)
	}
	got, err := pve.ParseZFSGet(ans.Result.Stdout)
	for name, p := range got {
		st.props[name] = canonical(name, p.Value)
	}
	return err
}

func (d dataset) observeOwner(a *engine.Answers, st *state) error {
	ans := a.Get(statAsk(st.props["mountpoint"]))
	if ans.Err != nil {
		return ans.Err
	}
	var err error
	st.uid, st.gid, st.mode, err = pve.ParseOwner(statAsk(st.props["mountpoint"]).Argv(), ans.Result.Stdout)
	return err
}
