package record_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/record"
)

const auditLine = `{"time":"2026-11-20T10:00:%02dZ","app":"notes","step":"pct_create/db","argv":["pct","start","10%d"],"exit":0}` + "\n"

func TestAuditTrail(t *testing.T) {
	lines := func(from, to int) string {
		var b strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, auditLine, i, i)
		}
		return b.String()
	}
	long := lines(0, 1) + strings.Repeat(" ", 4<<20-len(lines(0, 2))) + "\n" + lines(1, 2)
	for _, tt := range []struct {
		name       string
		log, older string
		want       string // ids, in order
		foreign    int
		partial    bool
	}{
		{"no log yet", "", "", "", 0, false},
		{"the rotated one comes first", lines(2, 4), lines(0, 2), "100 101 102 103", 0, false},
		{"a torn last line", lines(0, 1) + `{"time":"2026-11-20T10:0`, "", "100", 1, false},
		{"a whole last line that lacks its end", strings.TrimSuffix(lines(0, 2), "\n"), "", "100 101", 0, false},
		{"lines of somebody else", "hello\n" + lines(0, 1) + "\n[1]\n{\"app\":\"x\"}\n", "", "100", 4, false},
		{"a line that is no argv", `{"time":"2026-11-20T10:00:00Z","app":"notes","argv":"pct","exit":0}` + "\n", "", "", 1, false},
		{"a long log is seen from its end", long[1:], lines(7, 9), "101", 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asks := record.AuditAsks(record.AuditTail)
			got, err := record.AuditTrail(engine.NewAnswers(map[string]engine.Answer{
				asks[0].Key(): {Result: engine.Result{Stdout: []byte(tt.log)}},
				asks[1].Key(): {Result: engine.Result{Stdout: []byte(tt.older)}},
			}), record.AuditTail)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, l := range got.Lines {
				ids = append(ids, l.Argv[2])
			}
			if s := strings.Join(ids, " "); s != tt.want || got.Foreign != tt.foreign || got.Partial != tt.partial {
				t.Errorf("got %q, %d foreign, partial %v; want %q, %d, %v", s, got.Foreign, got.Partial, tt.want, tt.foreign, tt.partial)
			}
		})
	}
}

var missing = engine.Answer{Err: &engine.ExitError{Exit: 1, Stderr: []byte("tail: cannot open 'x' for reading: No such file or directory\n")}}

func TestALogThatCannotBeReadIsNoEmptyLog(t *testing.T) {
	asks := record.AuditAsks(record.AuditTail)
	denied := engine.Answer{Err: &engine.ExitError{Exit: 1, Stderr: []byte("tail: cannot open 'x' for reading: Permission denied\n")}}
	for _, tt := range []struct {
		name string
		ans  engine.Answer
		fail bool
	}{{"missing", missing, false}, {"not readable", denied, true}} {
		_, err := record.AuditTrail(engine.NewAnswers(map[string]engine.Answer{asks[0].Key(): tt.ans, asks[1].Key(): missing}), record.AuditTail)
		if (err != nil) != tt.fail {
			t.Errorf("%s: got error %v, wanted one: %v", tt.name, err, tt.fail)
		}
	}
}

func FuzzAuditTrail(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(auditLine, 1, 1) + "{\n"))
	f.Fuzz(func(t *testing.T, log []byte) {
		asks := record.AuditAsks(record.AuditTail)
		trail, err := record.AuditTrail(engine.NewAnswers(map[string]engine.Answer{
			asks[0].Key(): {Result: engine.Result{Stdout: log}}, asks[1].Key(): missing,
		}), record.AuditTail)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range trail.Lines {
			if len(l.Argv) == 0 || l.App == "" {
				t.Errorf("a line without command or app: %+v", l)
			}
		}
	})
}
