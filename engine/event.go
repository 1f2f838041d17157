package engine

import (
	"encoding/json"
	"time"
)

// An EventKind says what an Event tells.
type EventKind string

// The kinds of events of a run. Each node that is in the plan with changes ends
// in exactly one of Done, Failed and Skipped.
const (
	Started  EventKind = "started"
	Progress EventKind = "progress"
	Retrying EventKind = "retrying"
	Done     EventKind = "done"
	Failed   EventKind = "failed"
	Skipped  EventKind = "skipped"
	// Stopping: no new node is started any more, running ones are waited for.
	Stopping EventKind = "stopping"
)

// An Event is one thing that happened in a run. It holds no secrets. As JSON, Took
// is in seconds.
type Event struct {
	Kind  EventKind     `json:"event"`
	Time  time.Time     `json:"time"`
	Node  NodeID        `json:"node,omitempty"`
	Pos   string        `json:"pos,omitempty"`
	Text  string        `json:"text,omitempty"`
	Done  int64         `json:"done,omitempty"`  // bytes
	Total int64         `json:"total,omitempty"` // bytes
	Took  time.Duration `json:"took,omitempty"`
	Cause NodeID        `json:"cause,omitempty"` // of Skipped: the node that failed
	Err   error         `json:"-"`
	Error string        `json:"error,omitempty"` // Err as text
}

// MarshalJSON writes Took in seconds, with a fraction.
func (e Event) MarshalJSON() ([]byte, error) {
	type plain Event // without this method
	return json.Marshal(struct {
		plain
		Took float64 `json:"took,omitempty"`
	}{plain(e), e.Took.Seconds()})
}
