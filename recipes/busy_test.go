package recipes_test

import (
	"strings"
	"testing"

	"github.com/tengil/tengil/engine/lab"
)

// A registry that is asked too often is asked again, also while a plan is made, but
// neither for ever nor when it wants to be left alone for long.
func TestAPlanAsksABusyRegistryAgain(t *testing.T) {
	const busy = `time="2026-11-24T12:00:00Z" level=fatal msg="reading manifest v1 in ghcr.io/hostile/image: toomanyrequests: retry-after: `
	for _, c := range []struct {
		name, after string
		times       int // how often it refuses
		asked       int
		works       bool
	}{
		{"once", "1.16676ms", 1, 2, true},
		{"twice", "2ms", 2, 3, true},
		{"without an end", "2ms", lab.Forever, 3, false},
		{"for an hour", "1h", 1, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "9.2")
			r.add(sound())
			prefix := []string{"skopeo", "inspect", "--raw"}
			r.lab.Fault(lab.Fault{Prefix: prefix, Times: c.times, Do: lab.Fail, Stderr: busy + c.after + `, allowed: 44000/minute"` + "\n"})
			_, err := r.plan("x.star", hostileApp, nil)
			if c.works != (err == nil) {
				t.Errorf("error is %v", err)
			}
			if err != nil && (!strings.Contains(err.Error(), "toomanyrequests") || !strings.Contains(err.Error(), "hint: ")) {
				t.Errorf("error is\n%v\nwant what the registry said, and what to do", err)
			}
			asked := 0
			for _, e := range r.lab.Log() {
				if len(e.Argv) > 3 && strings.Join(e.Argv[:3], " ") == strings.Join(prefix, " ") {
					asked++
				}
			}
			if asked != c.asked {
				t.Errorf("it was asked %d times, want %d", asked, c.asked)
			}
		})
	}
}
