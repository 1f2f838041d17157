package exec

import (
	"testing"

	"github.com/tengil/tengil/engine"
)

func TestReadyKeepsPlanOrderAmongClassesWithRoom(t *testing.T) {
	q := ready{}
	for _, j := range []*job{{place: 3, class: engine.Unpack}, {place: 1, class: engine.Start}, {place: 0, class: engine.Unpack}, {place: 2}} {
		q.add(j)
	}
	full := engine.Unpack
	room := func(c engine.Class) bool { return c != full }
	var got []int
	for j := q.next(room); j != nil; j = q.next(room) {
		got = append(got, j.place)
		if j.place == 2 {
			full = engine.Start // now there is room for unpacking
		}
	}
	if want := []int{1, 2, 0, 3}; len(got) != 4 || [4]int(got) != [4]int(want) {
		t.Errorf("order is %v, want %v", got, want)
	}
}
