// Package debimage builds small OCI images of Debian packages, for labs whose
// containers run for real and reach no registry: it unpacks packages from where
// the machine has its own, and runs nothing of them. It needs Debian's apt and
// dpkg, but not root.
package debimage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Programs are what Build runs, beside what comes with them.
var Programs = []string{"apt-get", "dpkg-deb"}

// A description is image.json in the directory of an image. What the image is
// to hold beside packages lies in the directory root beside it.
type description struct {
	From     string            // the image that this one adds a layer to; "" for none
	Packages []string          // with all that they depend on
	Without  []string          // patterns of packages that are left out, here and in images that add to this one
	Users    map[string]int    // their groups have the same ids
	Groups   map[string]int    // further ones
	Owned    map[string]string // directories, made if need be, and whose they are
	Programs string            // pattern of directories whose files are linked from usr/local/bin
	Config   v1.Config
}

// An image is one that is described.
type image struct {
	description
	name string
	dir  string
	from *image
	key  string // changes with all that goes in
}

// version is part of every key: that of how images are made.
const version = "1"

// Cache is where images are kept on this machine.
func Cache() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "tengil", "images"), err
}

// Build builds each image that a directory below src describes, as far as the
// cache lacks it, and returns the directories of their OCI layouts by name. What
// is in the cache stays right until a description or its files change: newer
// packages make no new image.
func Build(ctx context.Context, src, cache string) (map[string]string, error) {
	cache, err := filepath.Abs(cache)
	if err != nil {
		return nil, err
	}
	images, err := load(src)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	var missing []*image
	for _, i := range images {
		at := filepath.Join(cache, i.name+"-"+i.key)
		out[i.name] = at
		if _, err := os.Stat(at); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, i)
		} else if err != nil {
			return nil, err
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	packages, err := fetch(ctx, missing, cache)
	if err != nil {
		return nil, err
	}
	for _, i := range missing {
		if err := i.write(ctx, packages, cache, out[i.name]); err != nil {
			return nil, fmt.Errorf("image %s: %w", i.name, err)
		}
	}
	return out, nil
}

// Push copies the image of an OCI layout to a registry on this machine that asks
// for no TLS, with the machine's skopeo.
func Push(ctx context.Context, layout, ref string) error {
	said, err := exec.CommandContext(ctx, "skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", "oci:"+layout, "docker://"+ref).CombinedOutput()
	if err != nil {
		return fmt.Errorf("push %s: %w: %s", ref, err, bytes.TrimSpace(said))
	}
	return nil
}

// load reads all descriptions; an image comes after the one it adds to.
func load(src string) ([]*image, error) {
	files, err := filepath.Glob(filepath.Join(src, "*", "image.json"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no directory there has an image.json", src)
	}
	byName := map[string]*image{}
	for _, f := range files {
		i := &image{dir: filepath.Dir(f)}
		i.name = filepath.Base(i.dir)
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&i.description); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		byName[i.name] = i
	}
	var out []*image
	var add func(i *image) error
	add = func(i *image) error {
		if i.key != "" {
			return nil
		}
		i.key = "being made"
		if i.From != "" {
			if i.from = byName[i.From]; i.from == nil || i.from.key == "being made" {
				return fmt.Errorf("image %s adds to %q, which is not there or adds to it", i.name, i.From)
			}
			if err := add(i.from); err != nil {
				return err
			}
		}
		out = append(out, i)
		return i.sum()
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if err := add(byName[name]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// sum sets the image's key.
func (i *image) sum() error {
	h := sha256.New()
	fmt.Fprintf(h, "%s %s\n", version, runtime.GOARCH)
	if release, err := os.ReadFile("/etc/debian_version"); err == nil { // else apt is missing as well
		h.Write(release)
	}
	if i.from != nil {
		fmt.Fprintln(h, i.from.key)
	}
	err := filepath.WalkDir(i.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(i.dir, name)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(h, "%q %v %d\n%s", filepath.ToSlash(rel), executable(fi), len(data), data)
		return err
	})
	i.key = hex.EncodeToString(h.Sum(nil))[:12]
	return err
}

func executable(fi fs.FileInfo) bool { return fi.Mode()&0o100 != 0 }

// chain returns the image and those that it adds to, the lowest first.
func (i *image) chain() []*image {
	if i.from == nil {
		return []*image{i}
	}
	return append(i.from.chain(), i)
}

// write writes the layout, whole or not at all.
func (i *image) write(ctx context.Context, packages map[*image][]string, cache, to string) (err error) {
	work, err := os.MkdirTemp(cache, ".making-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	at := filepath.Join(work, "layout")
	made := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	if i.from == nil {
		made, err = mutate.ConfigFile(made, &v1.ConfigFile{Architecture: runtime.GOARCH, OS: "linux", RootFS: v1.RootFS{Type: "layers"}})
	} else {
		made, err = readLayout(filepath.Join(cache, i.from.name+"-"+i.from.key))
	}
	if err != nil {
		return err
	}
	file := filepath.Join(work, "layer.tar.gz")
	if err := i.writeLayer(ctx, packages[i], file); err != nil {
		return err
	}
	layer, err := tarball.LayerFromFile(file, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return err
	}
	if made, err = mutate.AppendLayers(made, layer); err != nil {
		return err
	}
	if made, err = mutate.Config(made, i.Config); err != nil {
		return err
	}
	path, err := layout.Write(at, empty.Index)
	if err != nil {
		return err
	}
	if err := path.AppendImage(made); err != nil {
		return err
	}
	err = os.Rename(at, to)
	if errors.Is(err, fs.ErrExist) {
		return nil // another process made the same
	}
	return err
}

func readLayout(dir string) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(m.Manifests) != 1 {
		return nil, fmt.Errorf("%s holds %d images, wanted one", dir, len(m.Manifests))
	}
	return index.Image(m.Manifests[0].Digest)
}

// run runs a program and returns what it printed; its complaint is in the error.
func run(ctx context.Context, dir string, argv ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", argv[0], err, bytes.TrimSpace(said.Bytes()))
	}
	return out.Bytes(), nil
}

// stream runs a program and hands what it prints to read.
func stream(ctx context.Context, read func(io.Reader) error, argv ...string) (err error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	failed := read(out)
	_, rest := io.Copy(io.Discard, out) // so that it ends
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s", argv[0], err, bytes.TrimSpace(said.Bytes()))
	}
	return errors.Join(failed, rest)
}
