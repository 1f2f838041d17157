// Package launch finds, verifies, starts and stops plugins; what comes out is an
// engine.Registry for each.
//
// A plugin is one file. What is executed is a copy of it, made for one run in a
// folder that only the user can reach, and compared with the checksum while it is
// copied: so it is what was installed, whoever writes to the file meanwhile.
package launch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/tengil/tengil/engine"
)

// A Line is something that a plugin printed or logged.
type Line struct {
	Plugin string
	Level  string // "debug", "info", "warn", "error"; "" for what was printed
	Text   string
}

// Options say how plugins are run; all may be left out.
type Options struct {
	// Getenv is the environment that variables which a plugin asks for are taken
	// from. Nil means that there is none.
	Getenv func(string) string
	// Log is told what plugins print and log, one line at a time, by several
	// goroutines. Nil drops it.
	Log func(Line)
	// Start, Call and Stall are how long a plugin may take to start (default 20 s), to
	// answer (90 s), and to send the next bytes of a blob (90 s).
	Start, Call, Stall time.Duration
	// Deadline ends what takes longer; default context.WithTimeoutCause.
	Deadline engine.Deadline
}

func (o Options) complete() Options {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&o.Start, 20*time.Second)
	set(&o.Call, 90*time.Second)
	set(&o.Stall, 90*time.Second)
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	if o.Log == nil {
		o.Log = func(Line) {}
	}
	if o.Deadline == nil {
		o.Deadline = context.WithTimeoutCause
	}
	return o
}

// A Set is the plugins that are installed. None runs until it is asked something.
type Set struct {
	o       Options
	plugins map[string]Installed // by scheme
	mu      sync.Mutex
	running map[string]*Plugin // by scheme
}

// Open reads which plugins are installed in a Store. It starts none.
func Open(s Store, o Options) (*Set, error) {
	all, err := s.List()
	if err != nil {
		return nil, err
	}
	set := &Set{o: o, plugins: map[string]Installed{}, running: map[string]*Plugin{}}
	for _, p := range all {
		if other, ok := set.plugins[p.Info.Scheme]; ok {
			return nil, fmt.Errorf("plugins %s and %s both have the scheme %s://", other.Info.Name, p.Info.Name, p.Info.Scheme)
		}
		set.plugins[p.Info.Scheme] = p
	}
	return set, nil
}

// Schemes returns the schemes of the installed plugins, sorted.
func (s *Set) Schemes() []string { return slices.Sorted(maps.Keys(s.plugins)) }

// Registry returns the plugin of a scheme, and starts it at its first call. The error
// wraps fs.ErrNotExist if none has the scheme.
func (s *Set) Registry(scheme string) (engine.Registry, error) {
	p, ok := s.plugins[scheme]
	if !ok {
		return nil, engine.WithHint(fmt.Errorf("no plugin has the scheme %s://: %w", scheme, fs.ErrNotExist),
			"the plugins that are installed:\n    tg plugins list")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.running[scheme]
	if r == nil {
		r = p.plugin(s.o)
		s.running[scheme] = r
	}
	return r, nil
}

// Close ends what was started.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, r := range s.running {
		errs = append(errs, r.Close())
	}
	clear(s.running)
	return errors.Join(errs...)
}

// environ returns the variables that a plugin gets: those that it asks for, as they
// were set at installation, or in the environment, which wins.
func environ(info engine.RegistryInfo, stored map[string]string, getenv func(string) string) ([]string, error) {
	var env []string
	for _, e := range info.Env {
		v := getenv(e.Name)
		if v == "" {
			v = stored[e.Name]
		}
		switch {
		case v != "":
			env = append(env, e.Name+"="+v)
		case e.Required:
			what := e.Name
			if e.Doc != "" {
				what += " (" + e.Doc + ")"
			}
			return nil, engine.WithHint(fmt.Errorf("it wants %s, which is not set", what),
				"set it in the environment, or keep it with the plugin:\n    tg plugins install "+info.Name+" --set "+e.Name+"=…")
		}
	}
	return env, nil
}

// Probe starts a program that is not installed, without any variable, and returns
// what it says of itself.
func Probe(ctx context.Context, file string, o Options) (engine.RegistryInfo, error) {
	p := Program(file, engine.RegistryInfo{}, nil, o)
	info, err := p.Info(ctx)
	if err := errors.Join(err, p.Close()); err != nil {
		return engine.RegistryInfo{}, err
	}
	if err := info.Check(); err != nil {
		return engine.RegistryInfo{}, fmt.Errorf("plugin %s: %w", p.name, err)
	}
	return info, nil
}

// Program returns the plugin in a file that is not installed, and so not verified.
// info tells which variables it gets; env sets some.
func Program(file string, info engine.RegistryInfo, env map[string]string, o Options) *Plugin {
	return &Plugin{name: nameOf(file), file: file, info: info, env: env, o: o.complete()}
}

// readable reports why a file cannot be a plugin.
func readable(file string) error {
	st, err := os.Stat(file)
	switch {
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is no file; a plugin is one file", file)
	case st.Size() > maxFile:
		return fmt.Errorf("%s has %d bytes; at most %d are taken", file, st.Size(), int64(maxFile))
	}
	return nil
}

// maxFile is how large a plugin may be.
const maxFile = 512 << 20
