package lab

import (
	"archive/tar"
	"io"
	"path"
	"strings"
)

// A treeEntry is one path of the merged image.
type treeEntry struct {
	kind  byte   // tar.TypeDir, tar.TypeSymlink, else a file
	link  string // of a symbolic link
	layer int    // where the content is
	at    int    // number of the entry within its layer
}

// A tree is the merged image by clean path without a leading slash.
type tree map[string]*treeEntry

// Files returns the content of files of the image as the merged layers show it,
// by the names asked for ("etc/passwd"). Symbolic links are followed within the
// image. What is no file or not there is left out.
func (a *ociArchive) Files(names ...string) (map[string][]byte, error) {
	layers, err := a.orderedLayers()
	if err != nil {
		return nil, err
	}
	t, err := a.merge(layers)
	if err != nil {
		return nil, err
	}
	wanted := map[int]map[int][]string{} // layer → entry → names
	for _, name := range names {
		e := t[t.resolve(name)]
		if e == nil || e.kind == tar.TypeDir || e.kind == tar.TypeSymlink {
			continue
		}
		if wanted[e.layer] == nil {
			wanted[e.layer] = map[int][]string{}
		}
		wanted[e.layer][e.at] = append(wanted[e.layer][e.at], name)
	}
	files := map[string][]byte{}
	for layer, entries := range wanted {
		if err := a.collect(layers[layer], entries, files); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// collect reads the numbered entries of a layer.
func (a *ociArchive) collect(l layer, entries map[int][]string, files map[string][]byte) error {
	at := -1
	return a.eachEntry(l, func(_ *tar.Header, content io.Reader) error {
		at++
		if len(entries[at]) == 0 {
			return nil
		}
		data, err := io.ReadAll(content)
		if err != nil {
			return &ociError{"extracting", layerReadError(err)}
		}
		for _, name := range entries[at] {
			files[name] = data
		}
		return nil
	})
}

// merge applies the layers one after the other.
func (a *ociArchive) merge(layers []layer) (tree, error) {
	t := tree{}
	for i, l := range layers {
		err := a.eachEntry(l, func(h *tar.Header, _ io.Reader) error {
			if name, ok := layerName(h.Name); ok {
				t.hide(name)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		at := -1
		err = a.eachEntry(l, func(h *tar.Header, _ io.Reader) error {
			at++
			t.add(h, i, at)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return t, nil
}

// hide applies name if it is a whiteout.
func (t tree) hide(name string) {
	w, ok := parseWhiteout(name)
	if !ok {
		return
	}
	if !w.opaque {
		delete(t, w.name)
	}
	t.clear(w.name)
}

// clear removes all below dir.
func (t tree) clear(dir string) {
	for name := range t {
		if dir == "." || strings.HasPrefix(name, dir+"/") {
			delete(t, name)
		}
	}
}

// add puts an entry of a layer into the tree.
func (t tree) add(h *tar.Header, layer, at int) {
	name, ok := layerName(h.Name)
	if !ok {
		return
	}
	if _, ok := parseWhiteout(name); ok || name == "." {
		return
	}
	name = path.Join(t.resolve(path.Dir(name)), path.Base(name))
	if h.Typeflag == tar.TypeDir {
		if old := t[name]; old == nil || old.kind != tar.TypeSymlink {
			t[name] = &treeEntry{kind: tar.TypeDir}
		}
		return
	}
	e := &treeEntry{kind: h.Typeflag, link: h.Linkname, layer: layer, at: at}
	if h.Typeflag == tar.TypeLink {
		target, _ := layerName(h.Linkname)
		if e = t[target]; e == nil {
			return
		}
	}
	t.clear(name)
	t[name] = e
}

// resolve follows the links in name within the image, as chroot(2) would.
func (t tree) resolve(name string) string {
	done, rest := ".", strings.Split(path.Clean(strings.TrimLeft(name, "/")), "/")
	for links := 0; len(rest) > 0; {
		next := path.Join(done, rest[0])
		rest = rest[1:]
		if next == ".." {
			next = "."
		}
		e := t[next]
		if e == nil || e.kind != tar.TypeSymlink || links == maxLinks {
			done = next
			continue
		}
		links++
		if path.IsAbs(e.link) {
			done = "."
		}
		rest = append(strings.Split(strings.Trim(e.link, "/"), "/"), rest...)
	}
	return done
}
