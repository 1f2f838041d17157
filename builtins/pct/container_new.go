package pct

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/builtins/bind"
	"github.com/tengil/tengil/builtins/oci"
	"github.com/tengil/tengil/builtins/probe"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// newContainer checks a call of pct_create and makes the four nodes.
func newContainer(call engine.Call) (*engine.Made, error) {
	gates, err := pve.GatesOf(call.Facts.Packages)
	if err != nil {
		return nil, err
	}
	a := call.Args
	c := &container{app: call.App, name: a.String("name"), facts: call.Facts, gates: gates, fleet: engine.SharedBy[fleet](call.Shared), mark: &logMark{}}
	if !dnsLabel.MatchString(c.name) {
		err := engine.ArgErrorf("name", "%q is no DNS label; wanted lower-case letters, digits and inner dashes, at most 63", c.name)
		if almost := strings.ToLower(strings.ReplaceAll(c.name, "_", "-")); dnsLabel.MatchString(almost) {
			err = engine.ArgErrorf("name", "%q is no DNS label; wanted lower-case letters, digits and inner dashes, at most 63 (did you mean %q?)", c.name, almost)
		}
		return nil, err
	}
	c.id = engine.StepID("pct_create/" + c.name)
	for _, fill := range []func(engine.Args) error{
		c.fillImage, c.fillResources, c.fillMounts, c.fillEnv, c.fillProcess, c.fillDevices,
		c.fillNet, c.fillBoot, c.fillRaw, c.fillReady,
	} {
		if err := fill(a); err != nil {
			return nil, err
		}
	}
	c.fleet.join(c)
	return &engine.Made{
		Name:   c.name,
		Parts:  c.parts(a),
		Known:  map[string]string{"name": c.name, "hostname": c.hostname},
		Detail: &Container{App: c.app, Name: c.name, Image: c.imageName},
	}, nil
}

// parts returns the four nodes with their edges.
func (c *container) parts(a engine.Args) []engine.Part {
	node := c.id.Node
	vmid := engine.Ref{Node: node(partCreate), Output: "vmid"}
	image := []engine.Ref{c.archive, c.digest, c.imageOf}
	configure := engine.Part{Name: partConfigure, Spec: configure{c}, Class: engine.Configure, Uses: append([]engine.Ref{vmid}, image...)}
	var after []engine.NodeID
	for _, e := range c.env {
		for _, r := range e.Value.(engine.Text).Refs() {
			configure.Uses = append(configure.Uses, r)
			if r.Node.Step().Kind() == "pct_create" {
				after = append(after, r.Node.Step().Node(partReady))
			}
		}
	}
	for _, m := range c.mounts {
		configure.Uses = append(configure.Uses, m.source.Refs()...)
		if m.node != "" {
			configure.After = append(configure.After, m.node)
		}
	}
	for _, h := range a.Steps("after") {
		after = append(after, h.ID.Node(partReady))
	}
	restart := engine.Ref{Node: node(partConfigure), Output: "restart"}
	address := engine.Ref{Node: node(partStart), Output: "address"}
	return []engine.Part{
		{Name: partCreate, Spec: create{c}, Class: engine.Unpack, Uses: image},
		configure,
		{Name: partStart, Spec: start{c}, Class: engine.Start, Uses: []engine.Ref{vmid, restart, c.digest}, After: after},
		{Name: partReady, Spec: ready{c}, Class: engine.Start, Uses: []engine.Ref{vmid, address, c.digest, {Node: node(partStart), Output: "started"}}},
	}
}

func (c *container) fillImage(a engine.Args) error {
	h := a.Step("image")
	img, ok := h.Detail.(*oci.Image)
	if !ok {
		return engine.ArgErrorf("image", "%s is no image", h.ID)
	}
	c.pulled, c.imageName = img, img.Ref.String()
	c.archive = engine.Ref{Node: h.ID.Node(""), Output: "archive"}
	c.digest = engine.Ref{Node: h.ID.Node(""), Output: "digest"}
	c.imageOf = engine.Ref{Node: h.ID.Node(""), Output: "config"}
	return nil
}

// Sizes above these are taken for mistakes: more than a node can have, they would
// only fail later or mean "no limit".
const (
	maxMemory = 64 * engine.TiB   // what a kernel for amd64 can address
	maxDisk   = 1024 * engine.TiB // of a root file system
)

func (c *container) fillResources(a engine.Args) error {
	c.hostname = a.String("hostname")
	if c.hostname == "" {
		c.hostname = c.app + "-" + c.name
		if c.app == c.name {
			c.hostname = c.name
		}
	}
	for _, label := range strings.Split(strings.ToLower(c.hostname), ".") {
		if !dnsLabel.MatchString(label) {
			return engine.ArgErrorf("hostname", "%q is no DNS name: letters, digits and inner dashes", c.hostname)
		}
	}
	c.cores = a.Int("cores")
	if a.Has("cores") && (c.cores < 1 || c.cores > 8192) {
		return engine.ArgErrorf("cores", "got %d, wanted 1 to 8192", c.cores)
	}
	c.memory, c.swap, c.disk, c.shm = a.Size("memory"), a.Size("swap"), a.Size("disk"), a.Size("shm")
	switch {
	case c.memory < 16*engine.MiB:
		return engine.ArgErrorf("memory", "got %s; Proxmox needs at least 16M", c.memory)
	case c.memory > maxMemory:
		return engine.ArgErrorf("memory", "got %s, wanted at most %s", c.memory, maxMemory)
	case c.memory%engine.MiB != 0:
		return engine.ArgErrorf("memory", "got %d bytes, wanted whole M", int64(c.memory))
	case c.swap > maxMemory:
		return engine.ArgErrorf("swap", "got %s, wanted at most %s", c.swap, maxMemory)
	case c.swap < 0 || c.swap%engine.MiB != 0:
		return engine.ArgErrorf("swap", "got %d bytes, wanted whole M", int64(c.swap))
	case c.disk < engine.GiB || c.disk%engine.GiB != 0:
		return engine.ArgErrorf("disk", "got %s, wanted whole G, at least 1G", c.disk)
	case c.disk > maxDisk:
		return engine.ArgErrorf("disk", "got %s, wanted at most %s", c.disk, maxDisk)
	case c.shm > maxMemory:
		return engine.ArgErrorf("shm", "got %s, wanted at most %s", c.shm, maxMemory)
	case a.Has("shm") && c.shm < engine.MiB:
		return engine.ArgErrorf("shm", "got %s, wanted at least 1M", c.shm)
	}
	c.storage = a.String("storage")
	return c.checkStorage()
}

func (c *container) checkStorage() error {
	if c.storage == "" {
		if c.facts.Default.Storage == "" {
			return engine.WithHint(errors.New("no storage for root file systems on this host"),
				"a storage needs content type rootdir; see Datacenter, Storage in the web interface")
		}
		return nil
	}
	var names []string
	for _, s := range pve.StoragesFor(c.facts, "rootdir") {
		if s.Name == c.storage || c.facts.Imagined {
			return nil
		}
		names = append(names, s.Name)
	}
	return engine.ArgErrorf("storage", "no storage %q for root file systems (content rootdir); there are: %s", c.storage, strings.Join(names, ", "))
}

func (c *container) fillMounts(a engine.Args) error {
	seen := map[string]bool{}
	for _, e := range a.Entries("mounts") {
		if err := pve.CheckPath(e.Key); err != nil {
			return engine.ArgErrorf("mounts", "%v", err)
		}
		m := mountWant{target: path.Clean(e.Key)}
		switch {
		case m.target == "/":
			return engine.ArgErrorf("mounts", "%q is the root file system, which is made of the image; mount below it", e.Key)
		case seen[m.target]:
			return engine.ArgErrorf("mounts", "%q is given twice", m.target)
		}
		seen[m.target] = true
		want, err := mountOf(e.Value)
		if err != nil {
			return engine.ArgErrorf("mounts", "%q: %v", e.Key, err)
		}
		m.source, m.node, m.mount = want.Source.Path, want.Source.Node, want.Options
		if m.mount.IDMap != "" && !c.gates.IDMap {
			return engine.ArgErrorf("mounts", "%q: idmap needs pve-container 6.1.6, this node has %s", e.Key, c.facts.Packages["pve-container"])
		}
		c.mounts = append(c.mounts, m)
	}
	// Proxmox mounts by index, so a parent must come before what lies below it.
	slices.SortStableFunc(c.mounts, func(x, y mountWant) int { return strings.Compare(x.target, y.target) })
	return nil
}

// mountOf turns a value of the mounts dict into a Mount.
func mountOf(v any) (*Mount, error) {
	switch v := v.(type) {
	case *Mount:
		return v, nil
	case *engine.Handle:
		if s, ok := bind.Of(v); ok {
			return &Mount{Source: s}, nil
		}
		return nil, fmt.Errorf("%s cannot be mounted; wanted a zfs_dataset, a host_dir or mount(…)", v.ID)
	}
	return nil, fmt.Errorf("got %T, wanted a zfs_dataset, a host_dir or mount(…)", v)
}

func (c *container) fillEnv(a engine.Args) error {
	c.env = a.Entries("env")
	for _, e := range c.env {
		lit, _ := e.Value.(engine.Text).Literal()
		if err := pve.CheckEnv(e.Key, lit); err != nil {
			return engine.ArgErrorf("env", "%v", err)
		}
	}
	return nil
}

var numericUser = regexp.MustCompile(`^[0-9]{1,5}(:[0-9]{1,5})?$`)

// validUser reports whether s is UID or UID:GID with ids that a container has.
func validUser(s string) bool {
	if !numericUser.MatchString(s) {
		return false
	}
	for id := range strings.SplitSeq(s, ":") {
		if n, err := strconv.Atoi(id); err != nil || n > bind.MaxID {
			return false
		}
	}
	return true
}

func (c *container) fillProcess(a engine.Args) error {
	c.entrypoint, c.hasEntrypoint = a.Strings("entrypoint"), a.Has("entrypoint")
	c.cmd, c.hasCmd = a.Strings("cmd"), a.Has("cmd")
	if c.hasEntrypoint {
		if len(c.entrypoint) == 0 {
			return engine.ArgErrorf("entrypoint", "wanted at least a program")
		}
		if _, err := pve.EncodeEntrypoint(slices.Concat(c.entrypoint, c.cmd)); err != nil {
			return engine.ArgErrorf("entrypoint", "%v", err)
		}
	}
	for i, word := range c.cmd {
		if r, at := pve.ControlChars(word); at >= 0 {
			return engine.ArgErrorf("cmd", "word %d, %q, holds the control character %U at byte %d, which Proxmox cannot store", i+1, word, r, at)
		}
	}
	c.user, c.workdir = a.String("user"), a.String("workdir")
	if a.Has("user") && !validUser(c.user) {
		return engine.ArgErrorf("user", "got %q, wanted numbers from 0 to %d, UID or UID:GID", c.user, bind.MaxID)
	}
	if c.user != "" && !c.gates.ImageUser {
		return engine.ArgErrorf("user", "needs pve-container 6.1.0, this node has %s", c.facts.Packages["pve-container"])
	}
	if c.workdir != "" {
		if err := pve.CheckPath(c.workdir); err != nil {
			return engine.ArgErrorf("workdir", "%v", err)
		}
	}
	c.unmanaged = a.String("ostype") == "unmanaged"
	if c.unmanaged && c.gates.UnmanagedBroken {
		return engine.ArgErrorf("ostype", "pve-container %s cannot start unmanaged containers; 6.1.1 and later can", c.facts.Packages["pve-container"])
	}
	return c.fillTmpfs(a)
}

func (c *container) fillTmpfs(a engine.Args) error {
	seen := map[string]bool{"/": true}
	for _, e := range a.Entries("tmpfs") {
		if err := checkLXCPath(e.Key); err != nil {
			return engine.ArgErrorf("tmpfs", "%v", err)
		}
		if seen[path.Clean(e.Key)] {
			return engine.ArgErrorf("tmpfs", "%q is the root or given twice", e.Key)
		}
		seen[path.Clean(e.Key)] = true
		lit, known := e.Value.(engine.Text).Literal()
		size, err := pve.ParseSize(lit)
		if err != nil || !known || size < engine.KiB {
			return engine.ArgErrorf("tmpfs", "%q: got size %q, wanted for example \"64M\"", e.Key, e.Value)
		}
		c.tmpfs = append(c.tmpfs, tmpfs{path.Clean(e.Key), size})
	}
	return nil
}

// checkLXCPath refuses a target that a lxc.mount.entry cannot hold: fields are
// parted by blanks as in fstab.
func checkLXCPath(p string) error {
	if err := pve.CheckPath(p); err != nil {
		return err
	}
	if strings.ContainsAny(p, " \t\\#") {
		return fmt.Errorf("%q: a blank, a backslash or # cannot stand in this path", p)
	}
	return nil
}

func (c *container) fillDevices(a engine.Args) error {
	for _, s := range a.Strings("devices") {
		d, err := pve.ParseDevice(s)
		if err == nil {
			err = pve.CheckDevicePath(d.Path)
		}
		if err != nil {
			return engine.ArgErrorf("devices", "%q: %v", s, err)
		}
		c.devices = append(c.devices, d)
	}
	for _, f := range a.Strings("features") {
		if name, _, _ := strings.Cut(f, "="); !slices.Contains(featureNames, name) {
			return engine.ArgErrorf("features", "no feature %q%s; there are %s", name, engine.DidYouMean(name, featureNames), strings.Join(featureNames, ", "))
		}
	}
	features, err := pve.ParseFeatures(joinFeatures(a.Strings("features")))
	if err != nil {
		return engine.ArgErrorf("features", "%v", err)
	}
	c.features = features
	c.capDrop, c.capKeep = a.Strings("cap_drop"), a.Strings("cap_keep")
	if len(c.capDrop) > 0 && len(c.capKeep) > 0 {
		return engine.ArgErrorf("cap_drop", "give cap_drop or cap_keep, not both")
	}
	for _, name := range slices.Concat(c.capDrop, c.capKeep) {
		if !capability.MatchString(name) {
			return engine.ArgErrorf("cap_drop", "%q is no capability; wanted for example \"net_admin\"", name)
		}
	}
	return nil
}

// featureNames are what Config.pm knows as $features_desc.
var featureNames = []string{"force_rw_sys", "fuse", "keyctl", "mknod", "mount", "nesting"}

var capability = regexp.MustCompile(`^[a-z][a-z_]{2,30}$`)

func joinFeatures(names []string) string {
	var parts []string
	for _, n := range names {
		if !strings.Contains(n, "=") {
			n += "=1"
		}
		parts = append(parts, n)
	}
	return strings.Join(parts, ",")
}

func (c *container) fillBoot(a engine.Args) error {
	c.onboot, c.protection = a.Bool("onboot"), a.Bool("protection")
	parts := []string{}
	for _, p := range []struct {
		name string
		n    int64
	}{{"order", a.Int("order")}, {"up", int64(a.Duration("up").Seconds())}, {"down", int64(a.Duration("down").Seconds())}} {
		if !a.Has(p.name) {
			continue
		}
		if p.n < 0 {
			return engine.ArgErrorf(p.name, "got %d, wanted 0 or more", p.n)
		}
		parts = append(parts, fmt.Sprintf("%s=%d", p.name, p.n))
	}
	var err error
	if len(parts) > 0 {
		if c.startup, err = pve.ParseStartup(strings.Join(parts, ",")); err != nil {
			return engine.ArgErrorf("order", "%v", err)
		}
	}
	for _, t := range a.Strings("tags") {
		if err := pve.CheckTag(t); err != nil {
			return engine.ArgErrorf("tags", "%v", err)
		}
	}
	c.tags = append([]string{"tengil", c.app}, a.Strings("tags")...)
	c.vmid = int(a.Int("vmid"))
	if a.Has("vmid") && (c.vmid < 100 || c.vmid > 999999999) {
		return engine.ArgErrorf("vmid", "got %d, wanted 100 to 999999999", c.vmid)
	}
	return nil
}

func (c *container) fillRaw(a engine.Args) error {
	for _, line := range a.Strings("lxc") {
		key, value, ok := strings.Cut(line, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || !strings.HasPrefix(key, "lxc.") || strings.ContainsAny(key, " \t") {
			return engine.ArgErrorf("lxc", "got %q, wanted \"lxc.KEY: value\"", line)
		}
		if r, at := pve.ControlChars(line); at >= 0 {
			return engine.ArgErrorf("lxc", "control character %U in %q", r, line)
		}
		if !pve.RawKeyAllowed(key) {
			return engine.ArgErrorf("lxc", "Proxmox does not take %q and would drop the line", key)
		}
		if key == pve.EnvKey || key == "lxc.environment" {
			return engine.ArgErrorf("lxc", "%s: use env", key)
		}
		c.lxc = append(c.lxc, pve.KV{Key: key, Value: value})
	}
	return nil
}

func (c *container) fillReady(a engine.Args) error {
	if c.timeout = a.Duration("ready_timeout"); c.timeout <= 0 {
		return engine.ArgErrorf("ready_timeout", "got %s, wanted more than 0", c.timeout)
	}
	if v := a.Object("ready"); v != nil {
		p, ok := v.(probe.Probe)
		if !ok {
			return engine.ArgErrorf("ready", "got %T, wanted exec_ready, tcp_ready or http_ready", v)
		}
		c.probe = p
	}
	return nil
}
