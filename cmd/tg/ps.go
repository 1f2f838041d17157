package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/record"
)

func (s *session) psCmd() *cobra.Command {
	return &cobra.Command{
		Use:        "ps",
		SuggestFor: []string{"list", "ls", "status"},
		Short:      "List the applications of a node",
		Long: `List the applications of a node, as the node itself tells: no file on this
machine is needed for it.

STATE is what the probe of a container's recipe says at this moment: healthy, unhealthy,
or starting if it is within its time to become ready. A container without a probe is
running or stopped. Beside it stands for how long it has been running.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.ps(cmd.Context()) },
	}
}

// An appState is an application as a node tells it.
type appState struct {
	App     string            `json:"app"`
	Source  string            `json:"source,omitempty"`
	Digest  string            `json:"digest,omitempty"`
	Options map[string]string `json:"options,omitempty"`
	Updated string            `json:"updated,omitempty"`
	Outputs map[string]string `json:"outputs,omitempty"`
	Secrets map[string]string `json:"secrets,omitempty"` // shown only when asked for
	Things  []thing           `json:"things"`
}

// A thing is one thing that an app has on a node.
type thing struct {
	Step    engine.StepID `json:"step"`
	What    string        `json:"what"`
	Now     string        `json:"now,omitempty"`
	Health  pct.State     `json:"health,omitempty"` // in ps
	Why     string        `json:"why,omitempty"`    // of a health that is not as it should be
	Uptime  int64         `json:"uptime,omitempty"` // in ps, seconds
	Address string        `json:"address,omitempty"`
	Data    bool          `json:"data,omitempty"`
}

// text is "CT 101 (running)".
func (t thing) text() string { return withNow(t.What, t.Now) }

func withNow(what, now string) string {
	if now == "" {
		return what
	}
	return what + " (" + now + ")"
}

// apps asks the node which applications it has; app "" means all.
func (s *session) apps(ctx context.Context, host *node, app string) ([]appState, error) {
	states, _, _, err := s.lookAtApps(ctx, host, app, func(*engine.Answers) []engine.Ask { return nil })
	return states, err
}

// lookAtApps is apps that asks other questions in the same two rounds.
func (s *session) lookAtApps(ctx context.Context, host *node, app string, also func(*engine.Answers) []engine.Ask) ([]appState, map[string]record.Record, *engine.Answers, error) {
	found, seen, err := plan.FindAlso(ctx, host, builtins.Kinds(), app, func(known *engine.Answers) []engine.Ask {
		return append(also(known), engine.AskGlob(record.AllGlob()))
	})
	if err != nil {
		return nil, nil, nil, err
	}
	records, err := record.All(seen)
	if err != nil {
		// An unreadable record hides its options, not the app.
		s.term.Failure(withProgram(err))
	}
	states := []appState{}
	at := map[string]int{}
	for _, f := range found {
		i, ok := at[f.App]
		if !ok {
			i = len(states)
			at[f.App] = i
			states = append(states, newAppState(f.App, records[f.App]))
		}
		if f.Common {
			continue // it says nothing that its app does not
		}
		states[i].Things = append(states[i].Things, thing{Step: f.Step, What: f.What, Now: f.Now, Address: f.Address, Data: f.Data})
	}
	return states, records, seen, nil
}

// healths fills in how containers are: one more round trip.
func (s *session) healths(ctx context.Context, host *node, states []appState, records map[string]record.Record, seen *engine.Answers) error {
	all, err := pct.HealthOf(ctx, host, seen, records)
	if err != nil {
		return err
	}
	byName := make(map[string]pct.Health, len(all))
	for vmid, h := range all {
		byName[fmt.Sprintf("CT %d", vmid)] = h
	}
	for _, a := range states {
		for i := range a.Things {
			t := &a.Things[i]
			h := byName[t.What]
			t.Health, t.Why, t.Uptime = h.State, h.Why, int64(h.Uptime.Seconds())
		}
	}
	return nil
}

func newAppState(app string, r record.Record) appState {
	a := appState{App: app, Source: r.Source, Digest: r.Digest, Options: r.Options, Outputs: r.Outputs}
	if !r.Updated.IsZero() {
		a.Updated = r.Updated.Format("2006-01-02T15:04:05Z07:00")
	}
	return a
}

// ps lists the applications of a node.
func (s *session) ps(ctx context.Context) (err error) {
	host, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	states, records, seen, err := s.lookAtApps(ctx, host, "", pct.HealthAsks)
	if err != nil {
		return err
	}
	if err := s.healths(ctx, host, states, records, seen); err != nil {
		return err
	}
	s.tellRounds(host)
	if s.json() {
		return s.term.JSON(states)
	}
	if len(states) == 0 {
		s.printf("no applications on %s\n", host.Name())
		s.notef("to try one:\n    tg run alpine\n")
		return nil
	}
	if err := s.term.Table([]string{"APP", "PART", "WHAT", "STATE", "URL"}, psRows(states)); err != nil {
		return err
	}
	for _, a := range states {
		for _, t := range a.Things {
			if t.Why != "" {
				s.notef("%s/%s is %s: %s\n", a.App, t.Step.Name(), t.Health, t.Why)
			}
		}
	}
	return nil
}

// state is "healthy 3h"; of what has no health, how it is now.
func (t thing) state() string {
	switch {
	case t.Health == "":
		return t.Now
	case t.Health == pct.Stopped:
		return string(t.Health)
	}
	return string(t.Health) + " " + ui.Age(time.Duration(t.Uptime)*time.Second)
}

// psRows shows what runs; of an app with nothing but data, that. The URL stands
// beside the container that it leads to, else beside the first.
func psRows(states []appState) [][]string {
	var rows [][]string
	for _, a := range states {
		app, kept, at := a.App, 0, len(rows)
		for _, t := range a.Things {
			if t.Data {
				kept++
				continue
			}
			if t.Address != "" && t.Address == hostOf(a.Outputs["url"]) {
				at = len(rows)
			}
			rows = append(rows, []string{app, t.Step.Name(), t.What, t.state(), ""})
			app = ""
		}
		if at < len(rows) {
			rows[at][4] = a.Outputs["url"]
		}
		if kept == len(a.Things) {
			rows = append(rows, []string{app, "", "only data is left", "", ""})
		}
	}
	return rows
}

// hostOf returns the host of a URL; "" if it has none.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
