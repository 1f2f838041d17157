// Package host holds the step kinds that concern the node itself: a directory
// that must exist, a command that runs once.
package host

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/tengil/tengil/builtins/bind"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// DirKind is the name of the recipe function.
const DirKind = "host_dir"

// Dir returns the kind host_dir.
func Dir() engine.Kind {
	return engine.Kind{
		Name: DirKind,
		Doc: "Names a directory of the node that exists already, to be mounted into a container. tengil neither makes nor " +
			"changes it. No part of the path may be a symbolic link, which Proxmox refuses.",
		Example: `host_dir("/srv/films")`,
		Params: []engine.Param{
			{Name: "path", Type: engine.TypeString, Required: true, Position: 1,
				Doc: "Absolute path on the node, without `,` and `=`, which a mount point cannot hold.", Example: `"/srv/films"`},
		},
		Outputs: []engine.Output{{Name: "path", Doc: "The path."}},
		New:     newDir,
	}
}

// A dir is a directory that must be there.
type dir struct{ path string }

func newDir(c engine.Call) (*engine.Made, error) {
	name := c.Args.String("path")
	if err := pve.CheckPath(name); err != nil {
		return nil, engine.ArgErrorf("path", "%w", err)
	}
	name = path.Clean(name)
	for _, system := range []string{"/", "/dev", "/proc", "/sys", "/run", "/etc/pve"} {
		if name == system || system != "/" && strings.HasPrefix(name, system+"/") {
			return nil, engine.ArgErrorf("path", "%q belongs to the node's system", name)
		}
	}
	id := engine.StepID(DirKind + "/" + strings.TrimPrefix(name, "/"))
	return &engine.Made{
		Name: id.Name(), Parts: []engine.Part{{Spec: dir{name}}},
		Known:  map[string]string{"path": name},
		Detail: &bind.Source{Path: engine.Lit(name), Node: id.Node("")},
	}, nil
}

func (d dir) statAsk() engine.Ask { return engine.AskRun("stat", "-c", "%F", d.path) }
func (d dir) linkAsk() engine.Ask { return engine.AskRun("readlink", "-f", d.path) }

func (d dir) Asks(*engine.Answers) []engine.Ask { return []engine.Ask{d.statAsk(), d.linkAsk()} }

// Observe fails where the directory cannot be mounted: there is nothing that a
// run could do about it.
func (d dir) Observe(a *engine.Answers) (engine.State, error) {
	stat := a.Get(d.statAsk())
	var exit *engine.ExitError
	switch {
	case errors.Is(stat.Err, engine.ErrNobody):
		return nil, nil // nobody was there to answer (engine.NothingThere)
	case errors.As(stat.Err, &exit):
		return nil, engine.WithHint(fmt.Errorf("directory %q does not exist", d.path),
			"make it on the node, or use zfs_dataset, which makes what is missing")
	case stat.Err != nil:
		return nil, stat.Err
	}
	kind, err := pve.ParseFileType(d.statAsk().Argv(), stat.Result.Stdout)
	if err != nil {
		return nil, err
	}
	if kind != "directory" {
		if kind == "symbolic link" {
			return nil, d.linkError(a)
		}
		return nil, fmt.Errorf("%q is a %s; wanted a directory", d.path, kind)
	}
	return nil, d.linkError(a)
}

// linkError tells whether a part of the path is a symbolic link, which Proxmox
// refuses at start (LXC.pm, walk_tree_nofollow).
func (d dir) linkError(a *engine.Answers) error {
	link := a.Get(d.linkAsk())
	if link.Err != nil {
		return link.Err
	}
	to, err := pve.ParsePath(d.linkAsk().Argv(), link.Result.Stdout)
	if err != nil {
		return err
	}
	if to != d.path {
		return engine.WithHint(fmt.Errorf("%q leads over a symbolic link to %q; Proxmox mounts no such path", d.path, to),
			fmt.Sprintf("say host_dir(%q)", to))
	}
	return nil
}

func (d dir) Diff(engine.State, engine.Inputs) (engine.Diff, error) {
	return engine.Diff{Outputs: engine.Outputs{"path": engine.Known(d.path)}}, nil
}

// Apply has nothing to do.
func (d dir) Apply(context.Context, engine.Work) (engine.Outputs, error) {
	return engine.Outputs{"path": engine.Known(d.path)}, nil
}
