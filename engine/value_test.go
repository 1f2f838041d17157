package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
)

func inputs(m map[string]engine.Value) engine.Inputs {
	return engine.Inputs{Value: func(r engine.Ref) engine.Value {
		if v, ok := m[r.String()]; ok {
			return v
		}
		return engine.Unknown("after " + r.Node.Part())
	}}
}

func TestTextFillsItsHoles(t *testing.T) {
	address := engine.Hole(engine.Ref{Node: "pct_create/db#start", Output: "address"}, false)
	password := engine.Hole(engine.Ref{Node: "secret/pw", Output: "value"}, true)
	url := engine.Lit("pg://").Append(password).Append(engine.Lit("@")).Append(address)
	for _, c := range []struct {
		name           string
		in             map[string]engine.Value
		shown, reveals string
	}{
		{"nothing is known yet", nil, engine.Masked, ""},
		{"the address is not known yet", map[string]engine.Value{"pw.value": engine.Known("s3cret").Sensitive()}, engine.Masked, ""},
		{"all is known", map[string]engine.Value{"pw.value": engine.Known("s3cret").Sensitive(), "db.address": engine.Known("10.0.0.1")}, engine.Masked, "pg://s3cret@10.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := url.Fill(inputs(c.in))
			if v.String() != c.shown || v.Reveal() != c.reveals {
				t.Errorf("shows %q, reveals %q; want %q and %q", v, v.Reveal(), c.shown, c.reveals)
			}
		})
	}
	if got, want := engine.Lit("http://").Append(address).String(), "http://<db.address>"; got != want {
		t.Errorf("unfilled text is %q, want %q", got, want)
	}
	if v := engine.Lit("x").Append(address).Fill(inputs(nil)); v.String() != "(known after start)" {
		t.Errorf("unknown text shows as %q", v)
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	const text = "hunter2"
	s, v := engine.Secret(text), engine.Known(text).Sensitive()
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s, "v", v)
	js, err := json.Marshal(map[string]any{"s": s, "v": v})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprintf("%v %s %q %#v %+v %x", s, s, s, s, s, s), fmt.Sprint(v), fmt.Sprintf("%s %q %#v %+v", v, v, v, v), fmt.Sprintf("%#v %+v", engine.Outputs{"x": v}, engine.Outputs{"x": v}), log.String(), string(js)} {
		if strings.Contains(shown, text) || strings.Contains(shown, fmt.Sprintf("%x", text)) {
			t.Errorf("the secret shows in %s", shown)
		}
	}
	if s.Reveal() != text || v.Reveal() != text {
		t.Error("Reveal does not return the text")
	}
}

func TestErrorsSayWhereWhatAndWhatToDo(t *testing.T) {
	cause := errors.New("pool \"tank\" does not exist")
	err := &engine.Error{Pos: engine.Pos{File: "lib/x.star", Line: 3, Col: 5}, Via: []engine.Pos{{File: "app.star", Line: 9, Col: 1}},
		Step: "zfs_dataset/tank/media", Err: cause, Hint: "pools: rpool"}
	want := "lib/x.star:3:5: zfs_dataset/tank/media: pool \"tank\" does not exist\n  called from app.star:9:1\n  hint: pools: rpool"
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
}

func TestTheInnermostHintWins(t *testing.T) {
	err := engine.WithHint(fmt.Errorf("outer: %w", engine.WithHint(errors.New("inner"), "do this")), "do that")
	if got := engine.HintOf(err); got != "do this" {
		t.Errorf("hint is %q", got)
	}
}

func TestSizesPrintShortAndExact(t *testing.T) {
	for s, want := range map[engine.Size]string{0: "0", 100: "100", 1536 * engine.MiB: "1536M", 2 * engine.GiB: "2G", engine.TiB: "1T", engine.KiB + 1: "1025"} {
		if s.String() != want {
			t.Errorf("%d prints as %q, want %q", int64(s), s, want)
		}
	}
}

func TestAFailedCommandIsNamedUpToItsFirstOption(t *testing.T) {
	for _, c := range []struct{ argv, want string }{
		{"pct create 101 local:vztmpl/x.tar --memory 512", "pct create 101: exit status 1"},
		{"zfs create -o atime=off tank/a", "zfs create: exit status 1"},
		{"-x y", "-x y: exit status 1"},
		{"true", "true: exit status 1"},
	} {
		if got := (&engine.ExitError{Argv: strings.Fields(c.argv), Exit: 1}).Error(); got != c.want {
			t.Errorf("%s: got %q, want %q", c.argv, got, c.want)
		}
	}
}
