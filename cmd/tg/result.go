package main

import (
	"time"

	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
)

// A result is how a run ended, for programs.
type result struct {
	App     string              `json:"app"`
	Host    string              `json:"host"`
	Changed bool                `json:"changed"`
	Steps   []stepResult        `json:"steps"`
	Failed  int                 `json:"failed"`
	Skipped int                 `json:"skipped"`
	Outputs []engine.PlanOutput `json:"outputs"`
	Phases  []ui.Phase          `json:"phases,omitempty"`
	Took    float64             `json:"took"` // seconds
	Rounds  int                 `json:"round_trips,omitempty"`
}

// A stepResult is how one node of the plan ended.
type stepResult struct {
	Node  engine.NodeID `json:"node"`
	Pos   string        `json:"pos,omitempty"`
	State string        `json:"state"`          // done, failed, skipped, stopped
	Took  float64       `json:"took,omitempty"` // seconds
	Error string        `json:"error,omitempty"`
	Cause engine.NodeID `json:"cause,omitempty"`
}

func resultOf(host *node, p *engine.Plan, outcomes []exec.Outcome, outputs []engine.PlanOutput, took time.Duration) result {
	r := result{App: p.App.Name, Host: host.Name(), Outputs: outputs, Took: took.Seconds(), Steps: []stepResult{}}
	r.Rounds, _ = host.rounds()
	if r.Outputs == nil {
		r.Outputs = []engine.PlanOutput{}
	}
	for _, o := range outcomes {
		step := stepResult{Node: o.Node, Pos: o.Pos.String(), State: "done", Took: o.Took.Seconds(), Cause: o.Cause}
		switch {
		case o.Cause != "":
			step.State = "skipped"
			r.Skipped++
		case o.Err != nil:
			step.State, step.Error = "failed", o.Err.Error()
			r.Failed++
		default:
			r.Changed = true
		}
		r.Steps = append(r.Steps, step)
	}
	return r
}
