package pct

import (
	"slices"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// A node that does not tell its name is asked for nothing by that name, and its
// containers are not taken for those of another node.
func TestContainersOfANodeWithoutANameAreNotFound(t *testing.T) {
	said := func(name string) *engine.Answers {
		m := map[string]engine.Answer{}
		for _, q := range findAsks(nil) {
			m[q.Key()] = engine.NothingThere(q)
		}
		m[pve.NodeNameAsk().Key()] = engine.Answer{Result: engine.Result{Stdout: []byte(name)}}
		return engine.NewAnswers(m)
	}
	named := said("pve1.lan\n")
	if asks := named.Missing(findAsks(named)); !slices.EqualFunc(asks, []engine.Ask{listAsk("pve1")}, func(a, b engine.Ask) bool { return a.Key() == b.Key() }) {
		t.Errorf("asks %v", asks)
	}
	garbled := said("motd: hello\npve1\n")
	if asks := garbled.Missing(findAsks(garbled)); len(asks) > 0 {
		t.Errorf("asks %v", asks)
	}
	if found, err := find(garbled); err == nil || !strings.Contains(err.Error(), "uname -n: wanted one word") {
		t.Errorf("found %v, %v", found, err)
	}
}
