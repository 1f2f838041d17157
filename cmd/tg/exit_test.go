package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
)

func TestReport(t *testing.T) {
	placed := &engine.Error{Pos: engine.Pos{File: "a.star", Line: 1, Col: 2}, Err: errors.New("wrong"), Hint: "right it"}
	tests := []struct {
		name string
		err  error
		want string
		exit int
	}{
		{"nothing is wrong", nil, "", exitDone},
		{"a position speaks for itself", placed, "a.star:1:2: wrong\n  hint: right it\n", exitFailed},
		{"joined errors are shown one by one", errors.Join(placed, errors.Join(errors.New("two"), errors.New("three"))),
			"a.star:1:2: wrong\n  hint: right it\ntg: two\ntg: three\n", exitFailed},
		{"what matches several errors is one", fmt.Errorf("connect: %w", engine.Transient(errors.New("reset"))), "tg: connect: reset\n", exitFailed},
		{"what is transient is one", engine.Transient(errors.New("reset")), "tg: reset\n", exitFailed},
		{"a hint follows", engine.WithHint(errors.New("gone"), "look:\n    tg ps"), "tg: gone\n  hint: look:\n          tg ps\n", exitFailed},
		{"wrong usage is 2", usagef("what?"), "tg: what?\n", exitUsage},
		{"a status passes on in silence", statusError(7), "", 7},
		{"canceled without Ctrl-C is a failure", context.Canceled, "tg: context canceled\n", exitFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var said strings.Builder
			_, stop := catchInterrupts(t.Context())
			defer stop.release()
			s := &session{term: &ui.Terminal{Err: &said}, stop: stop}
			if got := s.report(tt.err); got != tt.exit {
				t.Errorf("status is %d, want %d", got, tt.exit)
			}
			if diff := cmp.Diff(tt.want, said.String()); diff != "" {
				t.Errorf("said (-want +got):\n%s", diff)
			}
		})
	}
}
