package debimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// fetch downloads what the images need, beside what it has in the cache, and
// returns the files of the packages that each image adds.
func fetch(ctx context.Context, images []*image, cache string) (map[*image][]string, error) {
	work, err := os.MkdirTemp(cache, ".apt-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	apt, err := newApt(ctx, work)
	if err != nil {
		return nil, err
	}
	debs := filepath.Join(cache, "debs")
	if err := os.MkdirAll(debs, 0o755); err != nil {
		return nil, err
	}
	all := map[*image][]deb{} // of images that others add to as well
	out := map[*image][]string{}
	var missing []string
	for _, i := range images {
		for _, part := range i.chain() {
			if all[part] != nil {
				continue
			}
			if all[part], err = apt.needs(ctx, part); err != nil {
				return nil, fmt.Errorf("image %s: %w", part.name, err)
			}
		}
		for _, d := range all[i] {
			if i.from != nil && slices.Contains(all[i.from], d) {
				continue
			}
			file := filepath.Join(debs, d.file)
			if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && !slices.Contains(missing, d.name) {
				missing = append(missing, d.name)
			}
			out[i] = append(out[i], file)
		}
	}
	return out, apt.download(ctx, missing, debs)
}

// A deb is a package, as apt names its file.
type deb struct{ name, file string }

// apt is apt with lists of its own, for a system where nothing is installed.
type apt struct {
	dir  string
	args []string
}

func newApt(ctx context.Context, dir string) (*apt, error) {
	a := &apt{dir: dir, args: []string{"apt-get", "-qq", "-y", "--no-install-recommends", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User="}}
	for key, name := range map[string]string{"Dir::State": "state", "Dir::Cache": "cache", "Dir::State::status": "state/status"} {
		a.args = append(a.args, "-o", key+"="+filepath.Join(dir, name))
	}
	for _, d := range []string{"state/lists/partial", "cache/archives/partial", "debs"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "state/status"), nil, 0o644); err != nil {
		return nil, err
	}
	_, err := a.run(ctx, "update")
	return a, err
}

func (a *apt) run(ctx context.Context, args ...string) ([]byte, error) {
	return run(ctx, filepath.Join(a.dir, "debs"), append(slices.Clone(a.args), args...)...)
}

// needs returns what an image holds, with what it takes over from others, in an
// order in which all that a package depends on comes before it.
func (a *apt) needs(ctx context.Context, i *image) ([]deb, error) {
	args := []string{"install", "--print-uris"}
	var without []string
	for _, part := range i.chain() {
		args, without = append(args, part.Packages...), append(without, part.Without...)
	}
	said, err := a.run(ctx, args...)
	if err != nil {
		return nil, err
	}
	var out []deb
	for line := range strings.Lines(string(said)) {
		f := strings.Fields(line) // 'URL' FILE SIZE HASH
		if len(f) < 3 {
			return nil, fmt.Errorf("apt-get --print-uris prints %q", line)
		}
		name, _, _ := strings.Cut(f[1], "_")
		if !slices.ContainsFunc(without, func(p string) bool { ok, _ := path.Match(p, name); return ok }) {
			out = append(out, deb{name, f[1]})
		}
	}
	return out, nil
}

// download puts packages to the others in debs.
func (a *apt) download(ctx context.Context, names []string, debs string) error {
	if len(names) == 0 {
		return nil
	}
	if said, err := a.run(ctx, append([]string{"download"}, names...)...); err != nil {
		return errors.Join(err, errors.New(string(bytes.TrimSpace(said))))
	}
	files, err := os.ReadDir(filepath.Join(a.dir, "debs"))
	for _, f := range files {
		err = errors.Join(err, os.Rename(filepath.Join(a.dir, "debs", f.Name()), filepath.Join(debs, f.Name())))
	}
	return err
}
