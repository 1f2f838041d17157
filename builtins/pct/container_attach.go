package pct

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// mountFields compares mount points by their path in the container; the index is
// chosen such that a parent has a lower one than what lies below it, since
// Proxmox mounts in that order.
func (c *container) mountFields(w *wants, have *pve.Config, in engine.Inputs) error {
	old := map[string]int{}
	mounts := map[int]pve.Mount{}
	for _, i := range have.Indexed("mp") {
		m, err := pve.ParseMount(have.Get(fmt.Sprintf("mp%d", i)))
		if err != nil {
			return fmt.Errorf("mp%d: %w", i, err)
		}
		mounts[i] = m
		if m.Kind() == pve.BindMount {
			old[m.Path] = i
		}
	}
	index := placeMounts(c.mounts, old, mounts)
	wanted := map[int]bool{}
	for k, m := range c.mounts {
		i := index[k]
		wanted[i] = true
		f, err := mountField(m, i, mounts, old, in)
		if err != nil {
			return err
		}
		w.fields = append(w.fields, f)
	}
	for i, m := range mounts {
		// What is no bind was attached by somebody else and holds data: not ours to remove.
		if m.Kind() != pve.BindMount || slices.ContainsFunc(c.mounts, func(want mountWant) bool { return want.target == m.Path }) {
			continue
		}
		gone := field{name: "mounts." + m.Path, key: fmt.Sprintf("mp%d", i), have: m.Volume, restarts: true}
		if wanted[i] {
			gone.key = "" // another mount takes its place
		}
		w.fields = append(w.fields, gone)
	}
	slices.SortStableFunc(w.fields, func(a, b field) int {
		if strings.HasPrefix(a.name, "mounts.") && strings.HasPrefix(b.name, "mounts.") {
			return strings.Compare(a.name, b.name)
		}
		return 0
	})
	return nil
}

func mountField(m mountWant, i int, mounts map[int]pve.Mount, old map[string]int, in engine.Inputs) (field, error) {
	source := m.source.Fill(in)
	want := m.mount
	want.Volume, want.Path = source.Reveal(), m.target
	f := field{name: "mounts." + m.target, key: fmt.Sprintf("mp%d", i), restarts: true}
	f.want = source
	if source.IsKnown() {
		// Where a dataset is mounted is what the node says, not the recipe.
		if err := pve.CheckPath(source.Reveal()); err != nil {
			return f, fmt.Errorf("mount %s: %w", m.target, err)
		}
		f.set = want.String()
		f.want = engine.Known(strings.TrimSuffix(f.set, ",mp="+m.target))
	}
	if j, ok := old[m.target]; ok {
		f.have = mounts[j].Volume
		f.same = j == i && source.IsKnown() && len(pve.SameMount(want, mounts[j])) == 0
		if f.have == f.want.String() && !f.same {
			f.have = mounts[j].String()
			f.want = engine.Known(f.set)
		}
	}
	return f, nil
}

// placeMounts gives each mount its index: the one it has, or the next free one
// above its parents; when that would put a child below its parent, all anew.
func placeMounts(mounts []mountWant, old map[string]int, taken map[int]pve.Mount) []int {
	used := map[int]bool{}
	for i, m := range taken {
		if m.Kind() != pve.BindMount {
			used[i] = true
		}
	}
	foreign := len(used)
	index := make([]int, len(mounts))
	for k, m := range mounts {
		index[k] = -1
		if i, ok := old[m.target]; ok {
			index[k], used[i] = i, true
		}
	}
	for k := range mounts {
		if index[k] < 0 {
			index[k] = free(used, parentIndex(mounts, index, k)+1)
		}
	}
	for k := range mounts {
		if index[k] <= parentIndex(mounts, index, k) {
			return placeMounts(mounts, nil, onlyForeign(taken, foreign))
		}
	}
	return index
}

func onlyForeign(taken map[int]pve.Mount, n int) map[int]pve.Mount {
	out := make(map[int]pve.Mount, n)
	for i, m := range taken {
		if m.Kind() != pve.BindMount {
			out[i] = m
		}
	}
	return out
}

func free(used map[int]bool, from int) int {
	for used[from] {
		from++
	}
	used[from] = true
	return from
}

func parentIndex(mounts []mountWant, index []int, k int) int {
	highest := -1
	for j := range k {
		if strings.HasPrefix(mounts[k].target, mounts[j].target+"/") && index[j] > highest {
			highest = index[j]
		}
	}
	return highest
}

// deviceFields compares devices by their path on the node.
func (c *container) deviceFields(w *wants, have *pve.Config, in engine.Inputs) error {
	wanted := slices.Clone(c.devices)
	for _, a := range in.Attached {
		v, ok := a.Outputs["devices"]
		if ok && !v.IsKnown() {
			w.fields = append(w.fields, field{name: "devices." + string(a.Node), want: v, restarts: true})
			w.known = false
			continue
		}
		for line := range strings.Lines(v.Reveal()) {
			d, err := pve.ParseDevice(strings.TrimSpace(line))
			if err != nil {
				return fmt.Errorf("%s: %w", a.Node, err)
			}
			wanted = append(wanted, d)
		}
	}
	old := map[string]int{}
	used := map[int]bool{}
	for _, i := range have.Indexed("dev") {
		d, err := pve.ParseDevice(have.Get(fmt.Sprintf("dev%d", i)))
		if err != nil {
			return fmt.Errorf("dev%d: %w", i, err)
		}
		old[d.Path], used[i] = i, true
	}
	for _, d := range wanted {
		f := field{name: "devices." + d.Path, set: d.String(), want: engine.Known(d.String()), restarts: true}
		i, there := old[d.Path]
		if there {
			f.have = have.Get(fmt.Sprintf("dev%d", i))
			was, _ := pve.ParseDevice(f.have)
			f.same = len(pve.SameDevice(d, was)) == 0
			delete(old, d.Path)
		} else {
			i = free(used, 0)
		}
		f.key = fmt.Sprintf("dev%d", i)
		w.fields = append(w.fields, f)
	}
	for _, i := range have.Indexed("dev") {
		key := fmt.Sprintf("dev%d", i)
		d, _ := pve.ParseDevice(have.Get(key))
		if j, unwanted := old[d.Path]; unwanted && j == i && w.known {
			w.fields = append(w.fields, field{name: "devices." + d.Path, key: key, have: have.Get(key), restarts: true})
		}
	}
	return nil
}

// rawFields compares the raw lxc lines. Those that come from the image's config
// and that the recipe does not override stay as Proxmox wrote them.
func (c *container) rawFields(w *wants, have *pve.Config, img pve.ImageConfig, known bool, in engine.Inputs) error {
	w.raw = c.processLines(have, img, known)
	complete := true // all lines are known, so that what is not among them has to go
	for _, a := range in.Attached {
		v, ok := a.Outputs["lxc"]
		if ok && !v.IsKnown() {
			complete = false
			w.fields = append(w.fields, field{name: "lxc." + string(a.Node), want: v, restarts: true})
			continue
		}
		for line := range strings.Lines(v.Reveal()) {
			key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
			if !ok {
				return fmt.Errorf("%s: got %q, wanted a line of a container's config", a.Node, line)
			}
			w.raw = append(w.raw, pve.KV{Key: key, Value: strings.TrimSpace(value)})
		}
	}
	w.raw = append(w.raw, c.lxc...)
	w.raw = append(w.raw, c.etcEntries(have, in)...)
	w.raw = append(w.raw, c.logLines()...)
	was, want := byName(have.Raw), byName(w.raw)
	names := slices.Concat(was.order, want.order)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		f := field{name: name, want: engine.Known(want.text[name]), have: was.text[name], restarts: true}
		if strings.HasPrefix(name, "lxc.environment") {
			f.have, f.seal = otherValue, c.seal(have, name, was.text[name], want.text[name])
		}
		if name == namesField {
			f.why = "the containers of an app find each other by their names"
		}
		if name == resolverField {
			f.why = "nobody else tells the container where names are looked up"
		}
		f.same = want.text[name] == was.text[name] || want.text[name] == "" && !complete
		if name == logField {
			// Nobody is misled by a log that begins with the next start, so that no
			// application goes down for it.
			f.why, f.restarts = "what the application prints is kept, from its next start on", false
			if want.text[name] != "" && !c.logConf {
				f.have, f.same = "", false
			}
		}
		if len(have.Options) > 0 || !silentLine[name] {
			w.fields = append(w.fields, f)
		}
	}
	return nil
}

// silentLine are the fields that are no news of a new container: PVE fills them from the image
// by itself, or every container has them.
var silentLine = map[string]bool{"workdir": true, "user": true, "lxc.signal.halt": true, namesField: true, resolverField: true}

// namesField stands for the mount of the app's names, resolverField for that of the
// node's resolver.
const (
	namesField    = "names"
	resolverField = "resolver"
)

// processLines are the lines that follow from the image and from parameters of
// their own.
func (c *container) processLines(have *pve.Config, img pve.ImageConfig, known bool) []pve.KV {
	var raw []pve.KV
	add := func(key, value string) { raw = append(raw, pve.KV{Key: key, Value: value}) }
	keep := func(keys ...string) {
		for _, kv := range have.Raw {
			if slices.Contains(keys, kv.Key) {
				raw = append(raw, kv)
			}
		}
	}
	switch {
	case c.workdir != "":
		add("lxc.init.cwd", c.workdir)
	case !known:
		keep("lxc.init.cwd")
	case strings.TrimSpace(img.WorkingDir) != "":
		add("lxc.init.cwd", strings.TrimSpace(img.WorkingDir)) // as PVE's parser trims lines
	}
	switch {
	case c.user != "":
		uid, gid, _ := strings.Cut(c.user, ":")
		add("lxc.init.uid", uid)
		if gid == "" {
			gid = "0"
		}
		add("lxc.init.gid", gid)
	case !known || img.User != "":
		keep("lxc.init.uid", "lxc.init.gid", "lxc.init.groups")
	}
	keep("lxc.signal.halt")
	switch {
	case c.shm > 0:
		add("lxc.mount.entry", fmt.Sprintf("shm dev/shm tmpfs rw,nosuid,nodev,size=%d,create=dir 0 0", int64(c.shm)))
	case !c.gates.DevShm:
		// Before 6.1.10 Proxmox mounts nothing there, and programs that share
		// memory fail; 64M is what container engines give.
		add("lxc.mount.entry", fmt.Sprintf("shm dev/shm tmpfs rw,nosuid,nodev,size=%d,create=dir 0 0", int64(64*engine.MiB)))
	}
	for _, t := range c.tmpfs {
		add("lxc.mount.entry", fmt.Sprintf("tmpfs %s tmpfs rw,nosuid,nodev,size=%d,create=dir 0 0", strings.TrimPrefix(t.target, "/"), int64(t.size)))
	}
	if len(c.capDrop) > 0 {
		add("lxc.cap.drop", strings.Join(c.capDrop, " "))
	}
	if len(c.capKeep) > 0 {
		add("lxc.cap.keep", strings.Join(c.capKeep, " "))
	}
	return raw
}

type rawText struct {
	order []string
	text  map[string]string
}

// byName groups raw lines by the parameter that stands for them.
func byName(lines []pve.KV) rawText {
	t := rawText{text: map[string]string{}}
	for _, kv := range lines {
		name, value := rawName(kv)
		if old, ok := t.text[name]; ok {
			value = old + "; " + value
		} else {
			t.order = append(t.order, name)
		}
		t.text[name] = value
	}
	return t
}

func rawName(kv pve.KV) (name, value string) {
	switch kv.Key {
	case "lxc.init.cwd":
		return "workdir", kv.Value
	case "lxc.init.uid", "lxc.init.gid", "lxc.init.groups":
		return "user", strings.TrimPrefix(kv.Key, "lxc.init.") + " " + kv.Value
	case "lxc.cap.drop", "lxc.cap.keep":
		return "cap_" + strings.TrimPrefix(kv.Key, "lxc.cap."), kv.Value
	case pve.LXCInclude:
		if isLogLine(kv) {
			return logField, logKept
		}
	case "lxc.mount.entry":
		f := strings.Fields(kv.Value)
		if isHostsEntry(kv.Value) {
			return namesField, hostsPath
		}
		if kv == etcEntry(resolverPath, resolverPath) {
			return resolverField, resolverPath
		}
		if len(f) >= 4 && f[1] == "dev/shm" {
			return "shm", tmpfsSize(f[3])
		}
		if len(f) >= 4 && f[2] == "tmpfs" {
			return "tmpfs./" + f[1], tmpfsSize(f[3])
		}
		if len(f) >= 2 {
			return "lxc.mount.entry./" + f[1], kv.Value
		}
	}
	return kv.Key, kv.Value
}

// tmpfsSize shows the options of a tmpfs of ours as its size.
func tmpfsSize(options string) string {
	s, ok := strings.CutPrefix(options, "rw,nosuid,nodev,size=")
	if !ok {
		return options
	}
	if n, err := pve.ParseSize(strings.TrimSuffix(s, ",create=dir")); err == nil {
		return n.String()
	}
	return options
}
