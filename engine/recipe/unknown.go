package recipe

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/tengil/tengil/engine"
)

// An unknown is a string of a recipe that holds the output of a step, such as
// db.address, which nothing but the running step can tell. It concatenates and
// formats to further unknowns; everything that would need to look at its text is
// an error.
//
// Formatting ("%s" % x, "{}".format(x), str(x), json.encode(x)) is done by
// Starlark's own code, which asks a value for its String. For that, String
// returns a marker, and whoever called the formatting operation turns the markers
// in its result back into an unknown (settle) before the recipe can see it. So no
// string in a recipe ever holds a marker.
type unknown struct {
	text   engine.Text
	size   int64 // roughly the length of text
	marker string
}

// Markers are a number between two characters of Unicode's private use area,
// which strings of a recipe may not bring to a step.
const (
	markerBegin = "\ue000"
	markerEnd   = "\ue001"
)

// markerPattern matches what unknown.String returns.
var markerPattern = regexp.MustCompile(markerBegin + "([0-9]{1,9})" + markerEnd)

// unknown returns t, of about that size, as a value of the recipe: a plain string
// if it has no holes.
func (ev *evaluation) unknown(t engine.Text, size int64) starlark.Value {
	if s, ok := t.Literal(); ok {
		return starlark.String(s)
	}
	u := &unknown{text: t, size: size, marker: markerBegin + strconv.Itoa(len(ev.unknowns)) + markerEnd}
	ev.unknowns = append(ev.unknowns, u)
	return u
}

// hole returns the output r as a value of the recipe.
func (ev *evaluation) hole(r engine.Ref, secret bool) starlark.Value {
	return ev.unknown(engine.Hole(r, secret), holeSize)
}

// holeSize is what a hole counts for in the length of a text.
const holeSize = 64

func (u *unknown) String() string       { return u.marker }
func (u *unknown) Type() string         { return "unknown string" }
func (u *unknown) Freeze()              {}
func (u *unknown) Truth() starlark.Bool { return true } // conditions are checked before, see operators.go

// Hash implements starlark.Value: an unknown cannot be a key.
func (u *unknown) Hash() (uint32, error) {
	return 0, u.errorf("be a key of a dict or an element of a set")
}

// MarshalJSON implements json.Marshaler for json.encode.
func (u *unknown) MarshalJSON() ([]byte, error) { return []byte(`"` + u.marker + `"`), nil }

// CompareSameType implements starlark.Comparable: it always fails.
func (u *unknown) CompareSameType(syntax.Token, starlark.Value, int) (bool, error) {
	return false, u.errorf("be compared")
}

// errorf explains why something cannot be done with u.
func (u *unknown) errorf(what string) error {
	ref := u.text.Refs()[0]
	if ref.Node.Step().Kind() == missingKind {
		return fmt.Errorf("option %q has no value yet, so it cannot %s", ref.Node.Step().Name(), what)
	}
	return fmt.Errorf("%s is known only when %s is done, long after the recipe is read, so it cannot %s", ref, ref.Node, what)
}

// missingKind is the kind of the step that stands for an option without a value.
const missingKind = "option"

// missingText stands for the value of an option until the caller asked for it.
func missingText(name string) engine.Text {
	return engine.Hole(engine.Ref{Node: engine.NodeID(missingKind + "/" + name), Output: "value"}, false)
}

// findUnknown returns an unknown in v, or nil if there is none. What is too big to
// look through is an error.
func (ev *evaluation) findUnknown(v starlark.Value) (*unknown, error) {
	var found *unknown
	w := weight{left: int64(ev.meter.Memory) / elementSize}
	err := visit(v, func(v starlark.Value) error {
		if u, ok := v.(*unknown); ok {
			found = u
			return errFound
		}
		return w.add(v)
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return found, err
}

var errFound = errors.New("found")

// known returns an error if v is or holds an unknown.
func (ev *evaluation) known(v starlark.Value, what string) error {
	u, err := ev.findUnknown(v)
	if err == nil && u != nil {
		err = u.errorf(what)
	}
	return err
}

// settle turns a string with markers into an unknown.
func (ev *evaluation) settle(v starlark.Value) (starlark.Value, error) {
	s, ok := v.(starlark.String)
	if !ok || !strings.Contains(string(s), markerBegin) {
		return v, nil
	}
	t, size := ev.unmark(string(s))
	if err := ev.meter.checkString(size); err != nil {
		return nil, err
	}
	return ev.unknown(t, size), nil
}

// unmark returns s with the texts of unknowns in place of their markers, and its size.
func (ev *evaluation) unmark(s string) (t engine.Text, size int64) {
	size = int64(len(s))
	for {
		m := markerPattern.FindStringSubmatchIndex(s)
		if m == nil {
			return t.Append(engine.Lit(s)), size
		}
		t = t.Append(engine.Lit(s[:m[0]]))
		if n, err := strconv.Atoi(s[m[2]:m[3]]); err == nil && n < len(ev.unknowns) {
			t = t.Append(ev.unknowns[n].text)
			size += ev.unknowns[n].size
		}
		s = s[m[1]:]
	}
}

// show returns s for people: names in place of markers.
func (ev *evaluation) show(s string) string {
	if !strings.Contains(s, markerBegin) {
		return s
	}
	t, _ := ev.unmark(s)
	return t.String()
}

// textOf returns the Text of a string or an unknown, and its size.
func textOf(v starlark.Value) (t engine.Text, size int64, ok bool) {
	switch v := v.(type) {
	case starlark.String:
		return engine.Lit(string(v)), int64(len(v)), true
	case *unknown:
		return v.text, v.size, true
	}
	return engine.Text{}, 0, false
}

// join returns x + y if one of them is an unknown and the other a string or an
// unknown, too.
func (ev *evaluation) join(x, y starlark.Value) (starlark.Value, error) {
	a, n, okA := textOf(x)
	b, m, okB := textOf(y)
	if !okA || !okB {
		return nil, fmt.Errorf("unknown binary op: %s + %s; str() makes a string of a value", x.Type(), y.Type())
	}
	if err := ev.meter.checkString(n + m); err != nil {
		return nil, err
	}
	return ev.unknown(a.Append(b), n+m), nil
}
