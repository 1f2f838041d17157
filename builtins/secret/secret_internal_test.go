package secret

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/record"
)

func TestGenerateDrawsEvenly(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	s := spec{length: 248, alphabet: alphabets()["alnum"], random: bytes.NewReader(bytes.Repeat(all, 4))}
	v, err := s.generate()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.alphabet {
		if n := strings.Count(v.Reveal(), string(r)); n != 4 {
			t.Errorf("%q is drawn %d times in 248, wanted 4", r, n)
		}
	}
}

func TestGenerateNeedsItsSource(t *testing.T) {
	s := spec{length: 32, alphabet: "ab", random: strings.NewReader("short")}
	if v, err := s.generate(); err == nil {
		t.Errorf("wanted an error, got a secret of %d characters", len(v.Reveal()))
	}
}

func answers(t *testing.T, files map[string][]byte) *engine.Answers {
	t.Helper()
	return engine.NewAnswers(map[string]engine.Answer{engine.AskGlob(record.PrivGlob("app")).Key(): {Files: files}})
}

func TestExistingSecretIsKept(t *testing.T) {
	s := spec{app: "app", file: record.PrivFile("app", "secret.db"), length: 64, alphabet: "ab"}
	now, err := s.Observe(answers(t, map[string][]byte{s.file: []byte("hunter2hunter2\n")}))
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Diff(now, engine.Inputs{})
	if err != nil || len(d.Changes) > 0 {
		t.Fatalf("wanted no change, got %v, %v", d.Changes, err)
	}
	if got := d.Outputs["value"].Reveal(); got != "hunter2hunter2" {
		t.Errorf("want the secret of the file, got %q", got)
	}
	if text := fmt.Sprintf("%v %+v %q", d, now, d.Outputs["value"]); strings.Contains(text, "hunter2") {
		t.Errorf("the secret shows in %q", text)
	}
}

func TestBrokenSecretIsNotReplaced(t *testing.T) {
	s := spec{app: "app", file: record.PrivFile("app", "secret.db")}
	for _, data := range []string{"", "\n", "two\nlines\n"} {
		if _, err := s.Observe(answers(t, map[string][]byte{s.file: []byte(data)})); err == nil {
			t.Errorf("%q: wanted an error", data)
		}
	}
}
