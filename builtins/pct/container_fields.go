package pct

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// A field is one thing that a recipe decides about a container's config,
// compared with what the config holds.
type field struct {
	name     string       // as the recipe knows it: "memory", "env.TZ", "mounts./data"
	key      string       // of pct: "memory", "mp0"; "" for what is no option of pct
	want     engine.Value // for people; "" where it is to be unset
	have     string       // for people
	set      string       // the value for pct; "" deletes the key
	same     bool
	why      string // "" where the recipe says so
	seal     string // of the values, where have is not shown
	restarts bool   // takes effect at the next start only
	atCreate bool   // pct create gets it already
}

// wants are all fields of a container, and the env and raw lines that make up
// its config besides the options.
type wants struct {
	fields []field
	env    []string // K=V; only meaningful if known
	raw    []pve.KV
	grow   engine.Size // the size to grow the root file system to, 0 for none
	known  bool        // every value is
}

// changed returns the fields that differ.
func (w wants) changed() []field {
	var out []field
	for _, f := range w.fields {
		if !f.same {
			out = append(out, f)
		}
	}
	return out
}

// compare computes what is wanted and compares it with a config; an empty
// config stands for a container that is not there yet.
func (c *container) compare(have *pve.Config, in engine.Inputs) (wants, error) {
	w := wants{known: true}
	img, known, err := c.image(in)
	if err != nil {
		return w, err
	}
	w.fields = c.plainFields(have)
	w.fields = append(w.fields, c.netField(have))
	w.grow = c.growth(have, &w)
	if err := c.entrypointField(&w, have, img, known); err != nil {
		return w, err
	}
	if err := c.mountFields(&w, have, in); err != nil {
		return w, err
	}
	if err := c.deviceFields(&w, have, in); err != nil {
		return w, err
	}
	if err := c.envFields(&w, have, img, known, in); err != nil {
		return w, err
	}
	if err := c.rawFields(&w, have, img, known, in); err != nil {
		return w, err
	}
	for _, f := range w.fields {
		w.known = w.known && f.want.IsKnown()
	}
	return w, nil
}

// image returns the image's config as far as it is known.
func (c *container) image(in engine.Inputs) (pve.ImageConfig, bool, error) {
	v := in.Value(c.imageOf)
	if !v.IsKnown() {
		return pve.ImageConfig{}, false, nil
	}
	img, err := pve.ParseImageConfig([]byte(v.Reveal()))
	return img, err == nil, err
}

// plainFields are the options that are a word or a number.
func (c *container) plainFields(have *pve.Config) []field {
	cores := ""
	if c.cores > 0 {
		cores = strconv.FormatInt(c.cores, 10)
	}
	fields := []field{
		{name: "hostname", set: c.hostname, restarts: true, atCreate: true},
		{name: "cores", set: cores, atCreate: true},
		{name: "memory", set: mebibytes(c.memory), atCreate: true},
		{name: "swap", set: mebibytes(c.swap), atCreate: true},
		{name: "features", set: c.features.String(), restarts: true, atCreate: true},
		{name: "nameserver", set: c.nameserver, restarts: true, atCreate: true},
		{name: "searchdomain", set: c.searchdomain, restarts: true, atCreate: true},
		{name: "onboot", set: boolean(c.onboot)}, // not before it has its mounts and environment
		{name: "startup", set: c.startup.String(), atCreate: true},
		{name: "tags", set: pve.NormalizeTags(c.tags), atCreate: true},
		{name: "protection", set: boolean(c.protection)},
	}
	for i := range fields {
		f := &fields[i]
		f.key = f.name
		f.want, f.have = engine.Known(f.set), normal(f.key, have.Get(f.key))
		f.same = f.set == f.have
		if f.key == "memory" || f.key == "swap" {
			f.want, f.have = engine.Known(size(f.set)), size(f.have)
		}
	}
	return fields
}

// normal returns a value of a config in the form in which tengil writes it: PVE
// may print the same in another order, and unset flags have a default.
func normal(key, v string) string {
	switch key {
	case "tags":
		return pve.NormalizeTags(pve.ParseTags(v))
	case "onboot", "protection":
		b, err := pve.ParseBool(v)
		return boolean(err == nil && b)
	case "features":
		if f, err := pve.ParseFeatures(v); err == nil {
			return f.String()
		}
	case "startup":
		if s, err := pve.ParseStartup(v); err == nil && v != "" {
			return s.String()
		}
	case "nameserver":
		return strings.Join(strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune(" ,;", r) }), " ")
	}
	return v
}

func mebibytes(s engine.Size) string { return strconv.FormatInt(int64(s/engine.MiB), 10) }

// size shows a number of mebibytes as people write it.
func size(mib string) string {
	n, err := strconv.ParseInt(mib, 10, 64)
	if err != nil {
		return mib
	}
	return (engine.Size(n) * engine.MiB).String()
}

// boolean is "1", or "" since all flags are off by default.
func boolean(b bool) string {
	if b {
		return "1"
	}
	return ""
}

// netField compares the interface; the full string is sent, since PVE takes a
// missing hwaddr as an order for a new one.
func (c *container) netField(have *pve.Config) field {
	want := c.net
	old, err := pve.ParseNet(have.Get("net0"))
	f := field{name: "net", key: "net0", have: have.Get("net0"), restarts: true, atCreate: true}
	if err == nil {
		f.same = have.Get("net0") != "" && len(pve.SameNet(want, old)) == 0
		if want.HWAddr == "" {
			want.HWAddr = old.HWAddr
		}
	}
	f.set = want.String()
	f.want = engine.Known(f.set)
	return f
}

// growth adds the field disk and returns the size to grow to.
func (c *container) growth(have *pve.Config, w *wants) engine.Size {
	root, err := pve.ParseMount(have.Get("rootfs"))
	if err != nil {
		w.fields = append(w.fields, field{name: "disk", want: engine.Known(c.disk.String())})
		return 0
	}
	now, err := pve.ParseSize(root.Size)
	if err != nil || now >= c.disk {
		return 0
	}
	w.fields = append(w.fields, field{name: "disk", want: engine.Known(c.disk.String()), have: now.String()})
	return c.disk
}

// argv returns the command of the container.
func (c *container) argv(img pve.ImageConfig) []string {
	entrypoint, cmd := img.Entrypoint, img.Cmd
	if c.hasEntrypoint {
		entrypoint, cmd = c.entrypoint, nil
	}
	if c.hasCmd {
		cmd = c.cmd
	}
	return slices.Concat(entrypoint, cmd)
}

// entrypointField compares the words that LXC will make of the value, since PVE
// writes an image's command in the syntax of a shell, which LXC does not speak.
func (c *container) entrypointField(w *wants, have *pve.Config, img pve.ImageConfig, known bool) error {
	f := field{name: "entrypoint", key: "entrypoint", have: have.Get("entrypoint"), restarts: true}
	if !known {
		f.want = engine.Unknown("after the image is pulled")
		w.fields = append(w.fields, f)
		return nil
	}
	argv := c.argv(img)
	if len(argv) == 0 {
		return engine.WithHint(fmt.Errorf("image %s has neither entrypoint nor cmd", c.imageName), "say what to run with entrypoint = [...]")
	}
	if argv[0] != "/sbin/init" {
		var err error
		if f.set, err = pve.EncodeEntrypoint(argv); err != nil {
			return engine.WithHint(fmt.Errorf("command of the image: %w", err), "give a command that Proxmox can store with entrypoint = [...]; a shell script can go into a file(…)")
		}
	}
	f.want = engine.Known(f.set)
	f.same = f.have == f.set || f.set != "" && slices.Equal(pve.SplitEntrypoint(f.have), argv)
	w.fields = append(w.fields, f)
	return nil
}

// otherValue stands for the value that a variable has now. It is never shown: it
// may be a secret of an earlier recipe, and nothing tells any more.
const otherValue = "(another value)"

// seal stands for values that are not shown, among them what somebody has set for
// the next start.
func (c *container) seal(have *pve.Config, values ...string) string {
	return engine.Seal(c.sealKey, slices.Concat([]string{string(c.id)}, values, have.PendingEnv)...)
}

func (c *container) envFields(w *wants, have *pve.Config, img pve.ImageConfig, known bool, in engine.Inputs) error {
	was := map[string]string{}
	for _, line := range have.Env {
		name, value, _ := strings.Cut(line, "=")
		was[name] = value
	}
	given := map[string]engine.Value{}
	var names []pve.KV
	for _, e := range c.env {
		given[e.Key] = e.Value.(engine.Text).Fill(in)
		if err := pve.CheckEnv(e.Key, given[e.Key].Reveal()); err != nil {
			return fmt.Errorf("env: %w", err)
		}
		names = append(names, pve.KV{Key: e.Key})
	}
	wanted := map[string]bool{}
	for _, line := range pve.MergeEnv(img.Env, names) {
		name, value, _ := strings.Cut(line, "=")
		v, fromRecipe := given[name]
		if !fromRecipe {
			// PVE's parser trims each line of the config.
			v = engine.Known(strings.TrimRight(value, " \t"))
		}
		wanted[name] = true
		w.env = append(w.env, name+"="+v.Reveal())
		f := field{name: "env." + name, want: v, restarts: true}
		old, there := was[name]
		f.same = there && v.IsKnown() && old == v.Reveal()
		if there {
			f.have = otherValue
		}
		if there || v.IsSecret() && c.sealKey != nil {
			f.seal = c.seal(have, name, old, v.Reveal())
		}
		// What an image brings for itself is no news of the recipe.
		if fromRecipe || len(have.Options) > 0 {
			w.fields = append(w.fields, f)
		}
	}
	for _, line := range have.Env {
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			name = "(broken line)"
		}
		if !wanted[name] && known {
			w.fields = append(w.fields, field{name: "env." + name, have: otherValue, seal: c.seal(have, name, value), restarts: true})
		}
	}
	return nil
}
