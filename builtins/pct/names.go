package pct

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// The containers of an app know each other by name: each mounts one file of the
// node, read-only, over its /etc/hosts. The file is changed in place, never
// replaced, so that a running container sees at once what is new.

// hostsPath is what the file is mounted over.
const hostsPath = "/etc/hosts"

// hostsFile is the file of an app.
func hostsFile(app string) string { return record.LocalFile(app, "hosts") }

func hostsAsk(app string) engine.Ask { return engine.AskFile(hostsFile(app)) }

// hostsHead begins the file: what every system expects, and a word to who looks.
const hostsHead = "# The containers of one application, kept by tengil; changes here are overwritten.\n" +
	"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"

// ownAddress stands for a container whose address is not known yet, so that it can
// look up its own host name from its first moment, as Debian does it.
const ownAddress = "127.0.1.1"

// resolverPath says where names outside of the app are looked up, on the node as in
// a container.
const resolverPath = "/etc/resolv.conf"

// etcEntry is the line of a container's config that mounts a file of the node. An
// image in which it cannot be mounted, since there is a symbolic link in its place,
// starts without it.
func etcEntry(source, target string) pve.KV {
	return pve.KV{Key: "lxc.mount.entry", Value: source + " " + strings.TrimPrefix(target, "/") + " none bind,ro,create=file,optional 0 0"}
}

// etcEntries are the files of the node that the container mounts: the names of its
// app, and the node's resolver where nobody else brings one: Proxmox writes none into
// a system that it does not manage, and a lease does only with DHCP.
func (c *container) etcEntries(have *pve.Config, in engine.Inputs) []pve.KV {
	var out []pve.KV
	if !c.covers(hostsPath, in) {
		out = append(out, etcEntry(hostsFile(c.app), hostsPath))
	}
	_, fixed := c.fixedAddress()
	leased := c.net.IP == "dhcp" || c.net.IP6 == "dhcp"
	if have.Get("ostype") == "unmanaged" && fixed && !leased && !c.covers(resolverPath, in) {
		out = append(out, etcEntry(resolverPath, resolverPath))
	}
	return out
}

// isHostsEntry reports whether a line is one of those.
func isHostsEntry(value string) bool {
	f := strings.Fields(value)
	return len(f) > 1 && "/"+f[1] == hostsPath && path.Base(f[0]) == "hosts" && f[0] == hostsFile(path.Base(path.Dir(f[0])))
}

// covers reports whether the recipe has something of its own at a file below /etc,
// or at /etc.
func (c *container) covers(file string, in engine.Inputs) bool {
	covers := func(target string) bool { return target == file || target == path.Dir(file) }
	for _, m := range c.mounts {
		if covers(m.target) {
			return true
		}
	}
	for _, t := range c.tmpfs {
		if covers(t.target) {
			return true
		}
	}
	for _, kv := range c.lxc {
		if f := strings.Fields(kv.Value); kv.Key == "lxc.mount.entry" && len(f) > 1 && covers(path.Join("/", f[1])) {
			return true
		}
	}
	own := engine.StepID(FileKind + "/" + c.name + file)
	return slices.ContainsFunc(in.Attached, func(a engine.Attachment) bool { return a.Node.Step() == own })
}

// hostsLine is the container's line of the file: its host name first, which is
// then its canonical name, and its name within the app.
func (c *container) hostsLine(address string) string {
	return address + " " + c.hostsNames(address == ownAddress) + "\n"
}

// hostsNames are the names of the line; own says that it is for the container alone.
func (c *container) hostsNames(own bool) string {
	short, _, _ := strings.Cut(c.hostname, ".")
	words := make([]string, 0, 4)
	if c.searchdomain != "" && short == c.hostname {
		words = append(words, c.hostname+"."+c.searchdomain)
	}
	words = append(words, c.hostname, short)
	if !own { // to the others its name would mean themselves
		words = append(words, c.name)
	}
	return strings.Join(unique(words), " ")
}

func unique(words []string) []string {
	out := make([]string, 0, len(words))
	for _, w := range words {
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

// A hosts is what there is of the file.
type hosts struct {
	text   string
	exists bool
	// addresses are those that the file has, by the names of their lines; nil for
	// none.
	addresses func() map[string]string
}

func newHosts(text string, exists bool) hosts {
	h := hosts{text: text, exists: exists}
	h.addresses = sync.OnceValue(func() map[string]string {
		lines, _ := h.lines()
		out := make(map[string]string, len(lines))
		for _, line := range lines {
			address, names, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			_, first := out[names]
			if ip, err := netip.ParseAddr(address); err == nil && ip.String() == address && address != ownAddress && !first {
				out[names] = address
			}
		}
		return out
	})
	return h
}

// knownAddresses returns the addresses of the app's containers as far as the
// answers tell: fixed ones, and those of containers that run. The map is shared.
func (c *container) knownAddresses(a *engine.Answers, g *Guests) (map[string]string, error) {
	return engine.Parsed(a, "known addresses "+c.app, func(a *engine.Answers) (map[string]string, error) {
		fixed := map[string]given{}
		if a.Has(engine.AskGlob(vmGlob)) {
			var err error
			if fixed, err = c.addresses(a, g); err != nil {
				return nil, err
			}
		}
		known := map[string]string{}
		for _, m := range c.fleet.all() {
			if address, ok := m.at(&found{given: fixed[m.name]}).fixedAddress(); ok {
				known[m.name] = address
				continue
			}
			for _, guest := range g.Named(m.app, m.name) {
				if !guest.Running || m.isFixed() || !a.Has(addressAsk(guest.VMID)) {
					continue
				}
				address, err := addressOf(a, guest.VMID)
				if err != nil {
					return nil, err
				}
				known[m.name] = address
			}
		}
		return known, nil
	})
}

// observeHosts reads the file once for all containers of the app.
func observeHosts(a *engine.Answers, app string) (hosts, error) {
	return engine.Parsed(a, "names "+app, func(a *engine.Answers) (hosts, error) {
		data, err := a.File(hostsFile(app))
		if errors.Is(err, fs.ErrNotExist) {
			return newHosts("", false), nil
		}
		return newHosts(string(data), err == nil), err
	})
}

// lines are the lines below the head; ok is false if the head is not as it should be.
func (h hosts) lines() (lines []string, ok bool) {
	rest, ok := strings.CutPrefix(h.text, hostsHead)
	for line := range strings.Lines(rest) {
		lines = append(lines, line)
	}
	return lines, ok
}

// address returns the address that the file has of a container; "" if it has none.
func (h hosts) address(c *container) string {
	if h.addresses == nil {
		return ""
	}
	return h.addresses()[c.hostsNames(false)]
}

// strays are the lines that no container of the recipe accounts for; what a cut
// left of the head is one too.
func (h hosts) strays(members []*container) []string {
	lines, whole := h.lines()
	if !whole {
		return []string{"(damaged)\n"}
	}
	own, others := map[string]bool{}, map[string]bool{}
	for _, m := range members {
		own[m.hostsNames(true)+"\n"], others[m.hostsNames(false)+"\n"] = true, true
	}
	return slices.DeleteFunc(lines, func(line string) bool {
		address, names, _ := strings.Cut(line, " ")
		if address == ownAddress {
			return own[names]
		}
		return others[names]
	})
}

// nameChanges are the changes of the file that need no start: an address that is
// another than the file's, and, told by the first container of the recipe, lines of
// containers that are no more.
func (c *container) nameChanges(f *found, address string) []engine.Change {
	var out []engine.Change
	if was := f.hosts.address(c); address != "" && was != address {
		out = append(out, engine.Change{Action: engine.Update, Field: "names", From: was, To: address,
			Why: "the containers of an app know each other's addresses by " + hostsPath})
	}
	members := c.fleet.all()
	if !f.hosts.exists || len(members) == 0 || members[0].name != c.name {
		return out
	}
	if strays := printable(f.hosts.strays(members)); len(strays) > 0 {
		out = append(out, engine.Change{Action: engine.Update, Field: "names", From: strings.TrimSpace(strings.Join(strays, "")),
			Why: "no container of the recipe has this line in " + hostsPath})
	}
	return out
}

// printable returns the lines as a plan shows them: one without an address is no line
// of tengil's, and is not repeated.
func printable(lines []string) []string {
	for i, line := range lines {
		address, _, _ := strings.Cut(line, " ")
		if _, err := netip.ParseAddr(address); err != nil {
			lines[i] = "(damaged)\n"
		}
	}
	return slices.Compact(lines)
}

// A roll is what one run knows of the names of its app. Containers that start at
// the same time write one after the other.
type roll struct {
	mu      sync.Mutex
	known   map[string]string // addresses that this run has found out, by container
	written *string           // the file's content; nil before this run has written it
}

// publish writes the file if it does not say what is known; address is that of
// this container, "" while that is not known.
func (c *container) publish(ctx context.Context, h engine.Host, f *found, address string) error {
	r := &c.fleet.roll
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = map[string]string{}
	}
	if address != "" {
		r.known[c.name] = address
	}
	now := f.hosts
	if r.written != nil {
		now = newHosts(*r.written, true)
	}
	text := c.hostsText(now, f, r.known)
	if now.exists && now.text == text {
		return nil
	}
	if err := writeHosts(ctx, h, c.app, text, now.exists); err != nil {
		torn := "" // nothing tells how far it came
		r.written = &torn
		return fmt.Errorf("write the names of the app's containers: %w", err)
	}
	r.written = &text
	return nil
}

// hostsText is the whole file: of each container the address that this run has
// found out, else the one that the plan knew, else the one that the file has.
func (c *container) hostsText(now hosts, f *found, known map[string]string) string {
	var b strings.Builder
	b.WriteString(hostsHead)
	for _, m := range c.fleet.all() {
		address := cmp.Or(known[m.name], f.known[m.name])
		if address == "" {
			address = cmp.Or(now.address(m), f.hosts.address(m), ownAddress)
		}
		b.WriteString(m.hostsLine(address))
	}
	return b.String()
}

// move changes the address of the container's line, without the recipe: the others'
// lines are as they were. A file that has no such line is left to the next run.
func (r *roll) move(ctx context.Context, h engine.Host, c *container, address string) error {
	if address == "" {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	ask := hostsAsk(c.app)
	a, err := h.Batch(ctx, []engine.Ask{ask})
	if err != nil {
		return err
	}
	now, err := observeHosts(a, c.app)
	if err != nil {
		return err
	}
	lines, whole := now.lines()
	text := hostsHead
	for _, line := range lines {
		_, names, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if names == c.hostsNames(false) || names == c.hostsNames(true) {
			line = c.hostsLine(address)
		}
		text += line
	}
	if !whole || text == now.text {
		return nil
	}
	if err := writeHosts(ctx, h, c.app, text, true); err != nil {
		return fmt.Errorf("write the names of the app's containers: %w", err)
	}
	return nil
}

// writeHosts changes the file in place: a container has mounted the file, not its
// name. Cut in the middle it lacks lines, which the next plan sees.
func writeHosts(ctx context.Context, h engine.Host, app, text string, exists bool) error {
	name := hostsFile(app)
	if exists {
		return act.DoStdin(ctx, h, strings.NewReader(text), "tee", name)
	}
	if err := openDirs(ctx, h, path.Dir(name)); err != nil {
		return err
	}
	return act.WriteFile(ctx, h, engine.File{Name: name, Data: []byte(text), Perm: 0o644})
}

// openDirs makes a directory below /var/lib/tengil and lets containers pass
// through it, not list it: a mount is made inside the container's user namespace,
// where root of the node is nobody.
func openDirs(ctx context.Context, h engine.Host, dir string) error {
	if err := act.Do(ctx, h, "mkdir", "-p", dir); err != nil {
		return err
	}
	dirs := []string{dir}
	for base := path.Dir(record.LocalFile("x", "")); len(dirs[0]) > len(base); {
		dirs = slices.Insert(dirs, 0, path.Dir(dirs[0]))
	}
	return act.Do(ctx, h, append([]string{"chmod", "0711"}, dirs...)...)
}

func hostsFindAsk() engine.Ask { return engine.AskGlob(hostsFile("*")) }

// findHosts tells the files of all apps. None belongs to one container: it goes
// with the app.
func findHosts(a *engine.Answers) ([]engine.Found, error) {
	files, err := a.Glob(hostsFindAsk().Glob())
	if err != nil {
		return nil, err
	}
	var out []engine.Found
	for _, name := range slices.Sorted(maps.Keys(files)) {
		out = append(out, engine.Found{App: path.Base(path.Dir(name)), Step: "names/hosts", What: "file " + name, Order: 80, Common: true,
			Remove: func(ctx context.Context, h engine.Host, _ func(string, int64, int64)) error {
				dir := path.Dir(name)
				// Logs of containers that somebody else has destroyed are left.
				if err := act.Do(ctx, h, "rm", "-r", "-f", name, path.Join(dir, logsDir)); err != nil {
					return err
				}
				// What else is kept there keeps its directory.
				if err := act.Do(ctx, h, "rmdir", path.Join(dir, filesDir), dir); err != nil && !isExit(err) {
					return err
				}
				return nil
			}})
	}
	return out, nil
}

// addressesIn returns the addresses that a file of names has, by its names.
func addressesIn(data []byte) map[string]string {
	out := map[string]string{}
	for line := range bytes.Lines(data) {
		f := strings.Fields(string(line))
		for _, name := range f[min(1, len(f)):] {
			if _, first := out[name]; !first && f[0] != ownAddress {
				out[name] = f[0]
			}
		}
	}
	return out
}
