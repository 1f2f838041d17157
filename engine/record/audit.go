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

// auditTail is how much of the log's end is looked at: about 20 000 lines.
const auditTail = 4 << 20

// AuditLogs are the log and what logrotate makes of it, the newest first. An older
// one is compressed, or too old to be asked for every time.
var AuditLogs = []string{engine.AuditLog, engine.AuditLog + ".1"}

// AuditAsks asks for the end of the audit log, and of the one before it.
func AuditAsks() []engine.Ask {
	var asks []engine.Ask
	for _, name := range AuditLogs {
		asks = append(asks, auditAsk(name))
	}
	return asks
}

func auditAsk(name string) engine.Ask {
	return engine.AskRun("tail", "-c", strconv.Itoa(auditTail), name)
}

// A Trail is what the end of a node's audit log tells, the oldest first.
type Trail struct {
	Lines   []Audited
	Foreign int  // lines that tengil did not write, or not to their end
	Partial bool // the log is longer than what was looked at
}

// AuditTrail returns the answers to AuditAsks. A log that is not there is empty.
func AuditTrail(a *engine.Answers) (Trail, error) {
	var t Trail
	for i := len(AuditLogs) - 1; i >= 0; i-- {
		ans := a.Get(auditAsk(AuditLogs[i]))
		var exit *engine.ExitError
		if errors.As(ans.Err, &exit) && bytes.Contains(exit.Stderr, []byte("No such file")) {
			continue
		}
		if ans.Err != nil {
			return Trail{}, fmt.Errorf("read the audit log: %w", ans.Err)
		}
		data := ans.Result.Stdout
		if len(data) >= auditTail {
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
