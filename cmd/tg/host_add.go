package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/zfs"
	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/sshhost"
)

type hostAddFlags struct {
	choices  engine.Choices
	mirrors  []string // REGISTRY=MIRROR
	isMain   bool
	unlooked bool
}

func (s *session) hostAddCmd() *cobra.Command {
	var f hostAddFlags
	cmd := &cobra.Command{
		Use:   "add NAME ADDRESS",
		Short: "Name a host, and say what applications get there",
		Long: `Name a host, and say what applications get there. The node is asked whether it has
what is named; what is left out, tengil chooses each time it looks at the node.

ADDRESS is an SSH destination: root@192.168.1.10, ssh://root@pve1:2222, or an alias of
~/.ssh/config. A host key that is not known yet is shown and asked about.`,
		Example: `  tg host add pve1 root@192.168.1.10 --default
  tg host add pve2 root@pve2 --pool tank --range 192.168.1.200-192.168.1.249/24 --gateway 192.168.1.1
  tg host add pve3 root@pve3 --mirror docker.io=mirror.lan:5000 --downloads 2`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if err := checkHostName(args[0]); err != nil {
					return err
				}
			}
			return exactly("NAME", "ADDRESS")(cmd, args)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return s.hostAdd(cmd.Context(), args[0], args[1], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.choices.Pool, "pool", "", "ZFS pool for the data of applications")
	flags.StringVar(&f.choices.Storage, "storage", "", "storage of root file systems")
	flags.StringVar(&f.choices.Templates, "templates", "", "storage of image archives")
	flags.StringVar(&f.choices.Data, "data", "", "directory for data on a node without ZFS")
	flags.StringVar(&f.choices.Bridge, "bridge", "", "bridge of the containers")
	flags.StringVar(&f.choices.Range, "range", "", "fixed addresses for containers: 192.168.1.200-192.168.1.249/24")
	flags.StringVar(&f.choices.Gateway, "gateway", "", "gateway of the range")
	flags.StringVar(&f.choices.Nameserver, "nameserver", "", "DNS servers, parted by blanks")
	flags.IntVar(&f.choices.Limits.Downloads, "downloads", 0, "images that are downloaded at once")
	flags.IntVar(&f.choices.Limits.Unpacks, "unpacks", 0, "images that are unpacked at once")
	flags.IntVar(&f.choices.Limits.Starts, "starts", 0, "containers that are started at once")
	flags.StringArrayVar(&f.mirrors, "mirror", nil, "REGISTRY=MIRROR: where to pull from first; may be repeated")
	flags.BoolVar(&f.isMain, "default", false, "the host when none is named")
	flags.BoolVar(&f.unlooked, "no-check", false, "do not connect; for a host that is off")
	return cmd
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// checkHostName refuses names that --host would take for something else.
func checkHostName(name string) error {
	switch {
	case name == labName:
		return usagef("lab is the practice node, which is always there")
	case strings.ContainsAny(name, "@:/"):
		short := name[strings.LastIndexAny(name, "@/")+1:]
		short, _, _ = strings.Cut(short, ":")
		return &usageError{engine.WithHint(fmt.Errorf("%q is a destination, not a name", name), ui.Command([]string{"tg", "host", "add", short, name}))}
	case !hostName.MatchString(name):
		return usagef(`%q is no name; wanted letters, digits, "." "_" and "-"`, name)
	}
	return nil
}

// hostAdd stores a host, once the node has been looked at.
func (s *session) hostAdd(ctx context.Context, name, address string, f hostAddFlags) error {
	h := hostConfig{Address: address, Choices: f.choices}
	var err error
	if h.Mirrors, err = parseMirrors(f.mirrors); err != nil {
		return err
	}
	if err := checkHost(h); err != nil {
		return &usageError{err}
	}
	conf, err := s.config()
	if err != nil {
		return err
	}
	if err := isFree(conf, name); err != nil {
		return err
	}
	var facts *engine.Facts
	if !f.unlooked {
		if facts, err = s.lookToAdd(ctx, target{name, h.Address, h.Choices}); err != nil {
			return err
		}
	}
	err = s.editConfig(func(c *config) error {
		if err := isFree(*c, name); err != nil {
			return err
		}
		if c.Hosts == nil {
			c.Hosts = map[string]hostConfig{}
		}
		c.Hosts[name] = h
		if f.isMain {
			c.Default = name
		}
		conf = *c
		return nil
	})
	if err != nil {
		return err
	}
	return s.tellAdded(name, h, facts, conf)
}

// isFree refuses a name that is taken.
func isFree(c config, name string) error {
	h, taken := c.Hosts[name]
	if !taken {
		return nil
	}
	return &usageError{engine.WithHint(fmt.Errorf("there is a host %s already, at %s", name, h.Address),
		"to put another in its place:\n    tg host remove "+name)}
}

// checkHost checks what can be checked without the node.
func checkHost(h hostConfig) error {
	if h.Address != labName {
		if err := sshhost.CheckTarget(h.Address); err != nil {
			return err
		}
	}
	return pve.CheckChoices(h.Choices)
}

func parseMirrors(pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	mirrors := map[string]string{}
	for _, pair := range pairs {
		registry, mirror, ok := strings.Cut(pair, "=")
		if !ok || registry == "" || mirror == "" {
			return nil, usagef("--mirror is %q; wanted REGISTRY=MIRROR, such as docker.io=mirror.lan:5000", pair)
		}
		if _, twice := mirrors[registry]; twice {
			return nil, usagef("--mirror is given twice for %s", registry)
		}
		mirrors[registry] = mirror
	}
	return mirrors, nil
}

// look connects to a host and reads its facts, with the choices made good.
func (s *session) look(ctx context.Context, t target) (_ *engine.Facts, err error) {
	host, err := s.connectTo(ctx, t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	return host.facts(ctx)
}

// lookToAdd is look for a host that is to be stored: also into the directory for
// data that it is to have.
func (s *session) lookToAdd(ctx context.Context, t target) (_ *engine.Facts, err error) {
	host, err := s.connectTo(ctx, t)
	if err != nil {
		return nil, engine.WithHint(err, "to store a host that is off, add --no-check")
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	facts, err := host.facts(ctx)
	if err != nil || t.choices.Data == "" {
		return facts, err
	}
	a, err := host.Batch(ctx, zfs.DataDirAsks(t.choices.Data))
	if err != nil {
		return nil, err
	}
	_, err = zfs.CheckDataDir(a, t.choices.Data)
	return facts, err
}

// tellAdded says what is stored and what tengil chooses besides.
func (s *session) tellAdded(name string, h hostConfig, facts *engine.Facts, conf config) error {
	view := viewOfHost(name, h, conf)
	if facts != nil {
		view.Node, view.PVE, view.Effective = facts.Node, facts.PVE, &facts.Default
	}
	if s.json() {
		return s.term.JSON(view)
	}
	stored := name + " is stored"
	if view.Default {
		stored += " and the default"
	}
	if facts == nil {
		s.printf("%s; nobody has looked whether it has all of that\n", stored)
		s.printChoices(choicesTable(h.Choices, h.Choices))
	} else {
		s.printf("%s\n", nodeLine(name, facts))
		s.printChoices(choicesTable(h.Choices, facts.Default))
		s.printf("%s\n", stored)
	}
	if !view.Default {
		s.notef("to make it the default:\n    tg host default %s\n", name)
	}
	return nil
}
