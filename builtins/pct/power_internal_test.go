package pct

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// poweredOf returns containers a, b and c of an app, with the start order that the
// node has for each ("" for none).
func poweredOf(t *testing.T, rec record.Record, startup map[string]string) map[string]*power {
	t.Helper()
	g := &Guests{ByID: map[int]*Guest{}, byName: map[string][]*Guest{}}
	for i, name := range []string{"a", "b", "c"} {
		conf := pve.NewConfig()
		if s := startup[name]; s != "" {
			conf.Options["startup"] = s
		}
		guest := &Guest{VMID: 100 + i, Node: "pve", Config: conf, Mine: true, ID: record.Identity{App: "app", Name: name}}
		g.ByID[guest.VMID], g.byName["app/"+name] = guest, []*Guest{guest}
	}
	all, err := powered(g, "pve", "app", rec, nil)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// order returns the nodes with what each waits for: "b#start<a#ready".
func order(t *testing.T, s Switch, all map[string]*power) string {
	t.Helper()
	g, err := engine.NewGraph(engine.App{Name: "app"}, s.nodes(all), nil)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, n := range g.Nodes() {
		word := strings.TrimPrefix(string(n.ID), "pct_create/")
		for _, need := range n.Needs {
			if need.Step() != n.ID.Step() {
				word += "<" + strings.TrimPrefix(string(need), "pct_create/")
			}
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestOrderOfPower(t *testing.T) {
	chain := record.Record{Containers: map[string]record.Container{"a": {}, "b": {Needs: []string{"a"}}, "c": {Needs: []string{"b", "gone"}}}}
	for _, tt := range []struct {
		name string
		s    Switch
		rec  record.Record
		node map[string]string
		want string
	}{
		{"what needs others stops first", Switch{Turn: TurnOff}, chain, nil, "c#stop b#stop<c#stop a#stop<b#stop<c#stop"},
		{"and starts last, however far the need", Switch{Turn: TurnOn}, chain, nil,
			"a#start a#ready b#start<a#ready b#ready c#start<a#ready<b#ready c#ready"},
		{"one is restarted alone", Switch{Turn: Restart, Name: "a"}, chain, nil, "a#stop a#start a#ready"},
		{"or with all that needs it", Switch{Turn: Restart, Name: "b", Dependents: true}, chain, nil,
			"c#stop b#stop<c#stop b#start b#ready c#start<b#ready c#ready"},
		{"one is started with what it needs", Switch{Turn: TurnOn, Name: "b"}, chain, nil, "a#start a#ready b#start<a#ready b#ready"},
		{"one is stopped alone", Switch{Turn: TurnOff, Name: "a"}, chain, nil, "a#stop"},
		{"without a record the node's own order counts, none is last", Switch{Turn: TurnOff}, record.Record{},
			map[string]string{"b": "order=1", "c": "2,up=5"}, "a#stop c#stop<a#stop b#stop<a#stop<c#stop"},
		{"and with no order at all, all go at once", Switch{Turn: TurnOff}, record.Record{}, nil, "a#stop b#stop c#stop"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.s.App = "app"
			if got := order(t, tt.s, poweredOf(t, tt.rec, tt.node)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestNeedsInACircleAreRefused(t *testing.T) {
	circle := record.Record{Containers: map[string]record.Container{"a": {Needs: []string{"b"}}, "b": {Needs: []string{"a"}}}}
	all := poweredOf(t, circle, nil)
	if got := slices.Sorted(maps.Keys(closure(all, "a", needs))); !slices.Equal(got, []string{"b"}) {
		t.Errorf("a needs %q, want b", got)
	}
	if _, err := engine.NewGraph(engine.App{}, Switch{Turn: TurnOff, App: "app"}.nodes(all), nil); err == nil {
		t.Error("wanted an error: neither can stop first")
	}
}

func TestAStartWaitsAsLongAsTheApplicationMayTake(t *testing.T) {
	all := poweredOf(t, record.Record{Containers: map[string]record.Container{"a": {Timeout: 40 * time.Minute}}}, nil)
	patience := map[engine.NodeID]time.Duration{}
	for _, n := range (Switch{Turn: TurnOn}).nodes(all) {
		if p, ok := n.Spec.(engine.Patient); ok {
			patience[n.ID] = p.Patience()
		}
	}
	if got := patience["pct_create/a#ready"]; got != 40*time.Minute {
		t.Errorf("patience of a is %s, of all %v", got, patience)
	}
}

// A program is a host that keeps what it ran.
type program struct {
	engine.Host
	ran []string
}

func (p *program) Run(_ context.Context, c engine.Cmd) (engine.Result, error) {
	p.ran = append(p.ran, strings.Join(c.Argv, " "))
	return engine.Result{}, nil
}

func TestAnApplicationHasAsLongToEndAsTheNodeGivesIt(t *testing.T) {
	for startup, want := range map[string]time.Duration{"": time.Minute, "order=1,down=5": time.Minute, "order=1,down=900": 15 * time.Minute} {
		all := poweredOf(t, record.Record{Containers: map[string]record.Container{"a": {}}}, map[string]string{"a": startup})
		for _, n := range (Switch{Turn: TurnOff, Name: "a"}).nodes(all) {
			if p, ok := n.Spec.(engine.Patient); !ok || p.Patience() != want-time.Minute {
				t.Errorf("%q: %s is not given %s more", startup, n.ID, want-time.Minute)
			}
		}
		conf := pve.NewConfig()
		conf.Options["startup"] = startup
		h := &program{}
		if err := shutdown(t.Context(), h, 100, conf); err != nil {
			t.Fatal(err)
		}
		told := fmt.Sprintf("pct shutdown 100 --timeout %d --forceStop 1", int(want.Seconds()))
		if !slices.Contains(h.ran, told) {
			t.Errorf("%q: ran %q, want %q", startup, h.ran, told)
		}
	}
}
