package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/tengil/tengil/engine"
)

// An Audited is a line of a node's audit log: what was run, and how it ended.
type Audited struct {
	engine.Audit
	Exit int `json:"exit"`
}

// AuditTail is how much of the log's end is looked at where nobody knows how far
// back to go: about 20 000 lines.
const AuditTail = 4 << 20

// AuditLogs are the log and what logrotate makes of it, the newest first. An older
// one is compressed, or too old to be asked for every time.
var AuditLogs = []string{engine.AuditLog, engine.AuditLog + ".1"}

// AuditAsks asks for that many bytes of the end of the audit log, and of the one
// before it.
func AuditAsks(tail int) []engine.Ask {
	var asks []engine.Ask
	for _, name := range AuditLogs {
		asks = append(asks, auditAsk(name, tail))
	}
	return asks
}

func auditAsk(name string, tail int) engine.Ask {
	return engine.AskRun("tail", "-c", strconv.Itoa(tail), name)
}

// A Trail is what the end of a node's audit log tells, the oldest first.
type Trail struct {
	Lines   []Audited
	Foreign int  // lines that tengil did not write, or not to their end
	Partial bool // the log is longer than what was looked at
}

// AuditTrail returns the answers to AuditAsks. A log that is not there is empty.
func AuditTrail(a *engine.Answers, tail int) (Trail, error) {
	var t Trail
	for i := len(AuditLogs) - 1; i >= 0; i-- {
		ans := a.Get(auditAsk(AuditLogs[i], tail))
		var exit *engine.ExitError
		if errors.As(ans.Err, &exit) && bytes.Contains(exit.Stderr, []byte("No such file")) {
			continue
		}
		if ans.Err != nil {
			return Trail{}, fmt.Errorf("read the audit log: %w", ans.Err)
		}
		data := ans.Result.Stdout
		if len(data) >= tail {
			// It begins in the middle of a line, and what was before is not seen.
			t = Trail{Partial: true}
			_, data, _ = bytes.Cut(data, []byte("\n"))
		}
		t.read(data)
	}
	return t, nil
}

// read adds the lines of a log. One may be torn, as the node lost its power while
// it was written, or from somebody else.
func (t *Trail) read(data []byte) {
	for line := range bytes.Lines(data) {
		var l Audited
		switch err := json.Unmarshal(line, &l); {
		case err != nil || l.App == "" || len(l.Argv) == 0 || l.Time.IsZero():
			t.Foreign++
		default:
			t.Lines = append(t.Lines, l)
		}
	}
}

// What the log says of a run, as the third word of the line that tells that the
// app's record was written; the fourth says who.
const (
	RunBegins = "run begins"
	RunEnds   = "run ends"
	RunFails  = "run fails"
)

// Run returns what the line tells of a run of its app: stage "" for nothing.
func (l Audited) Run() (stage, who string) {
	if len(l.Argv) < 3 || l.Argv[0] != "write" || l.Argv[1] != PrivFile(l.App, "record.json") {
		return "", ""
	}
	switch l.Argv[2] {
	case RunBegins, RunEnds, RunFails:
		stage = l.Argv[2]
	}
	if len(l.Argv) > 3 {
		who = l.Argv[3]
	}
	return stage, who
}
