package main

import (
	"context"
	"fmt"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/recipe"
	"github.com/tengil/tengil/recipes"
)

// Where the delays of a fresh Immich come from: sizes of its images, and speeds
// of a small server behind a fast line.
const (
	downloadRate = 60  // MB a second, compressed
	unpackRate   = 120 // MB a second, unpacked, through tar and ZFS
	// scale shortens all delays, so that the benchmark ends soon. What the lab
	// itself takes is not shortened, so it weighs more than it would.
	scale = 3
)

// immichSizes are what the images weigh in MB, by what the archive's name holds.
var immichSizes = map[string]struct{ compressed, unpacked float64 }{
	"immich-server":           {640, 2300},
	"immich-machine-learning": {480, 1600},
	"immich-app_postgres":     {220, 750},
	"immich-app/postgres":     {220, 750},
	"valkey":                  {45, 130},
}

// commandSeconds are how long other commands of a node take; those of Proxmox
// are Perl and load its libraries first.
var commandSeconds = map[string]float64{
	"pct":            0.6,
	"pct set":        0.8,
	"pct start":      2,
	"pct exec":       0.8,
	"pvesh":          0.6,
	"pvesm":          0.5,
	"zfs":            0.05,
	"zpool":          0.02,
	"skopeo inspect": 0.7, // asks the registry
	"systemctl":      0.01,
	"lxc-info":       0.01,
}

// nodeDelay is how long a program takes on the node of BenchmarkFreshImmich.
func nodeDelay(argv []string) time.Duration {
	name := path.Base(argv[0])
	if len(argv) > 1 {
		name += " " + argv[1]
	}
	seconds, ok := commandSeconds[name]
	if !ok {
		seconds = commandSeconds[path.Base(argv[0])]
	}
	switch name {
	case "skopeo copy":
		seconds = 1 + sizeOf(argv, func(image string) float64 { return immichSizes[image].compressed })/downloadRate
	case "pct create":
		seconds = 2 + sizeOf(argv, func(image string) float64 { return immichSizes[image].unpacked })/unpackRate
	}
	return time.Duration(seconds / scale * float64(time.Second))
}

// sizeOf returns the size of the image that the first argument to name one names.
func sizeOf(argv []string, size func(image string) float64) float64 {
	for _, arg := range argv {
		for image := range immichSizes {
			if strings.Contains(arg, image) {
				return size(image)
			}
		}
	}
	return 0
}

// BenchmarkFreshImmich: a first run on a node whose commands take their time.
func BenchmarkFreshImmich(b *testing.B) {
	p, alone, err := freshImmich(b.Context(), b.TempDir(), map[engine.Class]int{"total": 1})
	if err != nil {
		b.Fatal(err)
	}
	_, together, err := freshImmich(b.Context(), b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	critical, way := criticalPath(p, alone)
	fmt.Printf("\ncritical: %s\n", way)
	over := times(together.Took, critical)
	show(b,
		row{fmt.Sprintf("fresh Immich, %d nodes, delays divided by %d", len(alone.Outcomes), scale), ms(together.Took),
			"≤ 1.05 ×", fmt.Sprintf("%.3f × the critical path (%s)", over, ms(critical))},
		row{"  the same with all limits 1", ms(alone.Took), "", fmt.Sprintf("%.2f × slower", times(alone.Took, together.Took))},
	)
	b.ReportMetric(over, "×critical")
	b.ReportMetric(times(alone.Took, together.Took), "×faster")
	holds(b, over <= 1.05, "makespan is %.3f of the critical path; wanted at most 1.05", over)
}

// freshImmich runs the recipe on a new lab.
func freshImmich(ctx context.Context, dir string, limits map[engine.Class]int) (*engine.Plan, exec.Summary, error) {
	l, err := lab.Open(ctx, lab.Options{Dir: dir, Delay: nodeDelay})
	if err != nil {
		return nil, exec.Summary{}, err
	}
	defer l.Close()
	host, err := dialBench(ctx, l.Endpoint())
	if err != nil {
		return nil, exec.Summary{}, err
	}
	defer host.Close()
	p, err := planImmich(ctx, host)
	if err != nil {
		return nil, exec.Summary{}, err
	}
	sum, err := exec.Run(ctx, p, host, exec.Options{Limits: limits})
	return p, sum, err
}

func planImmich(ctx context.Context, host engine.Host) (*engine.Plan, error) {
	facts, err := (&node{Host: host}).facts(ctx)
	if err != nil {
		return nil, err
	}
	r, err := recipe.Load(ctx, "immich.star", recipe.Options{
		Kinds: builtins.Kinds(), Constructors: builtins.Constructors(), Facts: facts, FS: recipes.FS, Source: "catalog:immich",
		Values: map[string]string{"pool": "tank"},
	})
	if err != nil {
		return nil, err
	}
	return plan.Build(ctx, r.Graph, host, facts, plan.Options{Kinds: builtins.Kinds()})
}

// criticalPath returns the longest way through the graph, when each node takes
// as long as it took alone, and the nodes on it.
func criticalPath(p *engine.Plan, alone exec.Summary) (time.Duration, string) {
	took := map[engine.NodeID]time.Duration{}
	for _, o := range alone.Outcomes {
		took[o.Node] = o.Took
	}
	ends, before := map[engine.NodeID]time.Duration{}, map[engine.NodeID]engine.NodeID{}
	var last engine.NodeID
	for _, n := range p.Nodes {
		for _, need := range n.Needs {
			if ends[need] > ends[before[n.ID]] {
				before[n.ID] = need
			}
		}
		ends[n.ID] = ends[before[n.ID]] + took[n.ID]
		if ends[n.ID] > ends[last] {
			last = n.ID
		}
	}
	var way []string
	for id := last; id != ""; id = before[id] {
		way = append([]string{fmt.Sprintf("%s %s", shortID(id), ms(took[id]))}, way...)
	}
	return ends[last], strings.Join(way, ", ")
}

func shortID(id engine.NodeID) string {
	if id.Part() != "" {
		return id.Step().Name() + " " + id.Part()
	}
	return id.Step().Kind()
}
