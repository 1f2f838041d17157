package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tengil/tengil/builtins/zfs"
	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// examineNode asks a node, then about what it said it has, and judges the answers.
func (s *session) examineNode(ctx context.Context, host *node) []check {
	asked := time.Now()
	answers, err := host.Batch(ctx, append(pve.FactAsks(), pve.HealthAsks()...))
	if err != nil {
		return []check{problem("reachable", orElse(engine.HintOf(err),
			"if that goes on: root's login shell on the node must be a POSIX shell:\n    chsh -s /bin/bash root"), "%v", err)}
	}
	answered := time.Now()
	checks := []check{fine("reachable", "%s", host.Name()), login(answers)}
	facts, err := pve.ParseFacts(answers, host.choices)
	if err != nil {
		checks = append(checks, failed("facts", err))
	} else {
		checks = append(checks, versions(facts))
		checks = append(checks, oldPackages(facts)...)
	}
	checks = append(checks, quorum(answers), mapped(answers))
	if facts != nil {
		more, err := host.Batch(ctx, answers.Missing(placeAsks(facts)))
		if err != nil {
			return append(checks, failed("reachable", err))
		}
		answers = answers.Merge(more)
		checks = append(checks, storages(facts, answers)...)
		checks = append(checks, space(facts, answers)...)
		checks = append(checks, skopeo(facts, answers))
	}
	checks = append(checks, clock(answers, asked, answered))
	if host.address != "" { // else there is no connection
		checks = append(checks, sessions(answers), forwarding(ctx, host))
	}
	return checks
}

// placeAsks are the questions about the directories that the facts name: where data
// is kept on a node without ZFS, and where archives of images are.
func placeAsks(f *engine.Facts) []engine.Ask {
	var asks []engine.Ask
	for _, p := range f.Pools {
		if p.Name == f.Default.Pool && p.Dir != "" {
			asks = append(zfs.DataDirAsks(p.Dir), pve.SpaceAsks([]string{p.Dir})...)
		}
	}
	if dir := templatesDir(f); dir != "" {
		asks = append(asks, pve.SpaceAsks([]string{dir})...)
	}
	return asks
}

// templatesDir returns the directory of the storage of archives, "" if it has none.
func templatesDir(f *engine.Facts) string {
	for _, s := range f.Storages {
		if s.Name == f.Default.Templates {
			return s.Path
		}
	}
	return ""
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// login checks that tg works as root, in a shell that it can speak to.
func login(a *engine.Answers) check {
	id, err := pve.UserID(a)
	switch shell := pve.LoginShell(a); {
	case err != nil:
		return failed("login", err)
	case id != "0":
		return problem("login", "log in as root:\n    tg --host root@… doctor",
			"tg is user %s there, not root: only root may give containers mounts and devices", id)
	case shell == "":
		return fine("login", "root")
	case !slices.Contains([]string{"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh"}, path.Base(shell)):
		return problem("login", "on the node:\n    chsh -s /bin/bash root", "root's login shell is %s; tg needs a POSIX shell", shell)
	default:
		return fine("login", "root, %s", shell)
	}
}

func versions(f *engine.Facts) check {
	if err := pve.Supported(f); err != nil {
		return failed("versions", err)
	}
	return fine("versions", "Proxmox VE %s, pve-container %s, %s", f.PVE, f.Packages["pve-container"], f.Arch)
}

// oldPackages tells what newer packages would make better.
func oldPackages(f *engine.Facts) []check {
	if pve.Supported(f) != nil {
		return nil // too old for anything
	}
	const upgrade = "on the node:\n    apt update && apt full-upgrade"
	var checks []check
	for _, old := range pve.OldPackages(f.Packages) {
		tell := note
		if old.Grave {
			tell = problem
		}
		checks = append(checks, tell("packages", upgrade, "%s is %s, older than %s: %s", old.Name, old.Have, old.Want, old.Breaks))
	}
	return checks
}

// quorum checks that /etc/pve can be written.
func quorum(a *engine.Answers) check {
	switch c, err := pve.ClusterOf(a); {
	case err != nil:
		return failed("quorum", err)
	case c == nil:
		return fine("quorum", "not in a cluster")
	case c.Quorate == 0:
		return problem("quorum", "bring the other nodes of the cluster back; on a node:\n    pvecm status",
			"cluster %s has no quorum: containers can be neither made nor started", c.Name)
	default:
		return fine("quorum", "cluster %s of %d nodes has it", c.Name, c.Nodes)
	}
}

// mapped checks that root may use the ids of unprivileged containers.
func mapped(a *engine.Answers) check {
	for _, f := range []struct{ file, flag string }{{pve.SubUIDFile, "--add-subuids"}, {pve.SubGIDFile, "--add-subgids"}} {
		ok, err := pve.MapsContainers(a, f.file)
		if err != nil {
			return failed("ids", err)
		}
		if !ok {
			return problem("ids", "on the node:\n    usermod "+f.flag+" 100000-165535 root",
				"%s does not give root the ids 100000 to 165535: unprivileged containers do not start", f.file)
		}
	}
	return fine("ids", "root may map 100000 to 165535")
}

// storages checks what recipes take by default: a pool, two storages, a bridge.
func storages(f *engine.Facts, answers *engine.Answers) []check {
	choice := func(name, have, todo, lacks string) check {
		if have == "" {
			return problem(name, todo, "%s", lacks)
		}
		return fine(name, "%s", have)
	}
	return []check{
		pool(f, answers),
		choice("storage", f.Default.Storage, "on the node, let one hold containers:\n    pvesm set local-zfs --content rootdir,images",
			"no storage takes root file systems (content rootdir)"),
		choice("templates", f.Default.Templates, "on the node, let one hold them:\n    pvesm set local --content vztmpl,iso,backup",
			"no storage takes archives of images (content vztmpl)"),
		choice("bridge", f.Default.Bridge, "make one: Datacenter, the node, Network, Create, Linux Bridge",
			"the node has no bridge for containers"),
	}
}

func pool(f *engine.Facts, answers *engine.Answers) check {
	if f.Default.Pool == "" {
		return problem("pool", "make one: Datacenter, the node, Disks, ZFS, Create; or name a directory for data, when the host is added:\n    tg host add NAME ADDRESS --data /srv/data",
			"the node has no ZFS pool for the data of applications")
	}
	for _, p := range f.Pools {
		if p.Name != f.Default.Pool {
			continue
		}
		if p.Dir != "" {
			return dataDir(p, answers)
		}
		if p.Health != "ONLINE" {
			return problem("pool", "on the node:\n    zpool status "+p.Name, "%s is %s", p.Name, p.Health)
		}
		return room("pool", p.Name, "on the node:\n    zfs list -o space -r "+p.Name, p.Free)
	}
	return problem("pool", "", "%s is not there", f.Default.Pool)
}

// How much must be free, as images of a few gigabytes are common.
const (
	littleRoom = 10 * engine.GiB
	noRoom     = 2 * engine.GiB
)

// room checks how much is free somewhere.
func room(name, where, todo string, free engine.Size) check {
	text := fmt.Sprintf("%s, %s free", where, ui.Bytes(int64(free)))
	switch {
	case free < noRoom:
		return problem(name, todo, "%s: too little for an image", text)
	case free < littleRoom:
		return note(name, todo, "%s: enough for small images", text)
	}
	return fine(name, "%s", text)
}

// space checks where images are staged and kept.
func space(f *engine.Facts, answers *engine.Answers) []check {
	look := func(what, dir string) check {
		free, err := pve.FreeSpace(answers, dir)
		if err != nil {
			return failed("space", err)
		}
		return room("space", dir+" ("+what+")", "on the node:\n    du -xh "+dir+" | sort -h | tail", free)
	}
	checks := []check{look("where images are kept", pve.StoreParent)}
	if dir := templatesDir(f); dir != "" {
		checks = append(checks, look("archives of images", dir))
	}
	return checks
}

func skopeo(f *engine.Facts, answers *engine.Answers) check {
	const install = "on the node:\n    apt install skopeo"
	version := f.Packages["skopeo"]
	if version == "" {
		return problem("skopeo", install, "not installed")
	}
	_, err := answers.File(pve.PolicyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return problem("skopeo", "on the node:\n    apt install --reinstall golang-github-containers-common",
			"%s is installed, but %s is missing and it pulls nothing without", version, pve.PolicyFile)
	case err != nil:
		return failed("skopeo", err)
	}
	return fine("skopeo", "%s", version)
}

// maxSkew is how far two clocks may be apart: certificates and logs tell by time.
const maxSkew = time.Minute

// clock compares the node's clock with this machine's, which showed asked before
// and answered after the node's was read.
func clock(a *engine.Answers, asked, answered time.Time) check {
	const todo = "see which of the two is right; on the node:\n    timedatectl\n    systemctl restart chrony"
	at, err := pve.NodeTime(a)
	if err != nil {
		return failed("clock", err)
	}
	var skew time.Duration
	switch {
	case at.Before(asked.Truncate(time.Second)):
		skew = at.Sub(asked.Truncate(time.Second))
	case at.After(answered):
		skew = at.Sub(answered)
	}
	follows, known := pve.ClockFollows(a)
	switch {
	case skew.Abs() > maxSkew && skew < 0:
		return problem("clock", todo, "the node is %s behind this machine", (-skew).Round(time.Second))
	case skew.Abs() > maxSkew:
		return problem("clock", todo, "the node is %s ahead of this machine", skew.Round(time.Second))
	case known && !follows:
		return note("clock", "on the node:\n    apt install chrony && systemctl enable --now chrony", "as on this machine, but no time server keeps the node's clock right")
	}
	return fine("clock", "as on this machine")
}

// Sessions of one connection: as many as tg opens, and OpenSSH's default.
const (
	wantSessions    = 8
	defaultSessions = 10
)

// sessions checks MaxSessions, as far as the files of sshd tell.
func sessions(a *engine.Answers) check {
	const todo = "on the node, in /etc/ssh/sshd_config:\n    MaxSessions 10\nthen:\n    systemctl reload ssh"
	text := pve.SSHDOption(a, "MaxSessions")
	n, err := strconv.Atoi(text)
	if err != nil {
		n = defaultSessions
	}
	switch {
	case n < 2:
		return problem("sshd", todo, "MaxSessions is %d; tg needs 2, and uses %d", n, wantSessions)
	case n < wantSessions:
		return note("sshd", todo, "MaxSessions is %d; tg uses up to %d, and does less at once with fewer", n, wantSessions)
	}
	return fine("sshd", "%d sessions at once", n)
}

// dialTimeout is how long a connection through the node may take.
const dialTimeout = 5 * time.Second

// forwarding checks that probes can be dialled through the connection. That
// nothing listens there is no matter.
func forwarding(ctx context.Context, host *node) check {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := host.Dial(ctx, "tcp", "127.0.0.1:22")
	if err == nil {
		err = conn.Close()
	}
	if errors.Is(err, engine.ErrForwarding) {
		return problem("forwarding", "on the node, in /etc/ssh/sshd_config:\n    AllowTcpForwarding local\nthen:\n    systemctl reload ssh",
			"sshd forwards no connections, so that tg cannot ask whether an application is ready")
	}
	if err != nil && (ctx.Err() != nil || errors.Is(err, engine.ErrTransient)) {
		return failed("forwarding", err)
	}
	return fine("forwarding", "connections go through")
}

// reachRegistries tries, side by side, to connect from the node to the registries
// that most images come from, and to the mirrors of the host.
func reachRegistries(ctx context.Context, host *node) []check {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	names := []string{"docker.io", "ghcr.io", "quay.io"}
	for _, mirror := range slices.Sorted(maps.Values(host.choices.Mirrors)) {
		name, _, _ := strings.Cut(mirror, "/")
		names = append(names, name)
	}
	names = slices.Compact(names)
	checks := make([]check, len(names))
	var dials sync.WaitGroup
	for i, name := range names {
		dials.Go(func() { checks[i] = reach(ctx, host, name) })
	}
	dials.Wait()
	return checks
}

func reach(ctx context.Context, host *node, registry string) check {
	addr := registry
	if registry == "docker.io" {
		addr = "registry-1.docker.io"
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(addr, "443")
	}
	conn, err := host.Dial(ctx, "tcp", addr)
	if err != nil {
		name, port, _ := net.SplitHostPort(addr)
		return problem("registry", "on the node:\n    getent hosts "+name+"\n    curl -sSI https://"+net.JoinHostPort(name, port)+"/v2/", "%s: %v", registry, err)
	}
	if err := conn.Close(); err != nil {
		return failed("registry", err)
	}
	return fine("registry", "%s answers", registry)
}
