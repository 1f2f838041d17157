package pct

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// A bindFile is a file of the node that a container mounts. Its name on the node
// holds the digest of all that makes it up, so that a changed file is another
// file: a running container keeps the old one until it restarts, and its config
// tells which one it has.
type bindFile struct {
	content
	container *Container
	node      string // of the cluster
	dest      string
}

// filesDir is the directory, below the app's, of such files.
const filesDir = "files"

// maxFileName is what a directory entry holds, less the digest.
const maxFileName = 255 - 1 - 16

func newBindFile(c engine.Call, h *engine.Handle, container *Container, f content, dest string) (*engine.Made, error) {
	if n := len(record.FileName(f.name)); n > maxFileName {
		return nil, engine.ArgErrorf("path", "%q is too long: %d characters, with escapes, where %d fit", dest, n, maxFileName)
	}
	return &engine.Made{Name: f.name, Parts: []engine.Part{{
		Spec: bindFile{f, container, c.Facts.Node, dest}, Uses: f.text.Refs(), AttachTo: h.ID.Node(partConfigure),
	}}}, nil
}

// base begins the names of all versions of the file.
func (f bindFile) base() string {
	return record.LocalFile(f.app, filesDir+"/"+record.FileName(f.name)+".")
}

// source returns the file's name on the node for a content.
func (f bindFile) source(data []byte) string {
	sum := pve.Digest([]byte(f.owner() + "\x00" + f.dest + "\x00" + string(data)))
	return f.base() + strings.TrimPrefix(sum, "sha256:")[:16]
}

func (f bindFile) glob() engine.Ask { return engine.AskGlob(record.LocalFile(f.app, filesDir+"/*")) }

func (f bindFile) Asks(known *engine.Answers) []engine.Ask {
	if known == nil {
		return append(GuestAsks(f.node), f.glob())
	}
	versions, err := f.versions(known)
	if err != nil {
		return nil // Observe tells
	}
	var asks []engine.Ask
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		asks = append(asks, ownerAsk(name))
	}
	return asks
}

// versions returns the versions of the file on the node, by path. The map is
// shared: it must not be changed.
func (f bindFile) versions(a *engine.Answers) (map[string][]byte, error) {
	all, err := engine.Parsed(a, "files "+f.app, func(a *engine.Answers) (map[string]map[string][]byte, error) {
		files, err := a.Glob(f.glob().Glob())
		return byBase(files), err
	})
	return all[f.base()], err
}

// byBase sorts files by what base returned when they were written: everything
// up to the last dot, which no digest holds.
func byBase(files map[string][]byte) map[string]map[string][]byte {
	all := map[string]map[string][]byte{}
	for name, data := range files {
		base := name[:strings.LastIndexByte(name, '.')+1]
		if all[base] == nil {
			all[base] = map[string][]byte{}
		}
		all[base][name] = data
	}
	return all
}

// A bindState is what is there of a file.
type bindState struct {
	versions map[string][]byte
	whole    map[string]bool // versions with the owner and mode wanted
	mounted  map[string]bool // versions that a container's config names
}

func (f bindFile) Observe(a *engine.Answers) (engine.State, error) {
	st := &bindState{whole: map[string]bool{}, mounted: map[string]bool{}}
	var err error
	if st.versions, err = f.versions(a); err != nil {
		return nil, err
	}
	for name := range st.versions {
		ans := a.Get(ownerAsk(name))
		if ans.Err != nil {
			return nil, ans.Err
		}
		owner, err := parseOwner(name, ans.Result.Stdout)
		if err != nil {
			return nil, err
		}
		st.whole[name] = owner == f.owner()
	}
	guests, err := GuestsOf(a, f.node)
	if err != nil {
		return nil, err
	}
	for _, g := range guests.Named(f.container.App, f.container.Name) {
		for _, line := range g.Config.Raw {
			if source, _, ok := strings.Cut(line.Value, " "); ok {
				st.mounted[source] = true
			}
		}
	}
	return st, nil
}

func (f bindFile) Diff(now engine.State, in engine.Inputs) (engine.Diff, error) {
	st := now.(*bindState)
	v := f.text.Fill(in)
	change := engine.Change{Action: engine.Create, To: v.When(), Why: "the file is not on the node"}
	if len(st.versions) > 0 {
		change.Action, change.Field, change.Why = engine.Update, "content", "the recipe has another content, owner or mode"
	}
	for _, name := range slices.Sorted(maps.Keys(st.versions)) {
		change.From = brief(st.versions[name])
	}
	if !v.IsKnown() {
		return engine.Diff{Changes: []engine.Change{change}, Outputs: engine.Outputs{"lxc": engine.Unknown(v.When())}}, nil
	}
	data := []byte(v.Reveal())
	name := f.source(data)
	d := engine.Diff{Outputs: f.outputs(name)}
	if have, ok := st.versions[name]; ok && st.whole[name] && string(have) == string(data) {
		return d, nil
	}
	change.To = brief(data)
	d.Changes = []engine.Change{change}
	return d, nil
}

func (f bindFile) outputs(name string) engine.Outputs {
	return engine.Outputs{"lxc": engine.Known(mountLine(name, f.dest))}
}

// Apply writes the version that is wanted and removes those that no config names.
func (f bindFile) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	st := w.Now.(*bindState)
	v := f.text.Fill(w.In)
	if !v.IsKnown() {
		return nil, fmt.Errorf("content is %s", v)
	}
	data := []byte(v.Reveal())
	name := f.source(data)
	if err := openDirs(ctx, w.Host, path.Dir(name)); err != nil {
		return nil, err
	}
	if err := f.write(ctx, w.Host, name, data); err != nil {
		return nil, err
	}
	var stale []string
	for _, old := range slices.Sorted(maps.Keys(st.versions)) {
		if old != name && !st.mounted[old] {
			stale = append(stale, old)
		}
	}
	if len(stale) > 0 {
		if err := act.Do(ctx, w.Host, append([]string{"rm", "-f"}, stale...)...); err != nil {
			return nil, err
		}
	}
	return f.outputs(name), nil
}

// write replaces a file and gives it its owner, without following a link in its
// place: the mode comes with the content, as chmod would follow one.
func (f content) write(ctx context.Context, h engine.Host, name string, data []byte) error {
	if err := act.WriteFile(ctx, h, engine.File{Name: name, Data: data, Perm: fs.FileMode(f.perm())}); err != nil {
		return err
	}
	return act.Do(ctx, h, "chown", "-h", fmt.Sprintf("%d:%d", f.uid, f.gid), name)
}

func fileFindAsks(*engine.Answers) []engine.Ask {
	return []engine.Ask{engine.AskGlob(record.LocalFile("*", filesDir+"/*"))}
}

// findFiles tells the files of all apps that containers mount. Those in datasets
// go with their dataset.
func findFiles(a *engine.Answers) ([]engine.Found, error) {
	files, err := a.Glob(record.LocalFile("*", filesDir+"/*"))
	if err != nil {
		return nil, err
	}
	var found []engine.Found
	for _, file := range slices.Sorted(maps.Keys(files)) {
		escaped := strings.TrimSuffix(path.Base(file), path.Ext(file))
		step := engine.StepID(FileKind + "/" + unescape(escaped))
		found = append(found, engine.Found{
			App: path.Base(path.Dir(path.Dir(file))), Step: step, What: "file " + file, Order: 70,
			Remove: func(ctx context.Context, h engine.Host, _ func(string, int64, int64)) error {
				return act.Do(ctx, h, "rm", "-f", file)
			},
		})
	}
	return found, nil
}

// unescape is the reverse of record.FileName.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '_' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
