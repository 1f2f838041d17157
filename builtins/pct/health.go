package pct

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tengil/tengil/builtins/probe"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// A State is how a container is.
type State string

// The states. Running is said of one that has no probe.
const (
	Stopped   State = "stopped"
	Running   State = "running"
	Healthy   State = "healthy"
	Starting  State = "starting" // its probe fails, as it may for a while after a start
	Unhealthy State = "unhealthy"
)

// A Health is how a container of an app is, and for how long it has been running.
type Health struct {
	State  State
	Why    string // what the probe says, if it fails
	Uptime time.Duration
}

// probeMost is how long a probe is given where somebody waits for the answer.
const probeMost = 5 * time.Second

// HealthAsks returns the questions of HealthOf, to be asked beside those of Find.
func HealthAsks(known *engine.Answers) []engine.Ask {
	asks := []engine.Ask{engine.AskGlob(readyGlob)}
	if known == nil {
		return asks
	}
	node, err := pve.NodeName(known)
	if err != nil {
		return asks // Find says it
	}
	guests, err := parseConfigs(known)
	if err != nil {
		return asks // as above
	}
	for _, g := range guests.Mine() {
		if g.Node == node && len(g.addresses()) == 0 {
			asks = append(asks, addressAsk(g.VMID))
		}
	}
	return asks
}

// readyGlob matches the notes of all apps on containers that were ready.
var readyGlob = record.RunFile("*", markPrefix+"*")

// HealthOf tells how the containers of the node are, by id. Probes are those of the
// apps' records, asked side by side: one round trip.
func HealthOf(ctx context.Context, h engine.Host, a *engine.Answers, records map[string]record.Record) (map[int]Health, error) {
	node, err := pve.NodeName(a)
	if err != nil {
		return nil, err
	}
	guests, err := GuestsOf(a, node)
	if err != nil {
		return nil, err
	}
	marks, err := a.Glob(readyGlob)
	if err != nil {
		return nil, err
	}
	all := map[int]Health{}
	var questions []probe.Question
	var asked []*Guest
	for _, g := range guests.Mine() {
		if g.Node != node {
			continue
		}
		if !g.Running {
			all[g.VMID] = Health{State: Stopped}
			continue
		}
		all[g.VMID] = Health{State: Running, Uptime: g.Uptime}
		check, err := probe.Kept(records[g.ID.App].Containers[g.ID.Name].Ready)
		if err != nil || check == nil || guests.Current(node, g.ID.App, g.ID.Name) != g {
			continue
		}
		target := probe.Target{VMID: g.VMID}
		if fixed := g.addresses(); len(fixed) > 0 {
			target.Address = fixed[0].String()
		} else if target.Address, err = addressOf(a, g.VMID); err != nil {
			target.Address = ""
		}
		questions, asked = append(questions, probe.Question{Probe: check, Target: target}), append(asked, g)
	}
	answers, err := probe.Look(ctx, h, questions, probeMost)
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	for i, g := range asked {
		health := all[g.VMID]
		switch {
		case answers[i] == nil:
			health.State = Healthy
		case errors.Is(answers[i], engine.ErrTransient):
			continue // it says nothing of the application
		default:
			health.State, health.Why = Unhealthy, firstLine(answers[i].Error())
			mark := string(marks[record.RunFile(g.ID.App, markName(g.ID.Name))])
			if strings.TrimSpace(mark) != fmt.Sprint(g.VMID) && g.Uptime < timeToReady(records[g.ID.App].Containers[g.ID.Name]) {
				health.State = Starting
			}
		}
		all[g.VMID] = health
	}
	return all, nil
}

// timeToReady is how long a container may take from its start until it is ready.
func timeToReady(c record.Container) time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return readyTimeout
}
