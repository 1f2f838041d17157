package plan_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/plan"
)

func planFile(t *testing.T, p *engine.Plan) []byte {
	t.Helper()
	text, err := plan.JSON(p)
	if err != nil {
		t.Fatal(err)
	}
	data, err := plan.Encode(plan.File{
		Tengil: "v1", Host: plan.FileHost{Name: "pve1", Address: "root@pve1"},
		Recipe:  plan.FileRecipe{Source: "app.star", Name: "app.star", Files: map[string]string{"app.star": "recipe(name = \"app\") # <&>\n"}},
		Options: map[string]string{"pool": "tank"}, Facts: &engine.Facts{Node: "pve1", Memory: engine.GiB}, Plan: text,
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// onePlan is a plan with one step, one thing to remove and one output.
func onePlan(changes []engine.Change, notes []engine.Note, orphans []engine.Orphan, out engine.Value) *engine.Plan {
	n := engine.Node{ID: "k/a#part", Step: engine.Step{ID: "k/a", Pos: engine.Pos{File: "app.star", Line: 1, Col: 1}}}
	return &engine.Plan{
		App: engine.App{Name: "app"}, Host: "pve1",
		Nodes:   []engine.PlanNode{{Node: n, Diff: engine.Diff{Changes: changes, Notes: notes}}},
		Orphans: orphans, Outputs: []engine.PlanOutput{{Name: "url", Value: out}},
	}
}

func TestAPlanFileTellsTheFirstDifference(t *testing.T) {
	memory := engine.Change{Action: engine.Update, Field: "memory", From: "512M", To: "2G", Why: "the recipe says so"}
	note := []engine.Note{{Label: "user", Text: "999"}}
	old := engine.Orphan{Found: engine.Found{App: "app", Step: "k/old", What: "CT 101", Now: "running"}}
	known := engine.Known("http://x")
	planned := onePlan([]engine.Change{memory}, note, []engine.Orphan{old}, known)
	was := memory
	was.From = "768M"
	stopped := old
	stopped.Now = "stopped"
	kept := old
	kept.Keep = true
	for _, tt := range []struct {
		name string
		now  *engine.Plan
		want string
	}{
		{"the same", onePlan([]engine.Change{memory}, note, []engine.Orphan{old}, known), ""},
		{"how it is at the moment does not count", onePlan([]engine.Change{memory}, note, []engine.Orphan{stopped}, known), ""},
		{"done already", onePlan(nil, note, []engine.Orphan{old}, known), "k/a: planned: to update; now: nothing to do"},
		{"another value", onePlan([]engine.Change{was}, note, []engine.Orphan{old}, known),
			"k/a: planned: memory: 512M → 2G (the recipe says so); now: memory: 768M → 2G (the recipe says so)"},
		{"one change more", onePlan([]engine.Change{memory, {Action: engine.Update, Field: "cores", From: "1", To: "2", Why: "x"}}, note, []engine.Orphan{old}, known),
			"k/a: planned: nothing; now: cores: 1 → 2 (x)"},
		{"a stronger action", onePlan([]engine.Change{memory, {Action: engine.Replace, Why: "x"}}, note, []engine.Orphan{old}, known), "k/a: planned: to update; now: to replace"},
		{"another note", onePlan([]engine.Change{memory}, []engine.Note{{Label: "user", Text: "0"}}, []engine.Orphan{old}, known), "k/a: planned: user: 999; now: user: 0"},
		{"what was to go is gone", onePlan([]engine.Change{memory}, note, nil, known), "k/old: CT 101: planned: to remove; now: it is not there"},
		{"what was to go stays", onePlan([]engine.Change{memory}, note, []engine.Orphan{kept}, known), "k/old: CT 101: planned: to remove; now: it stays"},
		{"another output", onePlan([]engine.Change{memory}, note, []engine.Orphan{old}, engine.Unknown("after start")),
			"outputs: planned: url = http://x; now: url = (known after start)"},
		{"no step", &engine.Plan{App: engine.App{Name: "app"}}, "k/a: planned: to update; now: the recipe does not make it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := plan.Decode(planFile(t, planned))
			if err != nil {
				t.Fatal(err)
			}
			got, err := f.Difference(tt.now)
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v\nwant %q", got, err, tt.want)
			}
		})
	}
}

func TestAPlanFileHoldsNoSecret(t *testing.T) {
	p := onePlan([]engine.Change{{Action: engine.Create, To: engine.Known("hunter2").Sensitive().String(), Why: "x"}}, nil, nil, engine.Known("hunter2").Sensitive())
	if data := planFile(t, p); bytes.Contains(data, []byte("hunter2")) {
		t.Errorf("the secret stands in\n%s", data)
	}
}

func TestAPlanFileIsWholeOrRefused(t *testing.T) {
	good := planFile(t, onePlan(nil, nil, nil, engine.Known("x")))
	if _, err := plan.Decode(bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n"))); err != nil {
		t.Errorf("blanks between tokens: %v", err)
	}
	edit := func(old, new string) []byte {
		out := bytes.Replace(good, []byte(old), []byte(new), 1)
		if bytes.Equal(out, good) {
			t.Fatalf("%q is not in the file", old)
		}
		return out
	}
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"cut off", good[:len(good)/2], "the plan is damaged or cut off after "},
		{"another option", edit(`"tank"`, `"rpool"`), "the plan was changed after tg wrote it"},
		{"another plan", edit(`"unchanged": 1`, `"unchanged": 2`), "the plan was changed after tg wrote it"},
		{"another recipe", edit(`# `, `#!`), "the plan was changed after tg wrote it"},
		{"another digest", edit(`"digest": "sha256:`, `"digest": "sha256:0`), "the plan was changed after tg wrote it"},
		{"a field that nothing knows", edit(`"options"`, `"optional"`), "the plan is damaged: "},
		{"newer", edit(`"tengil_plan": 1`, `"tengil_plan": 2`), "the plan has format 2, of tg v1; this tg knows up to 1"},
		{"no format", edit(`"tengil_plan": 1`, `"tengil_plan": 0`), "the plan has format 0; wanted 1"},
		{"more behind it", append(bytes.Clone(good), "{}"...), "the plan is damaged or cut off"},
		{"another JSON", []byte(`{"a": 1}`), "it is no plan of tg plan --out"},
		{"a list", []byte(`[1]`), "it is no plan of tg plan --out"},
		{"no JSON", []byte(`{a`), "it is no plan of tg plan --out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := plan.Decode(tt.data)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if foreign := strings.HasPrefix(tt.want, "it is no"); foreign != errors.Is(err, plan.ErrForeign) {
				t.Errorf("foreign: got %v, want %v", !foreign, foreign)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"tengil_plan": 1, "facts": null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if file, err := plan.Decode(data); err == nil {
			again, err := plan.Encode(*file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := plan.Decode(again); err != nil {
				t.Errorf("written again it is refused: %v", err)
			}
		}
	})
}

// What is hidden makes another plan in the process, and in a file that has seals.
func TestHiddenValuesThatDifferAreADifference(t *testing.T) {
	key := engine.NewSealKey()
	of := func(old string, key []byte) *engine.Plan {
		return onePlan([]engine.Change{{Action: engine.Update, Field: "env.N", From: "(another value)", To: "2", Why: "x", Seal: engine.Seal(key, old, "2")}}, nil, nil, engine.Known(""))
	}
	const differ = "other values that are not shown"
	for name, key := range map[string][]byte{"with a key": key, "without": nil} {
		if d := plan.Difference(of("1", key), of("1", key)); d != "" {
			t.Errorf("%s: of the same: %s", name, d)
		}
		if d := plan.Difference(of("1", key), of("3", key)); !strings.Contains(d, differ) {
			t.Errorf("%s: of another value: %q", name, d)
		}
	}
	open := func(p *engine.Plan) *plan.File {
		f, err := plan.Decode(planFile(t, p))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, tt := range []struct {
		name   string
		file   *plan.File
		now    *engine.Plan
		differ bool
	}{
		{"the same", open(of("1", key)), of("1", key), false},
		{"another value", open(of("1", key)), of("3", key), true},
		{"another key", open(of("1", key)), of("1", engine.NewSealKey()), true},
		{"no key any more", open(of("1", key)), of("1", nil), true},
		{"no key when it was made", open(of("1", nil)), of("1", key), true},
		{"never a key", open(of("1", nil)), of("1", nil), true},
	} {
		d, err := tt.file.Difference(tt.now)
		if err != nil || strings.Contains(d, differ) != tt.differ || !tt.differ && d != "" {
			t.Errorf("file, %s: %q, %v", tt.name, d, err)
		}
	}
	if data := planFile(t, of("1", nil)); bytes.Contains(data, []byte("process:")) {
		t.Errorf("a seal that means nothing is in the file:\n%s", data)
	}
	if got := plan.Unsealed(of("1", key)); got != "" {
		t.Errorf("with a key, %q is unsealed", got)
	}
	if got := plan.Unsealed(of("1", nil)); !strings.HasSuffix(got, ": env.N") {
		t.Errorf("without a key, %q is unsealed", got)
	}
}
