// Command registry-dir is a registry plugin of tengil: the images in a folder, such
// as a share, as OCI layouts and as what docker save writes. Recipes write
// dir://photos/app:1.0, which is looked for in the folder photos/app, in
// photos/app.tar and in photos/app-1.0.tar below DIR_ROOT.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/tengil/tengil/plugins/imagefile"
	"github.com/tengil/tengil/plugins/sdk"
)

func main() { sdk.Serve(registry{os.Getenv("DIR_ROOT")}) }

// A registry is the folder.
type registry struct{ root string }

// Info implements sdk.Registry.
func (r registry) Info() sdk.Info {
	return sdk.Info{
		Name: "registry-dir", Version: "1.0.0", Scheme: "dir", Doc: "images in a folder: OCI layouts, and what docker save writes",
		Env: []sdk.Env{{Name: "DIR_ROOT", Doc: "the folder, an absolute path", Required: true}},
	}
}

// A place is a file that may hold an image, and the tag that tells which one there.
type place struct {
	name, tag string
	folder    bool
}

// parse splits "photos/app:1.0@sha256:…".
func parse(ref string) (name, tag, digest string, err error) {
	name, digest, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i+1:]
	}
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\x00\n\\") || len(ref) > 1000 || strings.Contains(tag, "/") {
		return "", "", "", fmt.Errorf("%.100q is no reference; wanted FOLDER/NAME:TAG", ref)
	}
	return name, tag, digest, nil
}

// open returns the file that holds an image. What is below the folder, and nothing
// that a symbolic link leads to elsewhere, can be named.
func (r registry) open(ref, arch string) (*opened, sdk.Manifest, error) {
	name, tag, digest, err := parse(ref)
	if err != nil {
		return nil, sdk.Manifest{}, err
	}
	root, err := os.OpenRoot(r.root)
	if err != nil {
		return nil, sdk.Manifest{}, errors.New(err.Error()) // that the share is gone does not mean that the image is
	}
	places := []place{{name, tag, true}, {name + ".tar", tag, false}}
	if tag != "" {
		places = append(places, place{name + "-" + tag + ".tar", "", false})
	}
	for _, at := range places {
		o, err := openAt(root, at)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, sdk.Manifest{}, errors.Join(fmt.Errorf("%s: %w", at.name, err), root.Close())
		}
		m, err := o.Image(at.tag, digest, arch)
		if err == nil {
			return o, m, nil
		}
		if err := errors.Join(ifOther(err, at.name), o.file.Close()); err != nil {
			return nil, sdk.Manifest{}, errors.Join(err, root.Close())
		}
	}
	_ = root.Close()
	return nil, sdk.Manifest{}, sdk.NotFound("there is no %q for %s in %s", ref, arch, r.root)
}

// ifOther returns err unless it is that the image is not there.
func ifOther(err error, name string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

// An opened file is to be closed.
type opened struct {
	*imagefile.File
	file, root io.Closer
}

// Close closes both.
func (o *opened) Close() error { return errors.Join(o.file.Close(), o.root.Close()) }

func openAt(root *os.Root, at place) (*opened, error) {
	if at.folder {
		sub, err := root.OpenRoot(at.name)
		if err != nil {
			if st, statErr := root.Stat(at.name); statErr != nil || !st.IsDir() {
				return nil, fs.ErrNotExist // a file of that name is no layout
			}
			return nil, err
		}
		if _, err := sub.Stat("index.json"); err != nil {
			return nil, errors.Join(err, sub.Close())
		}
		f, err := imagefile.Folder(sub.FS())
		if err != nil {
			return nil, errors.Join(err, sub.Close())
		}
		return &opened{f, sub, root}, nil
	}
	file, err := root.Open(at.name)
	if err != nil {
		return nil, err
	}
	st, err := file.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("it is no file")
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	f, err := imagefile.Tar(file, st.Size())
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &opened{f, file, root}, nil
}

// Resolve implements sdk.Registry.
func (r registry) Resolve(_ context.Context, ref, arch string) (sdk.Manifest, error) {
	o, m, err := r.open(ref, arch)
	if err != nil {
		return sdk.Manifest{}, err
	}
	return m, o.Close()
}

// Blob implements sdk.Blobber.
func (r registry) Blob(_ context.Context, ref string, d sdk.Descriptor) (io.ReadCloser, error) {
	for _, arch := range []string{"amd64", "arm64"} {
		o, _, err := r.open(ref, arch)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		blob, err := o.Blob(d.Digest)
		if err == nil {
			return &withFile{blob, o}, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(err, o.Close())
		}
		_ = o.Close()
	}
	return nil, sdk.NotFound("%q has no blob %s", ref, d.Digest)
}

// A withFile closes the file with the blob.
type withFile struct {
	io.ReadCloser
	file io.Closer
}

// Close implements io.Closer.
func (w *withFile) Close() error { return errors.Join(w.ReadCloser.Close(), w.file.Close()) }

// Tags implements sdk.Tagger.
func (r registry) Tags(_ context.Context, repository string) ([]string, error) {
	name, tag, digest, err := parse(repository)
	if err != nil || tag != "" || digest != "" {
		return nil, errors.Join(err, fmt.Errorf("%.100q is no name without a tag", repository))
	}
	root, err := os.OpenRoot(r.root)
	if err != nil {
		return nil, errors.New(err.Error())
	}
	defer root.Close()
	var tags []string
	for _, at := range []place{{name, "", true}, {name + ".tar", "", false}} {
		o, err := openAt(root, at)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at.name, err)
		}
		tags = append(tags, o.Tags()...)
		_ = o.file.Close()
	}
	files, err := fs.ReadDir(root.FS(), path.Dir(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, f := range files {
		if tag, ok := strings.CutPrefix(f.Name(), path.Base(name)+"-"); ok && strings.HasSuffix(tag, ".tar") {
			tags = append(tags, strings.TrimSuffix(tag, ".tar"))
		}
	}
	if len(tags) == 0 {
		return nil, sdk.NotFound("there is no %q in %s", repository, r.root)
	}
	slices.Sort(tags)
	return slices.Compact(tags), nil
}

// Search implements sdk.Searcher: by the names of folders and files.
func (r registry) Search(ctx context.Context, words string, limit int) ([]sdk.Found, error) {
	root, err := os.OpenRoot(r.root)
	if err != nil {
		return nil, errors.New(err.Error())
	}
	defer root.Close()
	var found []sdk.Found
	err = fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil && name == ".":
			return err
		case err != nil:
			return nil // what may not be read is not offered
		case ctx.Err() != nil:
			return ctx.Err()
		case len(found) >= limit:
			return fs.SkipAll
		case e.IsDir() && e.Name() == "blobs":
			return fs.SkipDir
		}
		image := path.Dir(name)
		if e.Name() != "index.json" {
			var isTar bool
			if image, isTar = strings.CutSuffix(name, ".tar"); !isTar {
				return nil
			}
		}
		if image != "." && strings.Contains(strings.ToLower(image), strings.ToLower(words)) {
			found = append(found, sdk.Found{Ref: image, Doc: name})
		}
		return nil
	})
	return found, err
}
