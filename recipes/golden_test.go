package recipes_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine/plan"
)

var update = flag.Bool("update", false, "accept the plans as they are now")

// Each recipe that ships has the exact text of its first plan, for both releases,
// and runs to healthy.
func TestGoldenPlans(t *testing.T) {
	for _, release := range releases {
		for _, name := range shipped(t) {
			t.Run(release+" "+name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, release)
				p := r.mustPlan(name, "", minimal(name))
				got := plan.Text(p)
				golden := filepath.Join("..", "testdata", "plans", release, strings.TrimSuffix(name, ".star")+".txt")
				if *update {
					if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("plan (-want +got):\n%s\nto accept it:\n    go test ./recipes -run TestGoldenPlans -update", diff)
				}
				sum := r.mustRun(name, "", minimal(name))
				for _, o := range sum.Outputs {
					if !o.Value.IsKnown() {
						t.Errorf("output %s is not known after the run", o.Name)
					}
				}
				if len(sum.Outputs) == 0 {
					t.Error("the run ends without outputs")
				}
			})
		}
	}
}
