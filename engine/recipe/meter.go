package recipe

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/metrics"

	"go.starlark.net/starlark"
)

// stepsPerCheck is how many steps pass between two looks at the clock of the
// context, the step limit and the heap.
const stepsPerCheck = 1 << 14

// stepSize is what a step of the graph may need in memory besides Limits.Memory;
// how many there are is limited by Limits.GraphSteps. The garbage of making one is
// in it, so that a large graph does not force one collection after another.
const stepSize = 4 << 10

// elementSize is what a list needs for each element, in bytes.
const elementSize = 16

// A meter measures what an evaluation uses. Go has no bound on the memory of one
// goroutine, so there are two measures: operations that can make much out of
// little in one step (repetition, formatting, copies) are charged with what they
// make, which is exact and repeatable; and all else, which grows by a few bytes
// each step, is caught by a look at the heap now and then.
type meter struct {
	Limits
	cancelled func() error
	steps     uint64 // of checks passed and of threads that ended
	charged   int64  // bytes made by charged operations
	heap      uint64 // in use at the beginning
	made      uint64 // steps of the graph so far
	stopped   error  // why the thread was cancelled, if it was
}

func newMeter(l Limits, cancelled func() error) *meter {
	return &meter{Limits: l, cancelled: cancelled, heap: heapInUse()}
}

// attach makes the meter count the steps of t.
func (m *meter) attach(t *starlark.Thread) {
	last := uint64(0)
	t.OnMaxSteps = func(t *starlark.Thread) {
		m.steps += t.Steps - last
		last = t.Steps
		if m.stopped = m.check(); m.stopped != nil {
			t.Cancel(m.stopped.Error())
			return
		}
		t.SetMaxExecutionSteps(t.Steps + m.untilCheck())
	}
	t.SetMaxExecutionSteps(m.untilCheck())
}

// untilCheck is how many steps may pass before the next check.
func (m *meter) untilCheck() uint64 {
	if left := m.Steps - min(m.steps, m.Steps); left < stepsPerCheck {
		return left + 1
	}
	return stepsPerCheck
}

// detach adds the steps since the last check.
func (m *meter) detach(t *starlark.Thread) { m.steps += t.Steps % stepsPerCheck }

func (m *meter) check() error {
	if err := m.cancelled(); err != nil {
		return err
	}
	if m.steps > m.Steps {
		return fmt.Errorf("the recipe takes more than %d steps; is there a loop that does not end?", m.Steps)
	}
	max := uint64(m.Memory) + m.made*stepSize
	if m.heapGrowth() > max {
		runtime.GC() // most of it may be garbage
		if m.heapGrowth() > max {
			return m.tooMuchMemory()
		}
	}
	return nil
}

func (m *meter) tooMuchMemory() error {
	return fmt.Errorf("the recipe takes more than %s of memory", m.Memory)
}

// pause lets f run without counting what others do to the heap meanwhile.
func (m *meter) pause(f func()) {
	grown := m.heapGrowth()
	f()
	now := heapInUse()
	m.heap = now - min(grown, now)
}

func (m *meter) heapGrowth() uint64 {
	now := heapInUse()
	return now - min(now, m.heap)
}

func heapInUse() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// charge counts n bytes that one operation is about to make, or has made.
func (m *meter) charge(n int64) error {
	if n < 0 || n > int64(m.Memory) {
		return m.tooMuchMemory()
	}
	if m.charged += n; m.charged > int64(m.Memory) {
		return m.tooMuchMemory()
	}
	return nil
}

// checkString refuses a string of n bytes if that is too long, and charges it.
func (m *meter) checkString(n int64) error {
	if n < 0 || n > int64(m.String) {
		return fmt.Errorf("a string would be longer than %s", m.String)
	}
	return m.charge(n)
}

// result charges a value that an operation made, by its own size without that
// of its elements.
func (m *meter) result(v starlark.Value) error {
	switch v := v.(type) {
	case starlark.String:
		return m.checkString(int64(len(v)))
	case starlark.Bytes:
		return m.checkString(int64(len(v)))
	case *starlark.Dict, *starlark.Set:
		return m.charge(int64(starlark.Len(v)) * 4 * elementSize)
	case starlark.Int:
		return m.charge(int64(v.BigInt().BitLen() / 8))
	case *starlark.List:
		return m.elements(int64(v.Len()))
	case starlark.Tuple:
		return m.elements(int64(len(v)))
	case starlark.Sequence:
		return m.checkLen(int64(v.Len())) // a range, whose elements are made one by one
	}
	return nil
}

// elements charges a list of n elements.
func (m *meter) elements(n int64) error {
	if err := m.checkLen(n); err != nil {
		return err
	}
	return m.charge(n * elementSize)
}

// checkLen refuses sequences of which a single call, such as enumerate, could
// make more than there is memory for.
func (m *meter) checkLen(n int64) error {
	if n < 0 || n > int64(m.Memory)/(4*elementSize) {
		return m.tooMuchMemory()
	}
	return nil
}

// errTooBig says that a value is too large, or shares parts so often that
// printing or comparing it would not end.
var errTooBig = errors.New("the value is too big for this")

// weigh returns the approximate length of v as text. Parts that are shared count
// as often as they appear, as they do in print and compare; what weighs more than
// the limit of memory is errTooBig.
func (m *meter) weigh(v starlark.Value) (int64, error) {
	w := weight{left: int64(m.Memory) / elementSize}
	limit := w.left
	if err := visit(v, w.add); err != nil {
		return 0, err
	}
	return limit - w.left, nil
}

type weight struct{ left int64 }

func (w *weight) add(v starlark.Value) error {
	w.left -= 8
	switch v := v.(type) {
	case starlark.String:
		w.left -= int64(len(v))
	case starlark.Bytes:
		w.left -= int64(len(v))
	case starlark.Int:
		w.left -= int64(v.BigInt().BitLen() / 3)
	case *unknown:
		w.left -= v.size
	}
	if w.left < 0 {
		return errTooBig
	}
	return nil
}

// maxDepth bounds walks through nested values; a list can even hold itself.
const maxDepth = 200

// visit calls f for v and everything in it. It stops at the first error.
func visit(v starlark.Value, f func(starlark.Value) error) error { return visitDepth(v, f, 0) }

func visitDepth(v starlark.Value, f func(starlark.Value) error, depth int) error {
	if depth > maxDepth {
		return errTooBig
	}
	if err := f(v); err != nil {
		return err
	}
	for part := range parts(v) {
		if err := visitDepth(part, f, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// product returns a*b, or a number above every limit if that overflows.
func product(a, b int64) int64 {
	if a > 0 && b > (1<<62)/a {
		return 1 << 62
	}
	return a * b
}
