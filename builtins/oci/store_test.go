package oci

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tengil/tengil/engine/pve"
)

// sized are blobs of these sizes; a number names a blob.
func sized(sizes map[int]int64) []pve.Descriptor {
	var out []pve.Descriptor
	for n, size := range sizes {
		out = append(out, pve.Descriptor{Digest: fmt.Sprintf("sha256:%064d", n), Size: size})
	}
	return out
}

func TestPullsThatShareMostHaveALockInCommon(t *testing.T) {
	for _, tt := range []struct {
		name string
		a, b map[int]int64
		want bool
	}{
		{"all", map[int]int64{1: 10, 2: 90}, map[int]int64{1: 10, 2: 90}, true},
		{"one large layer", map[int]int64{1: 900, 2: 100}, map[int]int64{1: 900, 3: 100}, true},
		{"nine layers of ten", map[int]int64{1: 9, 2: 9, 3: 9, 4: 9, 5: 9, 6: 9, 7: 9, 8: 9, 9: 9, 10: 9}, map[int]int64{1: 9, 2: 9, 3: 9, 4: 9, 5: 9, 6: 9, 7: 9, 8: 9, 9: 9, 11: 9}, true},
		{"a small base", map[int]int64{1: 30, 2: 500}, map[int]int64{1: 30, 3: 400}, false},
		{"nothing", map[int]int64{1: 30}, map[int]int64{2: 30}, false},
	} {
		a, b := locks(sized(tt.a)), locks(sized(tt.b))
		if got := slices.ContainsFunc(a, func(s string) bool { return s != "flock" && slices.Contains(b, s) }); got != tt.want {
			t.Errorf("%s: in common: %v, want %v: %q and %q", tt.name, got, tt.want, a, b)
		}
		for _, argv := range [][]string{a, b} {
			var files []string
			for i := 0; i < len(argv); i += 2 {
				files = append(files, argv[i+1])
			}
			if argv[0] != "flock" || !slices.IsSorted(files) { // else two could wait for each other
				t.Errorf("%s: locks are %q, want them in order", tt.name, argv)
			}
		}
	}
}

func TestALockForEachOfManyBlobsIsTooMuch(t *testing.T) {
	many := map[int]int64{}
	for n := range 500 {
		many[n] = 1000
	}
	if n := len(locks(sized(many))) / 2; n != maxLocks {
		t.Errorf("%d locks, want %d", n, maxLocks)
	}
}
