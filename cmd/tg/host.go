package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
)

func (s *session) hostCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "host",
		Short: "Name hosts, and say what applications get there",
		Long: `Name hosts, and say once what applications get there: a pool, storages, a bridge,
addresses, limits. It is kept in the config file, ~/.config/tengil/config.json.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	cmd.AddCommand(s.hostAddCmd(), s.hostListCmd(), s.hostShowCmd(), s.hostRemoveCmd(), s.hostDefaultCmd(), s.hostCheckCmd())
	return cmd
}

// knownHost returns a host of the configuration, or an error that says which
// there are.
func (c config) knownHost(name string) (hostConfig, error) {
	if h, ok := c.Hosts[name]; ok {
		return h, nil
	}
	names := slices.Sorted(maps.Keys(c.Hosts))
	switch near := nearest(name, names); {
	case near != "":
		return hostConfig{}, fmt.Errorf("there is no host %q (did you mean %q?)", name, near)
	case len(names) > 0:
		return hostConfig{}, fmt.Errorf("there is no host %q; there are %s", name, strings.Join(names, ", "))
	}
	return hostConfig{}, engine.WithHint(fmt.Errorf("there is no host %q; the config file has none", name), "to add it:\n    tg host add "+name+" root@…")
}

// completeKnownHost offers the hosts of the configuration.
func (s *session) completeKnownHost(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	conf, err := s.config()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.Sorted(maps.Keys(conf.Hosts)), cobra.ShellCompDirectiveNoFileComp
}

// A chosen is one choice for people: what, which, and who made it.
type chosen struct{ what, which, by string }

const (
	byOwner  = "given"
	byTengil = "chosen by tengil"
)

// choicesTable returns the choices that hold on a host. Without facts, effective
// is what was given.
func choicesTable(given, effective engine.Choices) []chosen {
	var rows []chosen
	add := func(what, given, effective string) {
		switch {
		case given != "":
			rows = append(rows, chosen{what, given, byOwner})
		case effective != "":
			rows = append(rows, chosen{what, effective, byTengil})
		}
	}
	add("pool", given.Pool, effective.Pool)
	add("storage", given.Storage, effective.Storage)
	add("templates", given.Templates, effective.Templates)
	add("data", given.Data, effective.Data)
	add("bridge", given.Bridge, effective.Bridge)
	add("range", given.Range, effective.Range)
	add("gateway", given.Gateway, effective.Gateway)
	add("nameserver", given.Nameserver, effective.Nameserver)
	for _, l := range []struct {
		what  string
		given int
		class engine.Class
	}{
		{"downloads", given.Limits.Downloads, engine.Download},
		{"unpacks", given.Limits.Unpacks, engine.Unpack},
		{"starts", given.Limits.Starts, engine.Start},
	} {
		text := ""
		if l.given > 0 {
			text = strconv.Itoa(l.given)
		}
		add(l.what, text, strconv.Itoa(exec.DefaultLimit(l.class)))
	}
	for _, registry := range slices.Sorted(maps.Keys(given.Mirrors)) {
		add("mirror of "+registry, given.Mirrors[registry], "")
	}
	return rows
}

func (s *session) printChoices(rows []chosen) {
	width := 0
	for _, r := range rows {
		width = max(width, len(r.what))
	}
	which := 0
	for _, r := range rows {
		which = max(which, len(r.which))
	}
	for _, r := range rows {
		s.printf("%-*s  %-*s  %s\n", width, r.what, which, r.which, r.by)
	}
}

// nodeLine is what a node is, in a line.
func nodeLine(name string, f *engine.Facts) string {
	return fmt.Sprintf("%s: Proxmox VE %s, node %s, %s, %d cores", name, f.PVE, f.Node, f.Arch, f.Cores)
}
