package engine

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// Masked is what stands for a secret wherever a person or a program reads it.
const Masked = "***"

// A Secret is a string that never shows: %v, %q, slog and JSON print Masked.
type Secret string

// String returns Masked.
func (Secret) String() string { return Masked }

// GoString returns Masked.
func (Secret) GoString() string { return Masked }

// Format prints Masked for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Masked)) }

// LogValue returns Masked.
func (Secret) LogValue() slog.Value { return slog.StringValue(Masked) }

// MarshalJSON returns Masked as a JSON string.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + Masked + `"`), nil }

// Reveal returns the text itself; call it only on the way to the place that needs it.
func (s Secret) Reveal() string { return string(s) }

// A Ref is the promise of another node's output. Passing one is what makes an
// edge; a recipe never spells out an order that its data already implies.
type Ref struct {
	Node   NodeID
	Output string
}

// String returns "db.address" for output address of pct_create/db#start.
func (r Ref) String() string { return r.Node.Step().Name() + "." + r.Output }

// A Value is a string that may not be known yet, or may be secret. The zero
// Value is a known empty string.
type Value struct {
	text    string
	unknown string // why it is unknown; "" when known
	secret  bool
}

// Known returns a known Value.
func Known(s string) Value { return Value{text: s} }

// Unknown returns a Value that becomes known later; when says when: "after start".
func Unknown(when string) Value {
	if when == "" {
		when = "later"
	}
	return Value{unknown: when}
}

// Sensitive returns v marked secret: String masks it.
func (v Value) Sensitive() Value { v.secret = true; return v }

// IsKnown reports whether the text is known.
func (v Value) IsKnown() bool { return v.unknown == "" }

// IsSecret reports whether the text must not be shown.
func (v Value) IsSecret() bool { return v.secret }

// When says when an unknown value becomes known; "" for a known one.
func (v Value) When() string { return v.unknown }

// Reveal returns the text itself, secret or not; "" when unknown.
func (v Value) Reveal() string { return v.text }

// String returns the text for people: masked when secret, "(known after start)" when unknown.
func (v Value) String() string {
	switch {
	case v.secret:
		return Masked
	case v.unknown != "":
		return "(known " + v.unknown + ")"
	}
	return v.text
}

// GoString returns String, quoted.
func (v Value) GoString() string { return fmt.Sprintf("%q", v.String()) }

// LogValue returns String.
func (v Value) LogValue() slog.Value { return slog.StringValue(v.String()) }

// MarshalJSON returns String as a JSON string.
func (v Value) MarshalJSON() ([]byte, error) { return json.Marshal(v.String()) }

// A Text is a string of a recipe with holes that other nodes' outputs fill. The
// zero Text is "". Texts are immutable.
type Text struct{ pieces []piece }

type piece struct {
	lit    string
	ref    Ref // used when not the zero Ref
	secret bool
}

// Lit returns a Text without holes.
func Lit(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{[]piece{{lit: s}}}
}

// Hole returns a Text that is nothing but the output r names.
func Hole(r Ref, secret bool) Text { return Text{[]piece{{ref: r, secret: secret}}} }

// Append returns t followed by u.
func (t Text) Append(u Text) Text { return Text{slices.Concat(t.pieces, u.pieces)} }

// Literal returns the string and true when t has no holes.
func (t Text) Literal() (string, bool) {
	var b strings.Builder
	for _, p := range t.pieces {
		if p.ref != (Ref{}) {
			return "", false
		}
		b.WriteString(p.lit)
	}
	return b.String(), true
}

// Refs lists the outputs that t uses, in order of appearance.
func (t Text) Refs() []Ref {
	var refs []Ref
	for _, p := range t.pieces {
		if p.ref != (Ref{}) {
			refs = append(refs, p.ref)
		}
	}
	return refs
}

// Secret reports whether a hole of t is secret.
func (t Text) Secret() bool {
	return slices.ContainsFunc(t.pieces, func(p piece) bool { return p.secret })
}

// Fill puts the values of in into the holes. The result is unknown if one hole
// is, and secret if one hole is.
func (t Text) Fill(in Inputs) Value {
	var b strings.Builder
	var v Value
	for _, p := range t.pieces {
		if p.ref == (Ref{}) {
			b.WriteString(p.lit)
			continue
		}
		w := in.Value(p.ref)
		v.secret = v.secret || p.secret || w.secret
		if !w.IsKnown() && v.unknown == "" {
			v.unknown = w.unknown
		}
		b.WriteString(w.text)
	}
	if v.unknown == "" {
		v.text = b.String()
	}
	return v
}

// String shows the holes by name: "http://<server.address>:2283"; secret holes are masked.
func (t Text) String() string {
	var b strings.Builder
	for _, p := range t.pieces {
		switch {
		case p.ref == (Ref{}):
			b.WriteString(p.lit)
		case p.secret:
			b.WriteString(Masked)
		default:
			b.WriteString("<" + p.ref.String() + ">")
		}
	}
	return b.String()
}
