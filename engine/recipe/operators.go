package recipe

import (
	"errors"
	"fmt"
	"slices"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/tengil/tengil/engine"
)

// operators returns the functions that rewrite puts in place of operators.
func (ev *evaluation) operators() starlark.StringDict {
	names := starlark.StringDict{}
	define := func(op string, f func(args starlark.Tuple) (starlark.Value, error)) {
		name := operatorName(op)
		names[name] = starlark.NewBuiltin(name, func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
			return f(args)
		})
	}
	for _, op := range arithmetic() {
		define(op.String(), func(a starlark.Tuple) (starlark.Value, error) { return ev.binary(op, a[0], a[1]) })
		define(op.String()+"=", func(a starlark.Tuple) (starlark.Value, error) { return ev.inPlace(op, a[0], a[1]) })
	}
	for _, op := range []syntax.Token{syntax.EQL, syntax.NEQ, syntax.LT, syntax.GT, syntax.LE, syntax.GE} {
		define(op.String(), func(a starlark.Tuple) (starlark.Value, error) { return ev.compare(op, a[0], a[1]) })
	}
	for _, op := range []syntax.Token{syntax.IN, syntax.NOT_IN} {
		define(op.String(), func(a starlark.Tuple) (starlark.Value, error) { return ev.contains(op, a[0], a[1]) })
	}
	define(opTest, func(a starlark.Tuple) (starlark.Value, error) { return a[0], condition(a[0]) })
	define(opAttr, func(a starlark.Tuple) (starlark.Value, error) { return ev.attr(a[0], string(a[1].(starlark.String))) })
	define(opKey, func(a starlark.Tuple) (starlark.Value, error) { return a[0], ev.checkKey(a[0]) })
	define(opMade, func(a starlark.Tuple) (starlark.Value, error) { return a[0], ev.meter.result(a[0]) })
	define(opSpread, func(a starlark.Tuple) (starlark.Value, error) {
		return a[0], ev.meter.elements(int64(max(starlark.Len(a[0]), 0)))
	})
	define(opSetItem, func(a starlark.Tuple) (starlark.Value, error) {
		return starlark.None, ev.setItem(string(a[0].(starlark.String)), a[1], a[2], a[3])
	})
	return names
}

// arithmetic are the operators that starlark.Binary takes and that make a value.
func arithmetic() []syntax.Token {
	return []syntax.Token{
		syntax.PLUS, syntax.MINUS, syntax.STAR, syntax.SLASH, syntax.SLASHSLASH, syntax.PERCENT,
		syntax.AMP, syntax.PIPE, syntax.CIRCUMFLEX, syntax.LTLT, syntax.GTGT,
	}
}

// condition refuses to branch on an unknown.
func condition(v starlark.Value) error {
	if u, ok := v.(*unknown); ok {
		return u.errorf("be branched on; to see whether a value was passed, compare it with None")
	}
	if a, ok := v.(*answer); ok {
		return fmt.Errorf("an answer of the node is neither true nor false; look at %s", quotedList(a.AttrNames()))
	}
	return nil
}

// checkKey refuses keys that would take forever to hash.
func (ev *evaluation) checkKey(v starlark.Value) error {
	if _, ok := v.(starlark.Tuple); !ok {
		return nil
	}
	_, err := ev.meter.weigh(v)
	return err
}

// binary does x op y.
func (ev *evaluation) binary(op syntax.Token, x, y starlark.Value) (starlark.Value, error) {
	if op == syntax.PLUS && (isUnknown(x) || isUnknown(y)) {
		return ev.join(x, y)
	}
	if err := ev.foresee(op, x, y); err != nil {
		return nil, err
	}
	v, err := starlark.Binary(op, x, y)
	if err != nil {
		return nil, err
	}
	if err := ev.meter.result(v); err != nil {
		return nil, err
	}
	return ev.settle(v)
}

func isUnknown(v starlark.Value) bool { _, ok := v.(*unknown); return ok }

// foresee refuses operations whose result would be too big to make.
func (ev *evaluation) foresee(op syntax.Token, x, y starlark.Value) error {
	switch op {
	case syntax.PLUS:
		if a, b := starlark.Len(x), starlark.Len(y); a >= 0 && b >= 0 {
			return ev.foreseeLen(x, int64(a)+int64(b))
		}
	case syntax.STAR:
		if n, ok := x.(starlark.Int); ok {
			if m, ok := y.(starlark.Int); ok {
				return foreseeBits(n.BigInt().BitLen() + m.BigInt().BitLen())
			}
			return ev.foreseeRepeat(y, n)
		}
		if n, ok := y.(starlark.Int); ok {
			return ev.foreseeRepeat(x, n)
		}
	case syntax.LTLT:
		if n, ok := x.(starlark.Int); ok {
			return foreseeBits(n.BigInt().BitLen() + 512) // Starlark shifts by less than that
		}
	case syntax.PERCENT:
		if format, ok := x.(starlark.String); ok {
			return ev.foreseeFormat(string(format), "%", y)
		}
	}
	return nil
}

// foreseeLen refuses to make a string or a list as long as n, of the kind of like.
func (ev *evaluation) foreseeLen(like starlark.Value, n int64) error {
	switch like.(type) {
	case starlark.String, starlark.Bytes:
		if n > int64(ev.meter.String) {
			return ev.meter.checkString(n)
		}
	default:
		return ev.meter.checkLen(n)
	}
	return nil
}

func (ev *evaluation) foreseeRepeat(v starlark.Value, times starlark.Int) error {
	length := starlark.Len(v)
	n, ok := times.Int64()
	if length <= 0 || ok && n <= 0 || !ok && times.Sign() < 0 {
		return nil
	}
	if !ok {
		n = 1 << 62
	}
	return ev.foreseeLen(v, product(int64(length), n))
}

// maxBits bounds integers.
const maxBits = 1 << 16

func foreseeBits(n int) error {
	if n > maxBits {
		return fmt.Errorf("a number would have more than %d bits", maxBits)
	}
	return nil
}

// inPlace does x op= y: lists and dicts grow in place, all else is x = x op y.
func (ev *evaluation) inPlace(op syntax.Token, x, y starlark.Value) (starlark.Value, error) {
	method := ""
	switch x.(type) {
	case *starlark.List:
		if _, ok := y.(starlark.Iterable); ok && op == syntax.PLUS {
			method = "extend"
		}
	case *starlark.Dict:
		if _, ok := y.(*starlark.Dict); ok && op == syntax.PIPE {
			method = "update"
		}
	}
	if method == "" {
		return ev.binary(op, x, y)
	}
	m, err := ev.attr(x, method)
	if err != nil {
		return nil, err
	}
	_, err = m.(*starlark.Builtin).CallInternal(nil, starlark.Tuple{y}, nil)
	return x, err
}

// setItem does x[k] op= y.
func (ev *evaluation) setItem(opName string, x, k, y starlark.Value) error {
	ops := arithmetic()
	op := ops[slices.IndexFunc(ops, func(t syntax.Token) bool { return t.String() == opName })]
	switch x := x.(type) {
	case *starlark.Dict:
		old, found, err := x.Get(k)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("key %v not in dict", k)
		}
		v, err := ev.inPlace(op, old, y)
		if err != nil {
			return err
		}
		return x.SetKey(k, v)
	case *starlark.List:
		var i int
		if err := starlark.AsInt(k, &i); err != nil {
			return fmt.Errorf("list index: %w", err)
		}
		if i < 0 {
			i += x.Len()
		}
		if i < 0 || i >= x.Len() {
			return fmt.Errorf("list index %v out of range: the list has %d elements", k, x.Len())
		}
		v, err := ev.inPlace(op, x.Index(i), y)
		if err != nil {
			return err
		}
		return x.SetIndex(i, v)
	}
	return fmt.Errorf("%s value does not support item assignment", x.Type())
}

// compare does x op y. That a value is None or not is always known.
func (ev *evaluation) compare(op syntax.Token, x, y starlark.Value) (starlark.Value, error) {
	if x != starlark.None && y != starlark.None {
		for _, v := range []starlark.Value{x, y} {
			if err := ev.known(v, "be compared"); err != nil {
				return nil, err
			}
		}
	}
	b, err := starlark.Compare(op, x, y)
	return starlark.Bool(b), err
}

// contains does x in y and x not in y.
func (ev *evaluation) contains(op syntax.Token, x, y starlark.Value) (starlark.Value, error) {
	if err := ev.known(x, "be looked for"); err != nil {
		return nil, err
	}
	switch y.(type) {
	case *starlark.Dict, *starlark.Set: // keys are known
	default:
		if err := ev.known(y, "be searched"); err != nil {
			return nil, err
		}
	}
	return starlark.Binary(op, x, y)
}

// attr does x.name.
func (ev *evaluation) attr(x starlark.Value, name string) (starlark.Value, error) {
	switch x := x.(type) {
	case *unknown:
		return nil, x.errorf(fmt.Sprintf("be asked for .%s", name))
	case *step:
		return x.Attr(name)
	case starlark.String, starlark.Bytes, *starlark.List, *starlark.Dict, *starlark.Set:
		return ev.method(x.(starlark.HasAttrs), name)
	case starlark.HasAttrs:
		return fieldOf(x, name)
	}
	return nil, fmt.Errorf("%s has no .%s field or method", x.Type(), name)
}

func fieldOf(x starlark.HasAttrs, name string) (starlark.Value, error) {
	v, err := x.Attr(name)
	var missing starlark.NoSuchAttrError
	if err == nil && v == nil || errors.As(err, &missing) {
		return nil, fmt.Errorf("%s has no .%s%s", x.Type(), name, engine.DidYouMean(name, x.AttrNames()))
	}
	return v, err
}
