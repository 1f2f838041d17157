package main

import (
	"context"
	"errors"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins"
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
machine is needed for it.`,
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
	found, err := plan.Find(ctx, host, builtins.Kinds(), app)
	if err != nil {
		return nil, err
	}
	answers, err := host.Batch(ctx, []engine.Ask{engine.AskGlob(record.AllGlob())})
	if err != nil {
		return nil, err
	}
	records, err := record.All(answers)
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
		states[i].Things = append(states[i].Things, thing{f.Step, f.What, f.Now, f.Address, f.Data})
	}
	return states, nil
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
	states, err := s.apps(ctx, host, "")
	if err != nil {
		return err
	}
	if s.json() {
		return s.term.JSON(states)
	}
	if len(states) == 0 {
		s.printf("no applications on %s\n", host.Name())
		s.notef("to try one:\n    tg run alpine\n")
		return nil
	}
	return s.term.Table([]string{"APP", "PART", "WHAT", "URL"}, psRows(states))
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
			rows = append(rows, []string{app, t.Step.Name(), t.text(), ""})
			app = ""
		}
		if at < len(rows) {
			rows[at][3] = a.Outputs["url"]
		}
		if kept == len(a.Things) {
			rows = append(rows, []string{app, "", "only data is left", ""})
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
