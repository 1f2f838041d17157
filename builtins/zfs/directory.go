package zfs

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// A directory is the wanted state of a dataset on a host without ZFS: the
// directory of that name in the one that the host's owner has chosen for data.
type directory struct {
	dataset
	node    string
	data    string   // the owner's choice
	path    string   // of the dataset's directory, in data
	ignored []string // properties that the recipe gives and a directory has not
	profile string
	quota   string // "" for none
}

// levels stands for "/" in a dataset's name: no name holds it. All directories
// lie side by side, as datasets do not show in their parents either, and because
// whoever may write in one must not be able to swap another for a link.
const levels = "+"

// dirOf returns the directory for data that a dataset's pool stands for, "" for ZFS.
func dirOf(name string, f *engine.Facts) string {
	for _, p := range f.Pools {
		if p.Name == pve.PoolOf(name) {
			return p.Dir
		}
	}
	return ""
}

// dirPath returns the path of the directory that is the dataset.
func dirPath(data, name string) string {
	_, below, _ := strings.Cut(name, "/")
	return path.Join(data, strings.ReplaceAll(below, "/", levels))
}

// tuning are the properties that change how fast or small data is kept, not what
// it means: without them all is well. Every other has to be refused where it
// cannot be had.
var tuning = []string{
	"acltype", "atime", "checksum", "compression", "copies", "dedup", "direct", "dnodesize", "logbias", "prefetch", "primarycache",
	"recordsize", "redundant_metadata", "refreservation", "relatime", "reservation", "secondarycache", "snapdir",
	"special_small_blocks", "sync", "xattr",
}

func newDirectory(d dataset, c engine.Call, data string, explicit []property) (directory, error) {
	dir := directory{dataset: d, node: c.Facts.Node, data: data, path: dirPath(data, d.name), profile: c.Args.String("profile")}
	dir.props = nil
	for _, p := range explicit {
		switch {
		case p.name == "quota":
			dir.quota = engine.Size(c.Args.Size("quota")).String()
		case slices.Contains(tuning, p.name) || strings.Contains(p.name, ":"):
			dir.ignored = append(dir.ignored, p.name)
		default:
			return dir, engine.WithHint(engine.ArgErrorf("properties", "%s is %q, which no directory can give, and %s has no ZFS pool for %s",
				p.name, p.value, c.Facts.Node, d.name), "leave it out, or choose a pool of ZFS for this dataset")
		}
	}
	if err := pve.CheckPath(dir.path); err != nil {
		return dir, engine.ArgErrorf("name", "%w", err)
	}
	const longest = 255 // of a file's name
	if n := len(path.Base(record.DirectoryPath(d.app, dir.node, dir.path))); n > longest {
		return dir, engine.ArgErrorf("name", "%q is too long for a host without ZFS: its mark would be a file whose name has %d characters; at most %d fit", d.name, n, longest)
	}
	return dir, nil
}

// mark returns what the node is to remember of the directory.
func (d directory) mark(mount string, stage record.DirStage) record.Directory {
	return record.Directory{App: d.app, Step: d.id, Node: d.node, Path: d.path, Mount: mount, Stage: stage, Protect: d.protect}
}

// notes tell what the recipe says and a directory does not give.
func (d directory) notes() []engine.Note {
	notes := []engine.Note{{Label: "directory", Text: fmt.Sprintf("%s, as this host keeps data in directories", d.path)}}
	if d.profile != "" {
		notes = append(notes, engine.Note{Label: "profile", Text: d.profile + " sets nothing: a directory has no properties of ZFS"})
	}
	if len(d.ignored) > 0 {
		notes = append(notes, engine.Note{Label: "properties", Warn: true, Text: strings.Join(d.ignored, ", ") + ": a directory has no properties of ZFS"})
	}
	if d.quota != "" {
		notes = append(notes, engine.Note{Label: "quota", Warn: true, Text: fmt.Sprintf("%s is not enforced: a directory may fill the file system of %s", d.quota, d.data)})
	}
	return notes
}
