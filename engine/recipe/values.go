package recipe

import (
	"fmt"
	"iter"
	"slices"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"github.com/tengil/tengil/engine"
)

// A step is what a step function returns: engine.Handle as a Starlark value. It
// is frozen from the start.
type step struct {
	kind   *engine.Kind
	handle *engine.Handle
	attrs  starlark.StringDict // by output
}

func (s *step) String() string        { return string(s.handle.ID) }
func (s *step) Type() string          { return "step" }
func (s *step) Freeze()               {}
func (s *step) Truth() starlark.Bool  { return true }
func (s *step) Hash() (uint32, error) { return starlark.String(s.handle.ID).Hash() }
func (s *step) AttrNames() []string   { return s.attrs.Keys() }

// Attr implements starlark.HasAttrs.
func (s *step) Attr(name string) (starlark.Value, error) {
	if v, ok := s.attrs[name]; ok {
		return v, nil
	}
	if len(s.attrs) == 0 {
		return nil, fmt.Errorf("%s has no outputs", s)
	}
	if hint := engine.DidYouMean(name, s.AttrNames()); hint != "" {
		return nil, fmt.Errorf("%s has no output %q%s", s, name, hint)
	}
	return nil, fmt.Errorf("%s has no output %q; it has %s", s, name, quotedList(s.AttrNames()))
}

// An object is what a constructor returns. It is frozen from the start.
type object struct {
	name  string // of the constructor
	key   string // canonical text of the call
	value any
}

func (o *object) String() string        { return o.name + "(…)" }
func (o *object) Type() string          { return o.name }
func (o *object) Freeze()               {}
func (o *object) Truth() starlark.Bool  { return true }
func (o *object) Hash() (uint32, error) { return starlark.String(o.key).Hash() }

// hostStruct returns the facts as recipes see them, in the names and shapes of
// their JSON form; sizes are numbers of bytes.
func hostStruct(f *engine.Facts) starlark.Value {
	v := record(map[string]starlark.Value{
		"node":     starlark.String(f.Node),
		"arch":     starlark.String(f.Arch),
		"pve":      starlark.String(f.PVE),
		"packages": stringDict(f.Packages),
		"cores":    starlark.MakeInt(f.Cores),
		"memory":   bytesOf(f.Memory),
		"pools":    listOf(f.Pools, poolStruct),
		"storages": listOf(f.Storages, storageStruct),
		"bridges":  listOf(f.Bridges, text),
		"gpus":     listOf(f.GPUs, gpuStruct),
		"default":  choicesStruct(f.Default),
	})
	v.Freeze()
	return v
}

func poolStruct(p engine.Pool) starlark.Value {
	return record(map[string]starlark.Value{
		"name": text(p.Name), "size": bytesOf(p.Size), "free": bytesOf(p.Free), "health": text(p.Health),
		"dir": text(p.Dir),
	})
}

func storageStruct(s engine.Storage) starlark.Value {
	return record(map[string]starlark.Value{
		"name": text(s.Name), "type": text(s.Type), "content": listOf(s.Content, text), "path": text(s.Path),
		"pool": text(s.Pool), "nodes": listOf(s.Nodes, text), "off": starlark.Bool(s.Off),
	})
}

func gpuStruct(g engine.GPU) starlark.Value {
	return record(map[string]starlark.Value{
		"vendor": text(g.Vendor), "name": text(g.Name), "pci": text(g.PCI), "driver": text(g.Driver),
		"card": text(g.Card), "render": text(g.Render), "nodes": listOf(g.Nodes, text),
	})
}

func choicesStruct(c engine.Choices) starlark.Value {
	return record(map[string]starlark.Value{
		"pool": text(c.Pool), "storage": text(c.Storage), "templates": text(c.Templates), "bridge": text(c.Bridge),
		"nameserver": text(c.Nameserver), "data": text(c.Data),
	})
}

func record(fields map[string]starlark.Value) starlark.Value {
	return starlarkstruct.FromStringDict(starlarkstruct.Default, fields)
}

func text(s string) starlark.Value { return starlark.String(s) }

func bytesOf(s engine.Size) starlark.Value { return starlark.MakeInt64(int64(s)) }

func listOf[T any](in []T, f func(T) starlark.Value) starlark.Value {
	out := make([]starlark.Value, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return starlark.NewList(out)
}

func stringDict(m map[string]string) starlark.Value {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	d := starlark.NewDict(len(m))
	for _, k := range keys {
		_ = d.SetKey(text(k), text(m[k])) // a string key of an unfrozen dict cannot fail
	}
	return d
}

// parts yields what v holds: elements, keys and values, fields.
func parts(v starlark.Value) iter.Seq[starlark.Value] {
	return func(yield func(starlark.Value) bool) {
		switch v := v.(type) {
		case starlark.Tuple:
			for _, e := range v {
				if !yield(e) {
					return
				}
			}
		case *starlark.List:
			for i := range v.Len() {
				if !yield(v.Index(i)) {
					return
				}
			}
		case *starlark.Set:
			for e := range v.Elements() {
				if !yield(e) {
					return
				}
			}
		case *starlark.Dict:
			for k, e := range v.Entries() {
				if !yield(k) || !yield(e) {
					return
				}
			}
		case *starlarkstruct.Struct:
			for _, name := range v.AttrNames() {
				if e, err := v.Attr(name); err == nil && !yield(e) {
					return
				}
			}
		}
	}
}
