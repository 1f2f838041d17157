package recipes_test

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/lab/labtest"
)

// powerCuts has the node's power go at commands that change it, one in so many.
func (s stage) powerCuts(t *testing.T, release, begin string, want map[string]string, commands []command, total *tally) {
	every := 7
	switch {
	case os.Getenv("EXHAUSTIVE") == "1":
		every = 1
	case labtest.Raced:
		every = 200
	case testing.Short():
		every = 60
	}
	commands = slices.DeleteFunc(slices.Clone(commands), func(c command) bool { return c.readOnly })
	for i := 0; i < len(commands); i += every {
		c := commands[i]
		total.add(release+" "+s.name+": the power goes", 1)
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			r := s.open(t, release, begin)
			m := newTG(t.Context(), r.host)
			dark := make(chan error, 1)
			f := c.fault(lab.Before, lab.Hang)
			f.Then = func([]string) {
				m.kill()
				go func() { dark <- r.lab.PowerCut() }() // it waits for the program that hangs
			}
			r.lab.Fault(f)
			first := s.do(r, m)
			m.kill()
			if r.lab.Pending() != 0 {
				t.Fatalf("the fault did not fire; the run ended with %v", first)
			}
			if err := <-dark; err != nil {
				t.Fatal(err)
			}
			r.next()
			s.arrive(t, r, want, first)
		})
	}
}

// seed is that of the double faults: TENGIL_SEED where it is set.
func seed(t *testing.T) uint64 {
	text := os.Getenv("TENGIL_SEED")
	if text == "" {
		return 4
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("TENGIL_SEED is %q; wanted a number", text)
	}
	return n
}

// doubles has two faults in one run, or one in it and another in the next.
func (s stage) doubles(t *testing.T, release, begin string, want map[string]string, commands []command, total *tally) {
	n := 40
	switch {
	case os.Getenv("EXHAUSTIVE") == "1":
		n = 400
	case labtest.Raced:
		n = 1
	case testing.Short():
		n = 4
	}
	h := fnv.New64()
	h.Write([]byte(release + s.name))
	rnd := rand.New(rand.NewPCG(seed(t), h.Sum64()))
	var set, fired atomic.Int64
	t.Cleanup(func() {
		t.Logf("TENGIL_SEED=%d: %d of %d faults fired", seed(t), fired.Load(), set.Load())
		if 4*fired.Load() < set.Load() && n > 3 {
			t.Error("three in four faults never fired: the test does not test what it should")
		}
	})
	for i := range n {
		a, b, both := anyBlow(rnd, commands), anyBlow(rnd, commands), rnd.IntN(2) == 0
		total.add(release+" "+s.name+": two faults", 1)
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			r := s.open(t, release, begin)
			runs := [][]hit{{a}, {b}}
			if both {
				runs = [][]hit{{a, b}}
			}
			var firsts []string
			for _, hits := range runs {
				m := newTG(t.Context(), r.host)
				for _, h := range hits {
					f := h.on(m)
					then := f.Then
					f.Then = func(argv []string) { fired.Add(1); then(argv) }
					set.Add(1)
					r.lab.Fault(f)
				}
				firsts = append(firsts, fmt.Sprintf("with %v: %v", hits, s.do(r, m)))
				m.kill()
				r.next()
				if a.do == lab.Hang || b.do == lab.Hang {
					r.stopUnits()
				}
			}
			s.arrive(t, r, want, errors.New(strings.Join(firsts, "\nthen ")))
		})
	}
}

// A hit is a blow at a command.
type hit struct {
	command
	blow
	when lab.When
}

func (h hit) String() string { return fmt.Sprintf("%s at %s (%d)", h.blow.name, h.command, h.when) }

// anyBlow draws one; half of them hit what changes the node.
func anyBlow(rnd *rand.Rand, commands []command) hit {
	changing := rnd.IntN(2) == 0
	for {
		c := commands[rnd.IntN(len(commands))]
		if changing && c.readOnly {
			continue
		}
		return hit{c, blows[rnd.IntN(len(blows))], whens[rnd.IntN(len(whens))].When}
	}
}

// arrive does the stage once more and looks whether the node is as it should be.
func (s stage) arrive(t *testing.T, r *rig, want map[string]string, first error) {
	t.Helper()
	if err := s.do(r, newTG(t.Context(), r.host)); err != nil {
		t.Fatalf("the next run: %v\nthe run with the fault: %v", err, first)
	}
	r.later()
	r.host.Close()
	if diff := cmp.Diff(want, r.end()); diff != "" {
		t.Errorf("another end (-whole +cut):\n%s\nthe run with the fault: %v", diff, first)
	}
	r.close()
}

// stopUnits stops what still runs, as a later tg does with a unit that stands still.
func (r *rig) stopUnits() {
	for line := range strings.Lines(r.out("systemctl", "list-units", "--plain", "--no-legend", "--full", "tengil-*")) {
		r.lab.Exec(r.t.Context(), []string{"systemctl", "stop", strings.Fields(line)[0]}, nil, nil, nil) // it may have ended
	}
}

// next is another tg: the connection of the last one is gone.
func (r *rig) next() {
	r.host.Close()
	r.gone()
	r.connect()
}
