package engine_test

import (
	"bytes"
	"testing"

	"github.com/tengil/tengil/engine"
)

func TestSeal(t *testing.T) {
	key, other := engine.NewSealKey(), engine.NewSealKey()
	if len(key) < 32 || bytes.Equal(key, other) {
		t.Fatalf("keys are %d bytes, or equal", len(key))
	}
	for _, k := range [][]byte{key, nil} {
		seal := engine.Seal(k, "a", "bc")
		if seal != engine.Seal(k, "a", "bc") {
			t.Errorf("key %v: the same values have two seals", k)
		}
		for name, s := range map[string]string{
			"other values": engine.Seal(k, "a", "bd"), "cut elsewhere": engine.Seal(k, "ab", "c"),
			"one more": engine.Seal(k, "a", "bc", ""), "with another key": engine.Seal(other, "a", "bc"),
		} {
			if s == seal {
				t.Errorf("key %v: the seal %s is the same", k, name)
			}
		}
	}
	if !engine.Lasts(engine.Seal(key, "a")) || engine.Lasts(engine.Seal(nil, "a")) {
		t.Error("a seal lasts if and only if it has a key")
	}
}
