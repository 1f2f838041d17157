package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/recipes"
)

// A source is where a recipe was found.
type source struct {
	file  fs.FS  // the recipe and what it loads
	name  string // within file: "immich.star"
	dir   string // of a file: as the user named it, for positions; "" for none
	label string // as the user knows it: a path, or "catalog:immich"
	// catalogs are what load("@name//…") resolves in; nil means those of tg.
	catalogs map[string]fs.FS
	close    func() error
}

// ownCatalog is the name by which any recipe loads from the catalog in tg:
// load("@tengil//lib/postgres.star", …).
const ownCatalog = "tengil"

// find looks a recipe up: a file of that name first, then the catalog.
func (s *session) find(name string) (*source, error) {
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir():
		if strings.ContainsRune(name, os.PathSeparator) {
			return nil, fmt.Errorf("%q is a directory; wanted a recipe, a file that ends in .star", name)
		}
	case err == nil:
		return fromFile(name)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case strings.HasSuffix(name, ".star"):
		return nil, noSuchFile(name)
	}
	return fromCatalog(name)
}

// noSuchFile says that a recipe named as a file is none; the catalog, whose
// recipes have names without .star, is not meant.
func noSuchFile(name string) error {
	err := fmt.Errorf("there is no file %q", name)
	app := strings.TrimSuffix(filepath.Base(name), ".star")
	if names, e := catalogNames(); e == nil && slices.Contains(names, app) {
		return engine.WithHint(err, "the recipe that ships with tg is called "+app)
	}
	files, e := filepath.Glob(filepath.Join(filepath.Dir(name), "*.star"))
	if near := nearest(name, files); e == nil && near != "" {
		return fmt.Errorf("%w (did you mean %q?)", err, near)
	}
	return err
}

// fromFile opens a recipe of the user. Its catalog is its directory, and no
// symbolic link leads out of that.
func fromFile(name string) (*source, error) {
	if _, isPlan, err := planData(name); err != nil {
		return nil, err
	} else if isPlan {
		return nil, errIsPlan(name)
	}
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(name)
	if dir == "." {
		dir = ""
	}
	return &source{file: root.FS(), name: filepath.Base(name), dir: filepath.ToSlash(dir), label: name, close: root.Close}, nil
}

// fromCatalog finds a recipe that ships with tg, by its name; where there is none, the
// error also knows the recipes that lie where the name would be a file.
func fromCatalog(app string) (*source, error) {
	if fs.ValidPath(app) && !strings.Contains(app, "/") {
		if _, err := fs.Stat(recipes.FS, app+".star"); err == nil {
			return &source{file: recipes.FS, name: app + ".star", label: "catalog:" + app, close: func() error { return nil }}, nil
		}
	}
	names, err := catalogNames()
	if err != nil {
		return nil, err
	}
	if files, err := filepath.Glob(filepath.Join(filepath.Dir(app), "*.star")); err == nil {
		names = append(files, names...)
	}
	if info, err := os.Stat(app); err == nil && info.IsDir() && !slices.Contains(names, app+".star") {
		return nil, fmt.Errorf("%q is a directory; wanted a recipe, a file that ends in .star", app)
	}
	near := nearest(app, names)
	if slices.Contains(names, app+".star") {
		near = app + ".star"
	}
	if near != "" {
		return nil, fmt.Errorf("there is no recipe %q, neither as a file nor in the catalog (did you mean %q?)", app, near)
	}
	return nil, engine.WithHint(fmt.Errorf("there is no recipe %q, neither as a file nor in the catalog", app),
		"to see what there is:\n    tg recipes list")
}

// otherCatalogs returns what the recipe loads from by name.
func (src *source) otherCatalogs() map[string]fs.FS {
	if src.catalogs != nil {
		return src.catalogs
	}
	return map[string]fs.FS{ownCatalog: recipes.FS}
}

// catalogNames lists the recipes that ship with tg.
func catalogNames() ([]string, error) {
	files, err := fs.Glob(recipes.FS, "*.star")
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(f, ".star")
	}
	return files, nil
}
