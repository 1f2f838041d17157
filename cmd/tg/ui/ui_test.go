package ui

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
)

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", 90 * time.Second: "1m", 47 * time.Hour: "47h", 60 * time.Hour: "2d",
	} {
		if got := Age(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}

func TestBytesAndTook(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1024: "1.0K", 21 << 20: "21M", 1288490188: "1.2G", 5 << 50: "5120T"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		400 * time.Millisecond: "0.4s", 34 * time.Second: "34s", 124 * time.Second: "2m04s", 62 * time.Minute: "1h02m",
	} {
		if got := Took(d); got != want {
			t.Errorf("Took(%d) = %q, want %q", d, got, want)
		}
	}
}

func TestPlanIsColouredByItsSymbols(t *testing.T) {
	text := "immich on lab\n  + pct_create/db\n      memory  2G\n  ! zfs_dataset/tank/db\n\n1 to create\n"
	var out strings.Builder
	(&Terminal{Out: &out}).Plan(text)
	if out.String() != text {
		t.Errorf("without colours the text is changed: %q", out.String())
	}
	out.Reset()
	(&Terminal{Out: &out, Color: true}).Plan(text)
	want := "immich on lab\n\x1b[32m  + pct_create/db\x1b[0m\n      memory  2G\n\x1b[31m  ! zfs_dataset/tank/db\x1b[0m\n\n1 to create\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("coloured plan (-want +got):\n%s", diff)
	}
}

func TestQuestions(t *testing.T) {
	var said strings.Builder
	term := &Terminal{In: strings.NewReader("yes\n\nimmich\nrest"), Prompt: &said}
	ctx := t.Context()
	if ok, err := term.Confirm(ctx, "Apply?"); !ok || err != nil {
		t.Errorf("answer yes: got %v, %v", ok, err)
	}
	if ok, err := term.Confirm(ctx, "Apply?"); ok || err != nil {
		t.Errorf("empty answer: got %v, %v; want no", ok, err)
	}
	if got, err := term.Ask(ctx, "Name:"); got != "immich" || err != nil {
		t.Errorf("got %q, %v; want immich", got, err)
	}
	if got, err := term.Ask(ctx, "Name:"); got != "rest" || err != nil {
		t.Errorf("last line without newline: got %q, %v", got, err)
	}
	if _, err := term.Ask(ctx, "Name:"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("end of input: got %v", err)
	}
	if want := "Apply? [y/N] Apply? [y/N] Name: Name: Name: \n"; said.String() != want {
		t.Errorf("said %q, want %q", said.String(), want)
	}
}

func TestQuestionsWhenNobodyAnswers(t *testing.T) {
	if _, err := (&Terminal{}).Confirm(t.Context(), "Apply?"); !errors.Is(err, ErrNobody) {
		t.Errorf("not on a terminal: got %v, want ErrNobody", err)
	}
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	term := &Terminal{In: r, Prompt: io.Discard}
	if _, err := term.Ask(ctx, "Name:"); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: got %v, want context.Canceled", err)
	}
}

func TestOutputsEndWithTheURL(t *testing.T) {
	var out strings.Builder
	(&Terminal{Out: &out}).Outputs([]engine.PlanOutput{
		{Name: "url", Value: engine.Known("http://10.0.0.5:2283")},
		{Name: "password", Value: engine.Known("x").Sensitive(), Doc: "of the first user"},
	})
	want := "\n  password  ***  of the first user\n  url       http://10.0.0.5:2283\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
}

func TestFailureShowsTheWholeCommand(t *testing.T) {
	var out strings.Builder
	err := &engine.Error{
		Pos: engine.Pos{File: "m.star", Line: 9, Col: 11}, Step: "pct_create/media",
		Err:  &engine.ExitError{Argv: []string{"pct", "set", "204", "--mp0", "/tank/a b,mp=/data"}, Exit: 255, Stderr: []byte("no such\ncontainer\n")},
		Hint: "run tg plan again",
	}
	(&Terminal{Err: &out}).Failure(err)
	want := `m.star:9:11: pct_create/media: pct set 204: exit status 255: no such
    container
  hint: run tg plan again
  command: pct set 204 --mp0 '/tank/a b,mp=/data'
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("failure (-want +got):\n%s", diff)
	}
}
