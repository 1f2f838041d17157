package pct

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/tengil/tengil/builtins/probe"
	"github.com/tengil/tengil/builtins/secret"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// Containers returns how the containers of a recipe are started, by name, for the
// record of the app: from it Power knows the order and the probes.
func Containers(g *engine.Graph) (map[string]record.Container, error) {
	out := map[string]record.Container{}
	for _, n := range g.Nodes() {
		r, ok := n.Spec.(ready)
		if !ok {
			continue
		}
		kept, err := probe.Keep(r.probe)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.ID, err)
		}
		out[r.name] = record.Container{Needs: waitsFor(g, r.id), Ready: kept, Timeout: r.timeout}
	}
	return out, nil
}

// waitsFor returns the containers whose ready the start of a container waits for,
// directly or through steps that are no containers, sorted.
func waitsFor(g *engine.Graph, step engine.StepID) []string {
	var names []string
	seen := map[engine.NodeID]bool{}
	var walk func(id engine.NodeID)
	walk = func(id engine.NodeID) {
		n, ok := g.Node(id)
		if !ok || seen[id] {
			return
		}
		seen[id] = true
		if r, ok := n.Spec.(ready); ok && r.id != step {
			names = append(names, r.name)
			return
		}
		for _, need := range n.Needs {
			walk(need)
		}
	}
	walk(step.Node(partStart))
	slices.Sort(names)
	return names
}

// A Turn is what Power does with containers.
type Turn string

// The turns.
const (
	TurnOn  Turn = "start"
	TurnOff Turn = "stop"
	Restart Turn = "restart"
)

// A Switch says what Power does.
type Switch struct {
	Turn Turn
	App  string
	Name string // of one container; "" for all
	// Dependents says that what needs the container is restarted with it.
	Dependents bool
}

// Power returns the graph that starts, stops or restarts containers of an app
// without its recipe, and the node of the cluster that it is for: what stops does
// so before what it needs, what starts does so once that is ready. A container
// that is started brings along what it needs.
func Power(ctx context.Context, h engine.Host, s Switch) (*engine.Graph, string, error) {
	guests, node, err := Look(ctx, h)
	if err != nil {
		return nil, "", err
	}
	a, err := h.Batch(ctx, []engine.Ask{engine.AskGlob(record.PrivGlob(s.App))})
	if err != nil {
		return nil, "", err
	}
	rec, err := record.Read(a, s.App)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", err
	}
	secrets, err := secret.Known(a, s.App)
	if err != nil {
		return nil, "", err
	}
	all, err := powered(guests, node, s.App, rec, secrets)
	if err != nil {
		return nil, "", err
	}
	g, err := engine.NewGraph(engine.App{Name: s.App}, s.nodes(all), nil)
	return g, node, err
}

// powered returns the containers that an app has on a node, by name.
func powered(guests *Guests, node, app string, rec record.Record, secrets engine.Outputs) (map[string]*power, error) {
	all := map[string]*power{}
	names := &roll{}
	for _, g := range guests.Mine() {
		if g.ID.App != app || g.Node != node || all[g.ID.Name] != nil {
			continue
		}
		how := rec.Containers[g.ID.Name]
		check, err := probe.Kept(how.Ready)
		if err != nil {
			return nil, fmt.Errorf("%s: container %s: %w", record.PrivFile(app, "record.json"), g.ID.Name, err)
		}
		current := guests.Current(node, app, g.ID.Name)
		startup, err := pve.ParseStartup(current.Config.Get("startup"))
		if err != nil {
			startup = pve.Startup{}
		}
		all[g.ID.Name] = &power{
			container: &container{
				id: engine.StepID("pct_create/" + g.ID.Name), app: app, name: g.ID.Name, facts: &engine.Facts{Node: node},
				hostname: current.Config.Get("hostname"), searchdomain: current.Config.Get("searchdomain"),
				net: current.net0(), probe: check, timeout: timeToReady(how), startup: startup, mark: &logMark{},
			},
			source: rec.Source, secrets: secrets, unfinished: rec.Unfinished, needs: how.Needs, roll: names,
		}
	}
	if len(rec.Containers) == 0 {
		orderByStartup(all, guests, node)
	}
	for _, p := range all {
		p.needs = slices.DeleteFunc(slices.Clone(p.needs), func(n string) bool { return all[n] == nil || n == p.name })
	}
	return all, nil
}

// readyTimeout is how long a container may take whose record does not say.
const readyTimeout = 5 * time.Minute

// orderByStartup takes the order in which the node starts the containers, where no
// record tells it: each waits for those of a lower order.
func orderByStartup(all map[string]*power, guests *Guests, node string) {
	order := map[string]int{}
	for name, p := range all {
		order[name] = math.MaxInt // as Proxmox does
		s, err := pve.ParseStartup(guests.Current(node, p.app, name).Config.Get("startup"))
		if err == nil && s.Order != nil {
			order[name] = *s.Order
		}
	}
	for name, p := range all {
		for other := range all {
			if order[other] < order[name] {
				p.needs = append(p.needs, other)
			}
		}
	}
}

// nodes returns the nodes of the containers that are turned.
func (s Switch) nodes(all map[string]*power) []engine.Node {
	chosen := s.chosen(all)
	names := slices.SortedFunc(maps.Keys(chosen), func(a, b string) int {
		return cmp.Or(len(closure(all, a, needs))-len(closure(all, b, needs)), cmp.Compare(a, b))
	})
	var nodes []engine.Node
	add := func(p *power, part string, spec engine.Spec, class engine.Class, needs []engine.NodeID) {
		slices.Sort(needs)
		nodes = append(nodes, engine.Node{ID: p.id.Node(part), Step: engine.Step{ID: p.id}, Spec: spec, Class: class, Needs: slices.Compact(needs)})
	}
	for _, name := range names {
		p := all[name]
		p.why = chosen[name]
		var stopAfter, startAfter []engine.NodeID
		for other := range chosen {
			if other != name && closure(all, other, needs)[name] {
				stopAfter = append(stopAfter, all[other].id.Node(partStop))
			}
			if other != name && closure(all, name, needs)[other] {
				startAfter = append(startAfter, all[other].id.Node(partReady))
			}
		}
		if s.Turn != TurnOn {
			add(p, partStop, stopping{p, s.Turn}, engine.Configure, stopAfter)
		}
		if s.Turn == Restart {
			startAfter = append(startAfter, p.id.Node(partStop))
		}
		if s.Turn != TurnOff {
			add(p, partStart, starting{p, s.Turn}, engine.Start, startAfter)
			add(p, partReady, answering{p}, engine.Start, []engine.NodeID{p.id.Node(partStart)})
		}
	}
	return nodes
}

// chosen returns the containers that are turned, each with the reason.
func (s Switch) chosen(all map[string]*power) map[string]string {
	asked := fmt.Sprintf("tg %s", s.Turn)
	out := map[string]string{}
	if s.Name == "" {
		for name := range all {
			out[name] = asked
		}
		return out
	}
	if s.Turn == TurnOn {
		for name := range closure(all, s.Name, needs) {
			out[name] = s.Name + " needs it"
		}
	}
	if s.Dependents {
		for name := range closure(all, s.Name, dependents) {
			out[name] = "it needs " + s.Name
		}
	}
	out[s.Name] = asked
	return out
}

func needs(all map[string]*power, name string) []string { return all[name].needs }

func dependents(all map[string]*power, name string) []string {
	var out []string
	for other, p := range all {
		if slices.Contains(p.needs, name) {
			out = append(out, other)
		}
	}
	return out
}

// closure returns what is reached from a container, without itself.
func closure(all map[string]*power, name string, next func(map[string]*power, string) []string) map[string]bool {
	seen := map[string]bool{}
	var walk func(string)
	walk = func(n string) {
		for _, m := range next(all, n) {
			if !seen[m] {
				seen[m] = true
				walk(m)
			}
		}
	}
	walk(name)
	delete(seen, name)
	return seen
}

// partStop is the node that stops a container; no recipe has it.
const partStop = "stop"

// A power is a container that is turned on or off as it is.
type power struct {
	*container
	source     string         // of the recipe
	secrets    engine.Outputs // to be masked in what it prints
	unfinished bool
	needs      []string
	why        string
	roll       *roll // the names of the app, which all its containers share
}

// Asks implements engine.Spec.
func (p *power) Asks(known *engine.Answers) []engine.Ask {
	asks := append(GuestAsks(p.facts.Node), engine.AskGlob(record.RunGlob(p.app)))
	if known == nil || p.isFixed() {
		return asks
	}
	guests, err := GuestsOf(known, p.facts.Node)
	if err != nil {
		return asks // Observe says it
	}
	for _, g := range guests.Named(p.app, p.name) {
		if g.Running {
			asks = append(asks, addressAsk(g.VMID))
		}
	}
	return asks
}

// Observe implements engine.Spec.
func (p *power) Observe(a *engine.Answers) (engine.State, error) {
	guests, err := GuestsOf(a, p.facts.Node)
	if err != nil {
		return nil, err
	}
	f := &found{address: map[int]string{}, all: guests}
	for _, g := range guests.Named(p.app, p.name) {
		if g.Node != p.facts.Node {
			continue
		}
		f.guests = append(f.guests, g)
		if g.Running && !p.isFixed() {
			if f.address[g.VMID], err = addressOf(a, g.VMID); err != nil {
				return nil, err
			}
		}
	}
	f.marks, err = readMarks(a, p.app)
	return f, err
}

// isReady reports whether a container was seen ready since it started.
func (p *power) isReady(f *found, g *Guest) bool {
	return g.Running && f.marks[markName(p.name)] == fmt.Sprint(g.VMID)
}
