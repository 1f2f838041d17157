package lab

import (
	"cmp"
	"encoding/json"
	"iter"
	"maps"
	"slices"
)

// A table is a part of a node's state: entries by key. It knows which of them have
// changed since that was last asked, so that a change of one costs nothing for the
// others. The zero value is empty. The node's mu guards it.
type table[K cmp.Ordered, V any] struct {
	entries map[K]V
	changed map[K]bool
}

// A patch holds entries that have changed; nil stands for one that is gone.
type patch[K cmp.Ordered, V any] map[K]*V

// get returns an entry, the zero value if there is none. What a pointer leads to
// is only to be read; see edit.
func (t *table[K, V]) get(k K) V { return t.entries[k] }

func (t *table[K, V]) has(k K) bool {
	_, ok := t.entries[k]
	return ok
}

func (t *table[K, V]) all() iter.Seq2[K, V] { return maps.All(t.entries) }

// keys returns the keys in order.
func (t *table[K, V]) keys() []K { return slices.Sorted(maps.Keys(t.entries)) }

func (t *table[K, V]) put(k K, v V) {
	if t.entries == nil {
		t.entries = map[K]V{}
	}
	t.entries[k] = v
	t.note(k)
}

func (t *table[K, V]) drop(k K) {
	if t.has(k) {
		delete(t.entries, k)
		t.note(k)
	}
}

// edit returns an entry to change what it points at.
func (t *table[K, V]) edit(k K) V {
	t.note(k)
	return t.entries[k]
}

func (t *table[K, V]) clear() {
	for k := range t.entries {
		t.drop(k)
	}
}

func (t *table[K, V]) note(k K) {
	if t.changed == nil {
		t.changed = map[K]bool{}
	}
	t.changed[k] = true
}

// changes returns what has changed since it was last called.
func (t *table[K, V]) changes() patch[K, V] {
	if len(t.changed) == 0 {
		return nil
	}
	p := make(patch[K, V], len(t.changed))
	for k := range t.changed {
		p[k] = nil
		if v, ok := t.entries[k]; ok {
			p[k] = &v
		}
	}
	clear(t.changed)
	return p
}

// apply makes the changes of a patch.
func (t *table[K, V]) apply(p patch[K, V]) {
	for k, v := range p {
		if v == nil {
			t.drop(k)
		} else {
			t.put(k, *v)
		}
	}
}

// MarshalJSON writes an object with the entries.
func (t *table[K, V]) MarshalJSON() ([]byte, error) {
	if t.entries == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(t.entries)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *table[K, V]) UnmarshalJSON(data []byte) error {
	t.changed = nil
	return json.Unmarshal(data, &t.entries)
}
