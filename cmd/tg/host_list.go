package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/engine"
)

// A hostView is a host of the configuration for programs.
type hostView struct {
	Name    string         `json:"name"`
	Address string         `json:"address"`
	Default bool           `json:"default"`
	Given   engine.Choices `json:"given"`
	// What the node has said, where it was asked.
	Node      string          `json:"node,omitempty"`
	PVE       string          `json:"pve,omitempty"`
	Effective *engine.Choices `json:"effective,omitempty"`
}

func viewOfHost(name string, h hostConfig, c config) hostView {
	return hostView{Name: name, Address: h.Address, Default: c.Default == name, Given: h.Choices}
}

func (s *session) hostListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the hosts of the config file",
		Args:  exactly(),
		RunE:  func(*cobra.Command, []string) error { return s.hostList() },
	}
}

// hostList lists the hosts without asking them.
func (s *session) hostList() error {
	conf, err := s.config()
	if err != nil {
		return err
	}
	views := []hostView{}
	for _, name := range slices.Sorted(maps.Keys(conf.Hosts)) {
		views = append(views, viewOfHost(name, conf.Hosts[name], conf))
	}
	if s.json() {
		return s.term.JSON(views)
	}
	if len(views) == 0 {
		s.printf("no hosts yet\n")
		s.notef("to add one:\n    tg host add pve1 root@192.168.1.10\n")
		return nil
	}
	rows := make([][]string, len(views))
	for i, v := range views {
		isDefault := ""
		if v.Default {
			isDefault = "default"
		}
		rows[i] = []string{v.Name, v.Address, isDefault, givenText(v.Given)}
	}
	return s.term.Table([]string{"NAME", "ADDRESS", "DEFAULT", "GIVEN"}, rows)
}

// givenText is "pool tank, downloads 2".
func givenText(c engine.Choices) string {
	var parts []string
	for _, r := range choicesTable(c, engine.Choices{}) {
		if r.by == byOwner {
			parts = append(parts, r.what+" "+r.which)
		}
	}
	return strings.Join(parts, ", ")
}
