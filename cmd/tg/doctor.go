package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

func (s *session) doctorCmd() *cobra.Command {
	var facts bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check that a node is ready for tg",
		Long: `Check that a node is ready for tg; change nothing. Each line is a check, and what
to do where something is wrong.

With --facts, print what recipes see of the node, for tg plan --facts.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if facts {
				return s.printFacts(cmd.Context())
			}
			return s.doctor(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&facts, "facts", false, "print the node's facts as JSON")
	return cmd
}

func (s *session) printFacts(ctx context.Context) error {
	host, facts, err := s.factsFor(ctx, "")
	if err != nil {
		return err
	}
	defer host.Close()
	return s.term.JSON(facts)
}

// A check is one thing that a node needs.
type check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Says string `json:"says"`           // what was found
	ToDo string `json:"todo,omitempty"` // what makes it right
}

func fine(name, format string, a ...any) check {
	return check{Name: name, OK: true, Says: fmt.Sprintf(format, a...)}
}

func problem(name, todo, format string, a ...any) check {
	return check{Name: name, Says: fmt.Sprintf(format, a...), ToDo: todo}
}

const (
	policyFile  = "/etc/containers/policy.json"
	membersFile = "/etc/pve/.members"
)

// doctor checks a node.
func (s *session) doctor(ctx context.Context) error {
	host, err := s.connect(ctx)
	if err != nil {
		return err // says how to name or reach one
	}
	defer host.Close()
	asks := append(pve.FactAsks(), engine.AskFile(policyFile), engine.AskFile(membersFile))
	answers, err := host.Batch(ctx, asks)
	if err != nil {
		return fmt.Errorf("ask %s: %w", host.Name(), err)
	}
	checks := examine(host, answers)
	bad := slices.ContainsFunc(checks, func(c check) bool { return !c.OK })
	if s.json() {
		err = s.term.JSON(struct {
			Host   string  `json:"host"`
			OK     bool    `json:"ok"`
			Checks []check `json:"checks"`
		}{host.Name(), !bad, checks})
	} else {
		s.printChecks(checks)
	}
	if err == nil && bad {
		return statusError(exitFailed)
	}
	return err
}

func (s *session) printChecks(checks []check) {
	for _, c := range checks {
		if c.OK {
			s.printf("%s  %-10s %s\n", s.term.Good("ok     "), c.Name, c.Says)
			continue
		}
		s.printf("%s  %-10s %s\n", s.term.Bad("problem"), c.Name, c.Says)
		for line := range strings.Lines(c.ToDo) {
			s.printf("         %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
}

// examine judges what a node said.
func examine(host *node, answers *engine.Answers) []check {
	checks := []check{fine("reachable", "%s", host.Name())}
	facts, err := pve.ParseFacts(answers, host.choices)
	if err != nil {
		return append(checks, problem("facts", engine.HintOf(err), "%v", err))
	}
	checks = append(checks, versions(facts), quorum(answers))
	checks = append(checks, storages(facts)...)
	return append(checks, skopeo(facts, answers))
}

func versions(f *engine.Facts) check {
	if err := pve.Supported(f); err != nil {
		return problem("versions", engine.HintOf(err), "%v", err)
	}
	return fine("versions", "Proxmox VE %s, pve-container %s, %s", f.PVE, f.Packages["pve-container"], f.Arch)
}

// quorum reads .members, in which pmxcfs says whether the cluster has a quorum; a
// node of no cluster has nothing to say there.
func quorum(answers *engine.Answers) check {
	data, err := answers.File(membersFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fine("quorum", "not in a cluster")
	}
	var members struct {
		Cluster *struct {
			Name    string `json:"name"`
			Nodes   int    `json:"nodes"`
			Quorate int    `json:"quorate"`
		} `json:"cluster"`
	}
	if err == nil {
		err = json.Unmarshal(data, &members)
	}
	switch c := members.Cluster; {
	case err != nil:
		return problem("quorum", "", "%s: %v", membersFile, err)
	case c == nil:
		return fine("quorum", "not in a cluster")
	case c.Quorate == 0:
		return problem("quorum", "bring the other nodes of the cluster back; on a node:\n    pvecm status",
			"cluster %s has no quorum: containers can be neither made nor started", c.Name)
	default:
		return fine("quorum", "cluster %s of %d nodes has it", c.Name, c.Nodes)
	}
}

// storages checks what recipes take by default: a pool, two storages, a bridge.
func storages(f *engine.Facts) []check {
	choice := func(name, have, todo, lacks string) check {
		if have == "" {
			return problem(name, todo, "%s", lacks)
		}
		return fine(name, "%s", have)
	}
	return []check{
		pool(f),
		choice("storage", f.Default.Storage, "on the node, let one hold containers:\n    pvesm set local-zfs --content rootdir,images",
			"no storage takes root file systems (content rootdir)"),
		choice("templates", f.Default.Templates, "on the node, let one hold them:\n    pvesm set local --content vztmpl,iso,backup",
			"no storage takes archives of images (content vztmpl)"),
		choice("bridge", f.Default.Bridge, "make one: Datacenter, the node, Network, Create, Linux Bridge",
			"the node has no bridge for containers"),
	}
}

func pool(f *engine.Facts) check {
	if f.Default.Pool == "" {
		return problem("pool", "make one: Datacenter, the node, Disks, ZFS, Create; or name a directory for data in the config file:\n    \"data\": \"/srv/data\"", "the node has no ZFS pool for the data of applications")
	}
	for _, p := range f.Pools {
		if p.Name != f.Default.Pool {
			continue
		}
		if p.Dir != "" {
			return fine("pool", "%s, in %s", p.Name, p.Dir)
		}
		if p.Health != "ONLINE" {
			return problem("pool", "on the node:\n    zpool status "+p.Name, "%s is %s", p.Name, p.Health)
		}
		return fine("pool", "%s, %s of %s free", p.Name, ui.Bytes(int64(p.Free)), ui.Bytes(int64(p.Size)))
	}
	return problem("pool", "", "%s is not there", f.Default.Pool)
}

func skopeo(f *engine.Facts, answers *engine.Answers) check {
	const install = "on the node:\n    apt install skopeo"
	version := f.Packages["skopeo"]
	if version == "" {
		return problem("skopeo", install, "not installed")
	}
	_, err := answers.File(policyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return problem("skopeo", "on the node:\n    apt install --reinstall golang-github-containers-common",
			"%s is installed, but %s is missing and it pulls nothing without", version, policyFile)
	case err != nil:
		return problem("skopeo", "", "%v", err)
	}
	return fine("skopeo", "%s", version)
}
