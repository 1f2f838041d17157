package plan

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tengil/tengil/engine"
)

// Difference compares a plan with one made later. It returns "" if both would do
// the same, else the first difference in words: the step, the field, what was
// planned and what would be done now. How what is removed is at the moment, its
// size for example, does not count, and no warning does.
func Difference(planned, now *engine.Plan) string { return difference(viewOf(planned), viewOf(now)) }

// Difference compares the plan of the file with one made now.
func (f *File) Difference(now *engine.Plan) (string, error) {
	var planned view
	if err := json.Unmarshal(f.Plan, &planned); err != nil {
		return "", fmt.Errorf("the plan is damaged: %w", err)
	}
	return difference(&planned, viewOf(now)), nil
}

func difference(a, b *view) string {
	if a.App != b.App {
		return differs("the application", a.App, b.App)
	}
	for _, find := range []func(a, b *view) string{stepDifference, orphanDifference, outputDifference, checkDifference} {
		if d := find(a, b); d != "" {
			return d
		}
	}
	return ""
}

// differs is "pct_create/web: memory: planned 512M → 1G, now 768M → 1G".
func differs(what, planned, now string) string {
	return fmt.Sprintf("%s: planned: %s; now: %s", what, orNothing(planned), orNothing(now))
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

func stepDifference(a, b *view) string {
	now := map[engine.StepID]*stepView{}
	for _, s := range b.Steps {
		now[s.ID] = s
	}
	for _, s := range a.Steps {
		other, ok := now[s.ID]
		if !ok {
			return differs(string(s.ID), actionText(s.Action), "the recipe does not make it")
		}
		if d := s.difference(other); d != "" {
			return d
		}
		delete(now, s.ID)
	}
	for _, s := range b.Steps {
		if now[s.ID] != nil {
			return differs(string(s.ID), "", actionText(s.Action))
		}
	}
	return ""
}

func actionText(a engine.Action) string {
	for _, s := range symbols {
		if s.action == a {
			return s.verb
		}
	}
	return "nothing to do"
}

// changeKey tells which change of a step is which.
type changeKey struct {
	part, field string
	action      engine.Action
}

func (c partChange) key() changeKey { return changeKey{c.Part, c.Field, c.Action} }

// text is all of a change that a reader of the plan sees.
func (c partChange) text() string {
	text := strings.TrimPrefix(c.line(), symbolOf(c.Action)+" ")
	for _, more := range []string{c.Why, c.Loses, c.Hint} {
		if more != "" {
			text += " (" + more + ")"
		}
	}
	return text
}

func (s *stepView) difference(now *stepView) string {
	id := string(s.ID)
	if s.Action != now.Action {
		return differs(id, actionText(s.Action), actionText(now.Action))
	}
	have := map[changeKey]partChange{}
	for _, c := range now.Changes {
		have[c.key()] = c
	}
	for _, c := range s.Changes {
		other, ok := have[c.key()]
		switch {
		case !ok:
			return differs(id, c.text(), "")
		case other.Seal != c.Seal && other.text() == c.text():
			return differs(id, c.text(), "the same, of other values that are not shown")
		case other != c:
			return differs(id, c.text(), other.text())
		}
		delete(have, c.key())
	}
	for _, c := range now.Changes {
		if _, more := have[c.key()]; more {
			return differs(id, "", c.text())
		}
	}
	for i := range max(len(s.Notes), len(now.Notes)) {
		if d := noteText(s.Notes, i); d != noteText(now.Notes, i) {
			return differs(id, d, noteText(now.Notes, i))
		}
	}
	if s.Pos != now.Pos {
		return differs(id, s.Pos, now.Pos)
	}
	return ""
}

func noteText(notes []engine.Note, i int) string {
	if i >= len(notes) {
		return ""
	}
	return notes[i].Label + ": " + notes[i].Text
}

// orphanDifference compares what is removed and what is kept.
func orphanDifference(a, b *view) string {
	type fate struct {
		orphanView
		keep bool
	}
	fates := func(v *view) map[string]fate {
		all := map[string]fate{}
		for _, o := range v.Remove {
			all[string(o.Step)+" "+o.What] = fate{o, false}
		}
		for _, o := range v.Keep {
			all[string(o.Step)+" "+o.What] = fate{o, true}
		}
		return all
	}
	text := func(f fate, there bool) string {
		switch {
		case !there:
			return "it is not there"
		case f.keep:
			return "it stays"
		case f.Refused != "":
			return "it cannot be removed: " + f.Refused
		case f.Loses != "":
			return "to remove, which loses " + f.Loses
		}
		return "to remove"
	}
	was, is := fates(a), fates(b)
	for _, v := range []*view{a, b} {
		for _, o := range append(v.Remove[:len(v.Remove):len(v.Remove)], v.Keep...) {
			key := string(o.Step) + " " + o.What
			f, planned := was[key]
			g, now := is[key]
			if x, y := text(f, planned), text(g, now); x != y {
				return differs(string(o.Step)+": "+o.What, x, y)
			}
		}
	}
	return ""
}

func outputDifference(a, b *view) string {
	value := func(v *view, i int) string {
		if i >= len(v.Outputs) {
			return ""
		}
		return v.Outputs[i].Name + " = " + v.Outputs[i].Value
	}
	for i := range max(len(a.Outputs), len(b.Outputs)) {
		if x, y := value(a, i), value(b, i); x != y {
			return differs("outputs", x, y)
		}
	}
	return ""
}

// checkDifference finds what is refused now and was not when the plan was made.
func checkDifference(a, b *view) string {
	refused := map[engine.StepID]bool{}
	for _, c := range a.Checks {
		refused[c.Step] = refused[c.Step] || c.Refuses
	}
	for _, c := range b.Checks {
		if c.Refuses && !refused[c.Step] {
			return differs(string(c.Step), "room for it", c.Text)
		}
	}
	return ""
}
