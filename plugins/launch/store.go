package launch

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
	"path/filepath"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine"
)

// A Store is where plugins are installed: the folder of tg's configuration, which
// holds plugins.json and the folder plugins, and folders that come with tg.
type Store struct {
	Dir    string
	Beside []string // where plugins lie that can be installed by name
}

// An Installed plugin is what plugins.json tells of one.
type Installed struct {
	Info   engine.RegistryInfo `json:"info"`
	SHA256 string              `json:"sha256"`
	From   string              `json:"from"`          // where it was installed from, for people
	Env    map[string]string   `json:"env,omitempty"` // variables that were set with --set
	file   string
}

// File returns where the plugin lies.
func (p Installed) File() string { return p.file }

func (p Installed) plugin(o Options) *Plugin {
	return &Plugin{name: p.Info.Name, file: p.file, sum: p.SHA256, info: p.Info, env: p.Env, o: o.complete()}
}

// Run returns the plugin, to be started at its first call.
func (p Installed) Run(o Options) *Plugin { return p.plugin(o) }

type pins struct {
	Plugins map[string]Installed `json:"plugins"` // by name
}

func (s Store) pinFile() string         { return filepath.Join(s.Dir, "plugins.json") }
func (s Store) file(name string) string { return filepath.Join(s.Dir, "plugins", name+suffix) }

// nameOf returns what a plugin is called before it has said so.
func nameOf(file string) string { return strings.TrimSuffix(filepath.Base(file), suffix) }

func (s Store) read() (pins, error) {
	p := pins{Plugins: map[string]Installed{}}
	data, err := os.ReadFile(s.pinFile())
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return p, fmt.Errorf("%s: %w", s.pinFile(), err)
	}
	for name, in := range p.Plugins {
		if err := in.Info.Check(); err != nil {
			return p, fmt.Errorf("%s: %s: %w", s.pinFile(), name, err)
		}
		if in.Info.Name != name || len(in.SHA256) != 2*sha256.Size {
			return p, fmt.Errorf("%s: %s: wanted its own name and a checksum", s.pinFile(), name)
		}
		in.file = s.file(name)
		p.Plugins[name] = in
	}
	return p, nil
}

func (s Store) write(p pins) error {
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return replace(s.pinFile(), 0o600, func(w io.Writer) error { _, err := w.Write(append(data, '\n')); return err })
}

// replace writes a file in one step.
func replace(name string, perm fs.FileMode, fill func(io.Writer) error) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	err = fill(f)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// List returns what is installed, by name.
func (s Store) List() ([]Installed, error) {
	p, err := s.read()
	if err != nil {
		return nil, err
	}
	all := make([]Installed, 0, len(p.Plugins))
	for _, name := range slices.Sorted(maps.Keys(p.Plugins)) {
		all = append(all, p.Plugins[name])
	}
	return all, nil
}

// Get returns an installed plugin; the error wraps fs.ErrNotExist if there is none.
func (s Store) Get(name string) (Installed, error) {
	p, err := s.read()
	if err != nil {
		return Installed{}, err
	}
	in, ok := p.Plugins[name]
	if !ok {
		return in, fmt.Errorf("plugin %q is not installed: %w", name, fs.ErrNotExist)
	}
	return in, nil
}

// Find returns the file that a person means: a path, or the name of a plugin that
// came with tg, or that is installed.
func (s Store) Find(name string) (string, error) {
	if strings.ContainsAny(name, `/\`) {
		return name, readable(name)
	}
	for _, dir := range append(slices.Clone(s.Beside), filepath.Join(s.Dir, "plugins")) {
		file := filepath.Join(dir, name+suffix)
		if err := readable(file); err == nil {
			return file, nil
		}
	}
	if _, err := os.Stat(name); err == nil {
		return name, readable(name)
	}
	return "", fmt.Errorf("there is no plugin %q: %w", name, fs.ErrNotExist)
}

// Available returns the names of the plugins that came with tg.
func (s Store) Available() []string {
	var names []string
	for _, dir := range s.Beside {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // there need not be one
		}
		for _, e := range entries {
			name := nameOf(e.Name())
			if e.Type().IsRegular() && strings.HasPrefix(name, "registry-") && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// A Candidate is a plugin that may be installed: a copy of it, which has said what it
// is. Install or Drop it.
type Candidate struct {
	Installed
	Was   *Installed // what is installed by that name; nil if nothing is
	store Store
	dir   string
}

// Candidate copies a file, runs the copy once without any variable, and returns what
// it says of itself.
func (s Store) Candidate(ctx context.Context, file string, o Options) (c *Candidate, err error) {
	if err := readable(file); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(s.Dir, "plugins"), 0o700); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Join(s.Dir, "plugins"), ".new-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	c = &Candidate{store: s, dir: dir}
	c.file = filepath.Join(dir, filepath.Base(file))
	if c.SHA256, err = copyFile(file, c.file); err != nil {
		return nil, err
	}
	if c.Info, err = Probe(ctx, c.file, o); err != nil {
		return nil, err
	}
	if c.From, err = filepath.Abs(file); err != nil {
		return nil, err
	}
	p, err := s.read()
	if err != nil {
		return nil, err
	}
	for _, in := range p.Plugins {
		if in.Info.Name == c.Info.Name {
			c.Was = &in
			c.Env = maps.Clone(in.Env)
		} else if in.Info.Scheme == c.Info.Scheme {
			return nil, engine.WithHint(fmt.Errorf("plugin %s has the scheme %s://, as %s has, which is installed", c.Info.Name, c.Info.Scheme, in.Info.Name),
				"remove the other one first:\n    tg plugins remove "+in.Info.Name)
		}
	}
	return c, nil
}

// Set keeps the value of a variable with the plugin; it must ask for it.
func (c *Candidate) Set(name, value string) error {
	var known []string
	for _, e := range c.Info.Env {
		if e.Name == name {
			if c.Env == nil {
				c.Env = map[string]string{}
			}
			c.Env[name] = value
			return nil
		}
		known = append(known, e.Name)
	}
	return fmt.Errorf("plugin %s does not ask for %s; it asks for %s", c.Info.Name, name, orNothing(known))
}

func orNothing(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// Install puts the copy into its place and pins its checksum.
func (c *Candidate) Install() error {
	p, err := c.store.read()
	if err != nil {
		return err
	}
	if err := os.Rename(c.file, c.store.file(c.Info.Name)); err != nil {
		return err
	}
	p.Plugins[c.Info.Name] = c.Installed
	return errors.Join(c.store.write(p), c.Drop())
}

// Drop forgets the copy.
func (c *Candidate) Drop() error { return os.RemoveAll(c.dir) }

// Remove removes an installed plugin.
func (s Store) Remove(name string) error {
	if _, err := s.Get(name); err != nil {
		return err
	}
	p, err := s.read()
	if err != nil {
		return err
	}
	delete(p.Plugins, name)
	if err := s.write(p); err != nil {
		return err
	}
	if err := os.Remove(s.file(name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Verify compares the file with the checksum that was pinned.
func (p Installed) Verify() error {
	f, err := os.Open(p.file)
	if err != nil {
		return fmt.Errorf("plugin %s: %w", p.Info.Name, err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	return changed(p.Info.Name, hex.EncodeToString(sum.Sum(nil)), p.SHA256)
}

// changed says that a plugin is no longer what was installed; nil if it is.
func changed(name, got, want string) error {
	if got == want {
		return nil
	}
	return engine.WithHint(fmt.Errorf("plugin %s is not what was installed: its sha256 is %s; wanted %s", name, got, want),
		"if it was you who changed it, install it again:\n    tg plugins install PATH")
}

// copyFile copies a plugin so that only the user can reach and run it, and returns
// the checksum of what was copied.
func copyFile(from, to string) (string, error) {
	in, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer in.Close()
	sum := sha256.New()
	err = replace(to, 0o700, func(w io.Writer) error {
		n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(in, maxFile+1))
		if err == nil && n > maxFile {
			err = fmt.Errorf("%s has more than %d bytes", from, int64(maxFile))
		}
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}
