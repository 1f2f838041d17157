package recipe

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/tengil/tengil/engine"
)

// A source names one file: its path in a catalog, "" being the recipe's own.
type source struct{ catalog, path string }

// String returns the name that positions show: "lib/x.star", "@name//lib/x.star".
func (s source) String() string {
	if s.catalog == "" {
		return s.path
	}
	return "@" + s.catalog + "//" + s.path
}

// shown is the name of a file in positions: as people find it from where they are.
func (ev *evaluation) shown(src source) string {
	if src.catalog == "" && ev.o.Dir != "" {
		return path.Join(ev.o.Dir, src.path)
	}
	return src.String()
}

// A module is a loaded file; each is evaluated once.
type module struct {
	globals starlark.StringDict
	err     error
}

// dialect is what go.starlark.net leaves to its user. Top-level if and for, and
// so assigning a name twice, keep a recipe flat; recursion and while stay out, so
// that loops are bounded by their data.
func dialect() *syntax.FileOptions {
	return &syntax.FileOptions{Set: true, TopLevelControl: true, GlobalReassign: true}
}

// load implements the load statement.
func (ev *evaluation) load(_ *starlark.Thread, name string) (starlark.StringDict, error) {
	globals, err := ev.module(name)
	if err != nil {
		return nil, &loadFailure{err}
	}
	return globals, nil
}

// module returns the globals of the file that name means in the file being run.
func (ev *evaluation) module(name string) (starlark.StringDict, error) {
	src, err := resolveLoad(ev.loading[len(ev.loading)-1], name)
	if err != nil {
		return nil, err
	}
	from := ev.loading[len(ev.loading)-1]
	ev.loads[from] = append(ev.loads[from], src)
	if i := slices.Index(ev.loading, src); i >= 0 {
		return nil, fmt.Errorf("load: %s loads itself: %s", src, chain(slices.Concat(ev.loading[i:], []source{src})))
	}
	if m, ok := ev.modules[src]; ok {
		return m.globals, m.err
	}
	if max := ev.meter.LoadDepth; len(ev.loading) > max {
		return nil, fmt.Errorf("load: more than %d files load one another", max)
	}
	m := &module{}
	m.globals, m.err = ev.run(src)
	ev.modules[src] = m
	return m.globals, m.err
}

func chain(files []source) string {
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.String()
	}
	return strings.Join(names, " loads ")
}

// resolveLoad finds which file name means in a load statement of file from.
func resolveLoad(from source, name string) (source, error) {
	to := source{catalog: from.catalog}
	switch {
	case strings.HasPrefix(name, "@"):
		catalog, rest, ok := strings.Cut(name[1:], "//")
		if !ok || catalog == "" {
			return source{}, fmt.Errorf("load: %q is not of the form \"@catalog//path.star\"", name)
		}
		to.catalog, to.path = catalog, path.Clean(rest)
	case strings.HasPrefix(name, "//"):
		to.path = path.Clean(name[2:])
	case strings.HasPrefix(name, "/"), strings.Contains(name, ":"), strings.Contains(name, `\`):
		return source{}, fmt.Errorf("load: %q is neither a path in the catalog (\"//lib/x.star\"), nor in another one (\"@name//lib/x.star\"), nor relative (\"x.star\")", name)
	default:
		to.path = path.Join(path.Dir(from.path), name)
	}
	if !fs.ValidPath(to.path) || to.path == "." {
		return source{}, fmt.Errorf("load: %q leads out of the catalog", name)
	}
	return to, nil
}

// read returns the content of a file, within Limits.FileSize.
func (ev *evaluation) read(src source) ([]byte, error) {
	root := ev.o.FS
	if src.catalog != "" {
		var ok bool
		if root, ok = ev.o.Catalogs[src.catalog]; !ok {
			return nil, fmt.Errorf("load: there is no catalog %q%s", src.catalog, engine.DidYouMean(src.catalog, slices.Sorted(maps.Keys(ev.o.Catalogs))))
		}
	}
	f, err := root.Open(src.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &absentError{src, siblings(root, src.path)}
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", src, err)
	}
	defer f.Close()
	if fi, err := f.Stat(); err == nil && fi.IsDir() {
		return nil, fmt.Errorf("%s is a directory; wanted a file", src)
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(ev.meter.FileSize)+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", src, err)
	}
	if len(data) > int(ev.meter.FileSize) {
		return nil, fmt.Errorf("%s is larger than %s, which is the most that a file of a recipe may have", src, ev.meter.FileSize)
	}
	return data, nil
}

// An absentError says that a file does not exist; it wraps fs.ErrNotExist.
type absentError struct {
	src  source
	near []string // the recipes beside it
}

func (e *absentError) Error() string {
	if e.src.catalog != "" {
		return fmt.Sprintf("catalog %q has no file %q%s", e.src.catalog, e.src.path, engine.DidYouMean(e.src.path, e.near))
	}
	return fmt.Sprintf("there is no file %q%s", e.src.path, engine.DidYouMean(e.src.path, e.near))
}

// siblings returns the recipes in the directory where name would be; none if it
// cannot be read.
func siblings(root fs.FS, name string) []string {
	entries, err := fs.ReadDir(root, path.Dir(name))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".star") {
			names = append(names, path.Join(path.Dir(name), e.Name()))
		}
	}
	return names
}

func (*absentError) Unwrap() error { return fs.ErrNotExist }

// compile reads, parses, rewrites and resolves one file.
func (ev *evaluation) compile(src source) (*starlark.Program, error) {
	data, err := ev.read(src)
	if err != nil {
		return nil, err
	}
	ev.files = append(ev.files, src.String())
	ev.content[src.String()] = data
	shown := ev.shown(src)
	if err := checkSource(shown, data); err != nil {
		return nil, err
	}
	f, err := dialect().Parse(shown, data, 0)
	if err != nil {
		return nil, syntaxError(err, data)
	}
	rewrite(f)
	// What a node kept was resolved before, with what the tg of that day knew.
	prog, err := starlark.FileProgram(f, func(name string) bool { return ev.predeclared.Has(name) || ev.stored && !starlark.Universe.Has(name) })
	if err != nil {
		return nil, ev.resolveErrors(err)
	}
	ev.noteHost(src, f)
	return prog, nil
}

// noteHost remembers where a resolved file uses host.
func (ev *evaluation) noteHost(src source, f *syntax.File) {
	syntax.Walk(f, func(n syntax.Node) bool {
		if id, ok := n.(*syntax.Ident); ok && id.Name == "host" {
			if b, ok := id.Binding.(*resolve.Binding); ok && b.Scope == resolve.Predeclared {
				ev.hosts[src] = position(id.NamePos)
			}
		}
		return true
	})
}

// resolveErrors converts what the resolver returns: all that it found, in the
// order of the lines.
func (ev *evaluation) resolveErrors(err error) error {
	var list resolve.ErrorList
	if !errors.As(err, &list) {
		return err
	}
	slices.SortStableFunc(list, func(a, b resolve.Error) int {
		if a.Pos.Line != b.Pos.Line {
			return int(a.Pos.Line) - int(b.Pos.Line)
		}
		return int(a.Pos.Col) - int(b.Pos.Col)
	})
	errs := make([]error, len(list))
	for i, e := range list {
		errs[i] = &engine.Error{Pos: position(e.Pos), Err: errors.New(ev.undefined(e.Msg))}
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// undefinedMsg is how package resolve reports a name that nothing defines. It
// knows the names of the file but not those of the language.
var undefinedMsg = regexp.MustCompile(`^undefined: (\w+)( \(did you mean \w+\?\))?$`)

// undefined adds to a message of the resolver which function was meant.
func (ev *evaluation) undefined(msg string) string {
	m := undefinedMsg.FindStringSubmatch(msg)
	if m == nil {
		return msg
	}
	if hint := engine.DidYouMean(m[1], ev.publicNames()); hint != "" {
		return fmt.Sprintf("undefined: %s%s", m[1], hint)
	}
	return msg
}

// publicNames are the predeclared names that a recipe can spell.
func (ev *evaluation) publicNames() []string {
	names := []string{"None", "True", "False"}
	for name := range ev.predeclared {
		if !isOperatorName(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
