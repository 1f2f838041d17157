package record_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/record"
)

func answers(glob string, files ...engine.File) *engine.Answers {
	m := map[string][]byte{}
	for _, f := range files {
		m[f.Name] = f.Data
	}
	return engine.NewAnswers(map[string]engine.Answer{engine.AskGlob(glob).Key(): {Files: m}})
}

func TestRecordComesBackFromTheNode(t *testing.T) {
	want := record.Record{App: "immich", Source: "immich.star", Digest: "sha256:1", Options: map[string]string{"pool": "tank"}, Updated: time.Unix(1e9, 0).UTC(), Format: record.Format}
	got, err := record.Read(answers(record.PrivGlob("immich"), want.File()), "immich")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := record.Read(answers(record.PrivGlob("none")), "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of an app that is not there: %v", err)
	}
}

func TestOneBadRecordDoesNotHideTheOthers(t *testing.T) {
	good := record.Record{App: "a"}.File()
	bad := engine.File{Name: record.PrivFile("b", "record.json"), Data: []byte("{")}
	newer := engine.File{Name: record.PrivFile("c", "record.json"), Data: []byte(`{"format": 99}`)}
	all, err := record.All(answers(record.AllGlob(), good, bad, newer))
	if len(all) != 1 || all["a"].App != "a" {
		t.Errorf("records: %v", all)
	}
	if err == nil || !strings.Contains(err.Error(), "format 99; this tg knows up to 1") || !strings.Contains(err.Error(), bad.Name) {
		t.Errorf("error is %v", err)
	}
}

func TestIntentsAreReadByStep(t *testing.T) {
	i := record.Intent{Step: "pct_create/db", VMID: 101, Archive: "local:vztmpl/x.tar", Unit: "tengil-a-create.db.service", Format: record.Format}
	got, err := record.Intents(answers(record.PrivGlob("a"), record.IntentFile("a", i), record.Record{App: "a"}.File()), "a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[engine.StepID]record.Intent{"pct_create/db": i}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestIdentityIsTheLastLineOfTheDescription(t *testing.T) {
	want := record.Identity{Format: record.Format, App: "immich", Name: "db", Recipe: "sha256:r", Image: "x@sha256:i"}
	text := record.Description("db of immich\nmade by tengil", want)
	for _, c := range []struct {
		name, text string
		ok, bad    bool
	}{
		{"as written", text, true, false},
		{"as Proxmox returns it, with a newline more", text + "\n", true, false},
		{"somebody's own text", "my container\n", false, false},
		{"no description", "", false, false},
		{"a note below it", text + "\nnote", true, false},
		{"a damaged line", strings.TrimSuffix(text, `"}`), true, true},
		{"a newer format", `{"tengil":99}`, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, ok, err := record.ParseDescription(c.text)
			if ok != c.ok || (err != nil) != c.bad {
				t.Fatalf("ok %v, error %v", ok, err)
			}
			if ok && !c.bad && id != want {
				t.Errorf("identity is %+v", id)
			}
		})
	}
}

func TestFileNamesOfDifferentTextsDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, s := range []string{"a/b", "a_b", "a_2fb", "a b", "a.b", "A/b", "../x", "ä"} {
		name := record.FileName(s)
		if strings.ContainsAny(name, "/ ") || seen[name] != "" {
			t.Errorf("%q becomes %q, as does %q", s, name, seen[name])
		}
		seen[name] = s
	}
}
