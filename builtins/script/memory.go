package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/recipe"
	"github.com/tengil/tengil/engine/record"
)

const (
	prefix = "kind." // begins the names of memories in the app's directory
	// order puts what scripts made after containers, which may use it, and before
	// datasets, which it may use.
	order = 5
)

// A stage tells how far tengil has come with a step.
type stage string

const (
	making stage = "making"
	made   stage = "made"
)

// A memory is what the node knows of a step of a script: enough to remove it.
type memory struct {
	Format int                 `json:"format"`
	App    string              `json:"-"` // told by where it lies
	Step   engine.StepID       `json:"step"`
	Node   string              `json:"node"` // where it was made; memories are the cluster's
	Stage  stage               `json:"stage"`
	Digest string              `json:"digest"` // of Source
	Source engine.ScriptSource `json:"source"`
	// Args are the arguments, without those that are secret.
	Args map[string]kept `json:"args,omitempty"`
}

// A kept is one argument; one field is set.
type kept struct {
	Text   *string     `json:"text,omitempty"`
	Number *int64      `json:"number,omitempty"` // also bytes and nanoseconds
	Bool   *bool       `json:"bool,omitempty"`
	List   *[]kept     `json:"list,omitempty"`
	Map    *[]keptPair `json:"map,omitempty"`
	Secret bool        `json:"secret,omitempty"` // and so not kept
}

type keptPair struct {
	Key   string `json:"key"`
	Value kept   `json:"value"`
}

func (m memory) path() string {
	return record.PrivFile(m.App, prefix+m.Node+"."+record.FileName(string(m.Step))+".json")
}

func (m memory) file() engine.File {
	data, _ := json.Marshal(m) // plain strings and numbers: cannot fail
	return engine.File{Name: m.path(), Data: append(data, '\n'), Perm: 0o600}
}

// memory returns what is to be remembered of the step while it is made.
func (s step) memory(in engine.Inputs) (memory, error) {
	m := memory{Format: record.Format, App: s.app, Step: s.id, Node: s.node, Stage: making, Source: s.script.Source(), Args: map[string]kept{}}
	m.Digest = digestOf(m.Source)
	for _, p := range s.script.Kind().Params {
		v, given := s.call.Args.Values[p.Name]
		if !given || p.Type == engine.TypeSteps {
			continue
		}
		k, err := keep(v, in)
		if err != nil {
			return m, fmt.Errorf("%s: %w", p.Name, err)
		}
		m.Args[p.Name] = k
	}
	return m, nil
}

// digestOf is a sha256 over the names and contents of the files, sorted by name.
func digestOf(s engine.ScriptSource) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		fmt.Fprintf(&b, "%d:%s%d:%s", len(name), name, len(s.Files[name]), s.Files[name])
	}
	return pve.Digest([]byte(b.String()))
}

func keep(v any, in engine.Inputs) (kept, error) {
	switch v := v.(type) {
	case string:
		return kept{Text: &v}, nil
	case int64:
		return kept{Number: &v}, nil
	case engine.Size:
		n := int64(v)
		return kept{Number: &n}, nil
	case time.Duration:
		n := int64(v)
		return kept{Number: &n}, nil
	case bool:
		return kept{Bool: &v}, nil
	case engine.Text:
		got := v.Fill(in)
		switch text := got.Reveal(); {
		case got.IsSecret():
			return kept{Secret: true}, nil
		case !got.IsKnown():
			return kept{}, fmt.Errorf("%s is %s", v, got)
		default:
			return kept{Text: &text}, nil
		}
	case []string:
		return keepAll(v, in)
	case []engine.Text:
		return keepAll(v, in)
	case []engine.Entry:
		pairs := make([]keptPair, len(v))
		for i, e := range v {
			k, err := keep(e.Value, in)
			if err != nil {
				return kept{}, err
			}
			pairs[i] = keptPair{e.Key, k}
		}
		return kept{Map: &pairs}, nil
	}
	return kept{}, fmt.Errorf("tengil cannot keep a %T", v)
}

func keepAll[T any](list []T, in engine.Inputs) (kept, error) {
	all := make([]kept, len(list))
	for i, v := range list {
		var err error
		if all[i], err = keep(v, in); err != nil {
			return kept{}, err
		}
	}
	return kept{List: &all}, nil
}

// args returns the arguments again. A secret one is as good as not known yet.
func (m memory) args(params []engine.Param) (engine.Args, error) {
	out := engine.Args{Values: map[string]any{}, Given: map[string]bool{}}
	for _, p := range params {
		k, ok := m.Args[p.Name]
		if !ok {
			continue
		}
		v, ok := k.value(p.Type, engine.Ref{Node: m.Step.Node(""), Output: p.Name})
		if !ok {
			return out, fmt.Errorf("%s: %s is no %s", m.path(), p.Name, p.Type)
		}
		out.Values[p.Name], out.Given[p.Name] = v, true
	}
	return out, nil
}

func (k kept) value(t engine.Type, at engine.Ref) (any, bool) {
	switch t {
	case engine.TypeString:
		return deref(k.Text)
	case engine.TypeText:
		return k.textOf(at)
	case engine.TypeInt:
		return deref(k.Number)
	case engine.TypeBool:
		return deref(k.Bool)
	case engine.TypeSize:
		n, ok := deref(k.Number)
		return engine.Size(n), ok
	case engine.TypeDuration:
		n, ok := deref(k.Number)
		return time.Duration(n), ok
	case engine.TypeStrings:
		return listOf(k, func(k kept) (string, bool) { return deref(k.Text) })
	case engine.TypeTexts:
		return listOf(k, func(k kept) (engine.Text, bool) { return k.textOf(at) })
	case engine.TypeTextMap:
		pairs, ok := deref(k.Map)
		out := make([]engine.Entry, len(pairs))
		for i, p := range pairs {
			t, isText := p.Value.textOf(at)
			out[i], ok = engine.Entry{Key: p.Key, Value: t}, ok && isText
		}
		return out, ok
	}
	return nil, false
}

func deref[T any](p *T) (v T, ok bool) {
	if p == nil {
		return v, false
	}
	return *p, true
}

func (k kept) textOf(at engine.Ref) (engine.Text, bool) {
	if k.Secret {
		return engine.Hole(at, true), true
	}
	s, ok := deref(k.Text)
	return engine.Lit(s), ok
}

func listOf[T any](k kept, f func(kept) (T, bool)) ([]T, bool) {
	list, ok := deref(k.List)
	out := make([]T, len(list))
	for i, e := range list {
		v, isOne := f(e)
		out[i], ok = v, ok && isOne
	}
	return out, ok
}

func findAsks(*engine.Answers) []engine.Ask { return []engine.Ask{pve.NodeNameAsk(), ours()} }

// memories returns what the node remembers of steps of scripts, of all apps.
func memories(a *engine.Answers) ([]*memory, error) {
	return engine.Parsed(a, "kinds", func(a *engine.Answers) ([]*memory, error) {
		files, err := a.Glob(record.PrivGlob("*"))
		if err != nil {
			return nil, err
		}
		var out []*memory
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if !strings.HasPrefix(path.Base(name), prefix) {
				continue
			}
			m, err := parse(name, files[name])
			if err != nil {
				return nil, err
			}
			out = append(out, m)
		}
		return out, nil
	})
}

const notOurs = "tengil did not write it so; if you know that nothing is left of it, remove the file"

func parse(name string, data []byte) (*memory, error) {
	m := &memory{App: path.Base(path.Dir(name))}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, engine.WithHint(fmt.Errorf("%s: %w", name, err), notOurs)
	}
	if m.Format > record.Format {
		return nil, engine.WithHint(fmt.Errorf("%s has format %d; this tg knows up to %d", name, m.Format, record.Format), "a newer tg wrote it; update this one")
	}
	if m.Format < 1 || m.Step.Name() == "" || m.path() != name || m.Step.Kind() != m.Source.Kind || m.Digest != digestOf(m.Source) {
		return nil, engine.WithHint(fmt.Errorf("%s: wanted what tengil remembers of a step, got %.80q", name, data), notOurs)
	}
	return m, nil
}

// find tells what scripts have made on this node, without a recipe.
func find(a *engine.Answers) ([]engine.Found, error) {
	node, err := pve.NodeName(a)
	if errors.Is(err, engine.ErrNobody) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := memories(a)
	if err != nil {
		return nil, err
	}
	var found []engine.Found
	for _, m := range all {
		if m.Node != node {
			continue
		}
		found = append(found, engine.Found{
			App: m.App, Step: m.Step, What: m.Source.Kind + " " + m.Step.Name(), Order: order, Remove: m.remove,
		})
	}
	return found, nil
}

// remove runs the remove of the kind as it was when it made the step.
func (m memory) remove(ctx context.Context, h engine.Host, report func(string, int64, int64)) error {
	s, err := recipe.LoadScript(m.Source)
	if err != nil {
		return engine.WithHint(fmt.Errorf("the kind that made %s: %w", m.Step, err), "undo by hand what it did, then remove "+m.path())
	}
	args, err := m.args(s.Kind().Params)
	if err != nil {
		return engine.WithHint(err, "undo by hand what it did, then remove "+m.path())
	}
	if err := s.Remove(ctx, engine.ScriptCall{Name: m.Step.Name(), Args: args}, reporting{h, report}); err != nil {
		return err
	}
	return act.Do(ctx, h, "rm", "-f", m.path())
}
