package recipe

import (
	"io/fs"
	"path"
	"strings"
	"time"
)

// A Bundle is every file that an evaluation read, by the name that Recipe.Files
// has for it: "immich.star", "lib/x.star", "@name//lib/x.star". With it the
// recipe can be evaluated again where the files are not.
type Bundle map[string]string

// FS returns the recipe's own catalog, for Options.FS.
func (b Bundle) FS() fs.FS { return bundleFS{b, ""} }

// Catalogs returns the other catalogs, for Options.Catalogs.
func (b Bundle) Catalogs() map[string]fs.FS {
	all := map[string]fs.FS{}
	for name := range b {
		if catalog, _, ok := strings.Cut(strings.TrimPrefix(name, "@"), "//"); ok && name[0] == '@' {
			all[catalog] = bundleFS{b, "@" + catalog + "//"}
		}
	}
	return all
}

// A bundleFS is one catalog of a bundle; prefix is what its names begin with.
type bundleFS struct {
	files  Bundle
	prefix string
}

// Open opens a file; a bundle has no directories.
func (f bundleFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	data, ok := f.files[f.prefix+name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return bundled{strings.NewReader(data), path.Base(name)}, nil
}

// A bundled is an open file of a bundle, and what Stat says of it.
type bundled struct {
	*strings.Reader
	name string
}

func (b bundled) Stat() (fs.FileInfo, error) { return b, nil }
func (bundled) Close() error                 { return nil }
func (b bundled) Name() string               { return b.name }
func (bundled) Mode() fs.FileMode            { return 0o444 }
func (bundled) ModTime() time.Time           { return time.Time{} }
func (bundled) IsDir() bool                  { return false }
func (bundled) Sys() any                     { return nil }
