package record

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/tengil/tengil/engine"
)

// A Directory marks a directory that holds data on a node without ZFS, as user
// properties mark a dataset. It lies where no container reaches.
type Directory struct {
	Format int           `json:"format"`
	App    string        `json:"-"` // told by where the mark lies
	Step   engine.StepID `json:"step"`
	Node   string        `json:"node"` // whose directory it is; the marks are the cluster's
	Path   string        `json:"path"` // absolute
	// Mount is where the file system was mounted that the directory is on, so that
	// a disk which is not mounted is not taken for an empty one.
	Mount   string   `json:"mount"`
	Stage   DirStage `json:"stage"`
	Protect bool     `json:"protect,omitempty"`
}

// A DirStage tells how far tengil has come with a directory.
type DirStage string

// The stages. A mark is written before its directory is made and removed after it.
const (
	DirMaking   DirStage = "making"
	DirMade     DirStage = "made"
	DirRemoving DirStage = "removing"
)

const dirPrefix = "directory."

// DirectoryPath returns where the mark of a node's directory is kept.
func DirectoryPath(app, node, dir string) string {
	return PrivFile(app, dirPrefix+node+"."+FileName(path.Base(dir))+".json")
}

// DirectoryFile returns the file that holds d.
func DirectoryFile(d Directory) engine.File {
	d.Format = Format
	data, _ := json.Marshal(d) // plain strings: cannot fail
	return engine.File{Name: DirectoryPath(d.App, d.Node, d.Path), Data: append(data, '\n'), Perm: 0o600}
}

// DirectoryGlob matches the marks of all apps; give its answer to Directories.
func DirectoryGlob() string { return path.Join(privDir, "*", dirPrefix+"*") }

// Directories returns the marks of a node's directories, sorted by app and path.
func Directories(a *engine.Answers, node string) ([]Directory, error) {
	files, err := a.Glob(DirectoryGlob())
	if err != nil {
		return nil, err
	}
	var out []Directory
	for _, name := range slices.Sorted(maps.Keys(files)) {
		var d Directory
		if err := json.Unmarshal(files[name], &d); err != nil {
			return nil, engine.WithHint(fmt.Errorf("%s: %w", name, err), "tengil did not write it so; if you know that the directory is nobody's, remove the file")
		}
		if err := checkFormat(name, d.Format); err != nil {
			return nil, err
		}
		d.App = path.Base(path.Dir(name))
		if d.Node != node {
			continue
		}
		if !path.IsAbs(d.Path) || path.Clean(d.Path) != d.Path || name != DirectoryPath(d.App, d.Node, d.Path) {
			return nil, fmt.Errorf("%s: the mark speaks of directory %q of node %q; wanted the one that its name says", name, d.Path, d.Node)
		}
		out = append(out, d)
	}
	return out, nil
}
