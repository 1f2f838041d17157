package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/plugins/launch"
)

func (s *session) pluginsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugins",
		Short: "Add registries that skopeo does not speak",
		Long: `Plugins are programs that find images where skopeo alone would not: in a folder, in a
package store, at a URL. They run on this machine, see none of its environment but
what they ask for, and are started only if they are what was installed.
They lie in ~/.config/tengil/plugins; docs/plugins.md tells how to write one.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	cmd.AddCommand(s.pluginsListCmd(), s.pluginsShowCmd(), s.pluginsInstallCmd(), s.pluginsRemoveCmd(), s.pluginsVerifyCmd(), s.pluginsCheckCmd(), s.pluginsNewCmd())
	return cmd
}

// pluginStore returns where plugins are: beside the configuration, and beside tg.
func (s *session) pluginStore() (launch.Store, error) {
	name, err := s.configFile()
	if err != nil {
		return launch.Store{}, err
	}
	store := launch.Store{Dir: filepath.Dir(name)}
	if tg, err := os.Executable(); err == nil {
		if to, err := filepath.EvalSymlinks(tg); err == nil {
			tg = to
		}
		store.Beside = []string{filepath.Join(filepath.Dir(tg), "plugins"), filepath.Dir(tg)}
	}
	return store, nil
}

// pluginOptions say how plugins are run: what they print is shown with --verbose.
func (s *session) pluginOptions() launch.Options {
	log := s.log()
	return launch.Options{Getenv: s.getenv, Log: func(l launch.Line) { log.Info(l.Text, "plugin", l.Plugin) }}
}

// knownPlugin returns an installed plugin, or an error that says which there are.
func (s *session) knownPlugin(store launch.Store, name string) (launch.Installed, error) {
	p, err := store.Get(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	all, listErr := store.List()
	if listErr != nil {
		return p, listErr
	}
	var names []string
	for _, in := range all {
		names = append(names, in.Info.Name)
	}
	if near := nearest(name, names); near != "" {
		return p, fmt.Errorf("plugin %q is not installed (did you mean %q?)", name, near)
	}
	return p, engine.WithHint(fmt.Errorf("plugin %q is not installed", name), "which are:\n    "+ui.Command([]string{"tg", "plugins", "list"}))
}

// completePlugin offers the plugins that are installed.
func (s *session) completePlugin(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	store, err := s.pluginStore()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, _ := store.List() // what cannot be read is nothing to offer
	var names []string
	for _, in := range all {
		names = append(names, in.Info.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// A pluginView is a plugin for programs.
type pluginView struct {
	engine.RegistryInfo
	Installed bool              `json:"installed"`
	SHA256    string            `json:"sha256,omitempty"`
	From      string            `json:"from,omitempty"`
	Set       map[string]string `json:"set,omitempty"` // secrets masked
}

func viewOfPlugin(p launch.Installed) pluginView {
	v := pluginView{RegistryInfo: p.Info, Installed: true, SHA256: p.SHA256, From: p.From, Set: map[string]string{}}
	for _, e := range p.Info.Env {
		if value, ok := p.Env[e.Name]; ok && e.Secret {
			v.Set[e.Name] = engine.Masked
		} else if ok {
			v.Set[e.Name] = value
		}
	}
	return v
}

// printPlugin tells what a plugin is and what it asks for.
func (s *session) printPlugin(p launch.Installed) {
	i := p.Info
	s.printf("%s %s\n", i.Name, i.Version)
	line := func(what, text string) {
		if text != "" {
			s.printf("  %-10s %s\n", what, text)
		}
	}
	line("what", i.Doc)
	line("scheme", i.Scheme+"://")
	line("can", powers(i))
	hosts := strings.Join(i.Hosts, ", ")
	if hosts == "" {
		hosts = "it names none"
	}
	line("connects", hosts)
	for _, e := range i.Env {
		text := e.Name
		if e.Doc != "" {
			text += ": " + e.Doc
		}
		if e.Required {
			text += " (needed)"
		}
		switch value, stored := p.Env[e.Name]; {
		case stored && e.Secret:
			text += "; is set"
		case stored:
			text += "; is " + value
		case s.getenv(e.Name) != "":
			text += "; is set in the environment"
		}
		line("variable", text)
	}
	line("from", p.From)
	line("sha256", p.SHA256)
}

func powers(i engine.RegistryInfo) string {
	var can []string
	for _, p := range i.Can {
		can = append(can, string(p))
	}
	return strings.Join(can, ", ")
}
