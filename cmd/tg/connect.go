package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/sshhost"
)

// labName is the host name that means the embedded node.
const labName = "lab"

// A target is which host a command is for.
type target struct {
	name    string // as people call it
	address string // labName, "" for the node that tg runs on, or an SSH destination
	choices engine.Choices
}

var errNoHost = engine.WithHint(errors.New("no node to work on"), `name one, in one of these ways:
    tg --host lab …            the built-in practice node; needs nothing, runs nothing real
    tg --host root@pve1 …      over SSH; or: export TG_HOST=root@pve1
    tg host add pve1 root@pve1 --default
                               once; then: tg …`)

// target decides which host: --host, TG_HOST, the configuration's default, the
// node itself when tg runs on one.
func (s *session) target() (target, error) {
	conf, err := s.config()
	if err != nil {
		return target{}, err
	}
	name := s.host
	if name == "" {
		name = s.getenv("TG_HOST")
	}
	if name == "" {
		name = conf.Default
	}
	if h, ok := conf.Hosts[name]; ok {
		return target{name, h.Address, h.Choices}, nil
	}
	if name != "" {
		return target{name: name, address: name}, nil
	}
	if onNode() {
		return target{}, nil
	}
	return target{}, &usageError{errNoHost}
}

// onNode reports whether this machine is a Proxmox VE node.
func onNode() bool {
	_, noPVE := os.Stat("/etc/pve/local")
	_, noPCT := exec.LookPath("pct")
	return noPVE == nil && noPCT == nil
}

// A node is a host that is connected, with what is known of it.
type node struct {
	engine.Host
	target
}

// rounds returns how many times the node was asked; ok is false when the host
// does not count.
func (n *node) rounds() (count int, ok bool) {
	c, ok := n.Host.(interface{ RoundTrips() int64 })
	if !ok {
		return 0, false
	}
	return int(c.RoundTrips()), true
}

// facts reads what the recipe sees as host: one round trip.
func (n *node) facts(ctx context.Context) (*engine.Facts, error) {
	answers, err := n.Batch(ctx, pve.FactAsks())
	if err != nil {
		return nil, fmt.Errorf("read facts of %s: %w", n.Name(), err)
	}
	facts, err := pve.ParseFacts(answers, n.choices)
	if err != nil {
		return nil, fmt.Errorf("facts of %s: %w", n.Name(), err)
	}
	return facts, pve.Supported(facts)
}

// connect opens the host that the command is for.
func (s *session) connect(ctx context.Context) (*node, error) {
	t, err := s.target()
	if err != nil {
		return nil, err
	}
	return s.connectTo(ctx, t)
}

// connectTo opens a host.
func (s *session) connectTo(ctx context.Context, t target) (*node, error) {
	switch t.address {
	case labName:
		return s.connectLab(ctx, t)
	case "":
		return &node{Host: s.telling(sshhost.Local(sshhost.Options{Log: s.log()})), target: t}, nil
	}
	o := s.sshOptions(ctx)
	if t.name != t.address {
		o.Name = t.name
	}
	h, err := sshhost.Dial(ctx, t.address, o)
	var unknown *net.DNSError
	if errors.As(err, &unknown) && unknown.IsNotFound && t.name == t.address {
		conf, _ := s.config() // was read to find the target
		known := append(slices.Sorted(maps.Keys(conf.Hosts)), labName)
		if near := engine.DidYouMean(t.name, known); near != "" {
			return nil, fmt.Errorf("%w%s", err, near)
		}
		return nil, fmt.Errorf("%w; tg knows by name: %s", err, strings.Join(known, ", "))
	}
	if err != nil {
		return nil, err
	}
	return &node{Host: s.telling(h), target: t}, nil
}

// connectLab connects to the lab. One that does not run is started in the
// background, and ends by itself.
func (s *session) connectLab(ctx context.Context, t target) (*node, error) {
	dir, err := s.labDir()
	if err != nil {
		return nil, err
	}
	if at, _ := lab.Last(dir); !at.Real { // one that does not run is a model
		s.notef("%s\n", lab.StandInNotice)
	}
	at, err := s.labAt(ctx, dir)
	if err != nil {
		return nil, err
	}
	h, err := s.dialLab(ctx, at, t.name)
	if err != nil {
		return nil, err
	}
	return &node{Host: s.telling(h), target: t}, nil
}

// labDir returns where the lab is kept.
func (s *session) labDir() (string, error) {
	if dir := s.getenv("TG_LAB_DIR"); dir != "" {
		return dir, nil
	}
	dir, err := s.stateDir()
	return filepath.Join(dir, "lab"), err
}
