package recipes_test

import (
	"strings"
	"testing"

	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/plan"
)

// The node goes down while a new container that does not work stands beside the
// one that it replaces. It must not come up with both on the same data, and when
// the application works again the next run finishes what was begun.
func TestAPowerCutNeverLeavesTwoContainersOnTheSameData(t *testing.T) {
	t.Parallel()
	r := newRig(t, "9.2")
	r.mustRun("pair.star", pair, nil)
	if err := r.lab.SetHealth("pair-db", lab.Health{State: lab.Unhealthy}); err != nil {
		t.Fatal(err)
	}
	newer := strings.ReplaceAll(strings.ReplaceAll(pair, "valkey:8-bookworm", "valkey:9-bookworm"), "tcp_ready(6379)", `exec_ready(["valkey-cli", "ping"]), ready_timeout = "300ms"`)
	if _, err := r.run("pair.star", newer, nil, quick); err == nil {
		t.Fatal("an unhealthy application counts as ready")
	}
	if n := r.guests("pair-db", ""); n != 2 {
		t.Fatalf("%d containers are named pair-db, want the old and the new one", n)
	}

	if err := r.lab.PowerCut(); err != nil {
		t.Fatal(err)
	}
	r.connect()
	if n := r.guests("pair-db", "running"); n > 1 {
		t.Errorf("%d containers run on the data of db", n)
	}

	if err := r.lab.SetHealth("pair-db", lab.Health{State: lab.Healthy}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.run("pair.star", newer, nil, quick); err != nil {
		t.Fatal(err)
	}
	if all, running := r.guests("pair-db", ""), r.guests("pair-db", "running"); all != 1 || running != 1 {
		t.Errorf("%d containers are named pair-db, %d run; want one that runs", all, running)
	}
	if p := r.mustPlan("pair.star", newer, nil); !p.Empty() {
		t.Errorf("still to do:\n%s", plan.Text(p))
	}
}

// guests counts the containers of that host name, with status only those in it.
func (r *rig) guests(hostname, status string) int {
	r.t.Helper()
	var out strings.Builder
	if code := r.lab.Exec(r.t.Context(), []string{"pct", "list"}, nil, &out, nil); code != 0 {
		r.t.Fatalf("pct list: exit status %d", code)
	}
	n := 0
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, hostname) && strings.Contains(line, status) {
			n++
		}
	}
	return n
}
