package recipe

import (
	"go.starlark.net/starlark"

	"github.com/tengil/tengil/engine"
)

// scriptArgs returns the arguments of a call as the functions of a kind see them: a
// frozen struct. What is known and not secret is a plain string; the rest is
// opaque, as it is in a recipe.
func (ev *evaluation) scriptArgs(params []engine.Param, c engine.ScriptCall) starlark.Value {
	in := c.In
	if in.Value == nil {
		in = notYet()
	}
	fields := map[string]starlark.Value{}
	for _, p := range params {
		if p.Name == scriptAfter || p.Name == scriptAdopt {
			continue
		}
		fields[p.Name] = ev.scriptArg(c.Args.Values[p.Name], in)
	}
	fields[scriptName] = starlark.String(c.Name)
	v := record(fields)
	v.Freeze()
	return v
}

func (ev *evaluation) scriptArg(v any, in engine.Inputs) starlark.Value {
	switch v := v.(type) {
	case string:
		return starlark.String(v)
	case int64:
		return starlark.MakeInt64(v)
	case bool:
		return starlark.Bool(v)
	case engine.Size:
		return bytesOf(v)
	case interface{ Seconds() float64 }: // time.Duration
		return starlark.MakeInt64(int64(v.Seconds()))
	case engine.Text:
		return ev.scriptText(v, in)
	case []string:
		return listOf(v, text)
	case []engine.Text:
		return listOf(v, func(t engine.Text) starlark.Value { return ev.scriptText(t, in) })
	case []engine.Entry:
		d := starlark.NewDict(len(v))
		for _, e := range v {
			t, _ := e.Value.(engine.Text)
			_ = d.SetKey(text(e.Key), ev.scriptText(t, in)) // a string key of an unfrozen dict cannot fail
		}
		return d
	}
	return starlark.None
}

func (ev *evaluation) scriptText(t engine.Text, in engine.Inputs) starlark.Value {
	if v := t.Fill(in); v.IsKnown() && !v.IsSecret() {
		return starlark.String(v.Reveal())
	}
	return ev.unknown(t, holeSize)
}

// secretsOf returns the secrets among the arguments that are known, and long enough
// that no ordinary text is taken for one.
func secretsOf(c engine.ScriptCall) []string {
	var out []string
	add := func(v any) {
		t, ok := v.(engine.Text)
		if !ok || c.In.Value == nil || !t.Secret() {
			return
		}
		for _, r := range t.Refs() {
			if v := c.In.Value(r); v.IsSecret() && len(v.Reveal()) >= 4 {
				out = append(out, v.Reveal())
			}
		}
	}
	for _, v := range c.Args.Values {
		switch v := v.(type) {
		case engine.Text:
			add(v)
		case []engine.Text:
			for _, t := range v {
				add(t)
			}
		case []engine.Entry:
			for _, e := range v {
				add(e.Value)
			}
		}
	}
	return out
}
