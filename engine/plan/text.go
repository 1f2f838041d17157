package plan

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tengil/tengil/engine"
)

// symbols mark actions in the text, the strongest first: a step shows the
// strongest of its changes.
var symbols = []struct {
	action engine.Action
	symbol string
	verb   string
}{
	{engine.AdoptRefused, "!", "refused"},
	{engine.Replace, "±", "to replace"},
	{engine.Create, "+", "to create"},
	{engine.Remove, "-", "to remove"},
	{engine.Restart, "^", "to restart"},
	{engine.Update, "~", "to update"},
}

func symbolOf(a engine.Action) string {
	for _, s := range symbols {
		if s.action == a {
			return s.symbol
		}
	}
	return "?"
}

// A view is a plan by step, as both forms show it.
type view struct {
	App     string         `json:"app"`
	Host    string         `json:"host"`
	Steps   []*stepView    `json:"steps"`
	Remove  []orphanView   `json:"remove,omitempty"`
	Keep    []orphanView   `json:"keep,omitempty"`
	Outputs []outputView   `json:"outputs,omitempty"`
	Checks  []checkView    `json:"checks,omitempty"`
	Summary map[string]int `json:"summary"`
}

// A checkView is what a check of the whole plan found.
type checkView struct {
	Step    engine.StepID `json:"step"`
	Pos     string        `json:"pos"`
	Text    string        `json:"text"`
	Hint    string        `json:"hint,omitempty"`
	Refuses bool          `json:"refuses,omitempty"` // else it is a warning
}

// An outputView is an output as it is shown: masked where it is secret.
type outputView struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Doc   string `json:"doc,omitempty"`
}

type stepView struct {
	ID      engine.StepID `json:"step"`
	Pos     string        `json:"pos"`
	Action  engine.Action `json:"action,omitempty"` // strongest; "" when nothing is to be done
	Notes   []engine.Note `json:"notes,omitempty"`
	Changes []partChange  `json:"changes,omitempty"`
}

type partChange struct {
	Part string `json:"part,omitempty"`
	engine.Change
}

type orphanView struct {
	Step    engine.StepID `json:"step"`
	What    string        `json:"what"`
	Now     string        `json:"now,omitempty"`
	Loses   string        `json:"loses,omitempty"`
	Refused string        `json:"refused,omitempty"`
	Hint    string        `json:"hint,omitempty"`
}

func viewOfOrphan(o engine.Orphan) orphanView {
	return orphanView{o.Step, o.What, o.Now, o.Loses, o.Refused, o.Hint}
}

// text is "CT 101 (running)".
func (o orphanView) text() string {
	if o.Now == "" {
		return o.What
	}
	return o.What + " (" + o.Now + ")"
}

const unchanged = "unchanged"

func viewOf(p *engine.Plan) *view {
	v := &view{App: p.App.Name, Host: p.Host, Steps: []*stepView{}, Summary: map[string]int{}}
	for _, o := range p.Outputs {
		v.Outputs = append(v.Outputs, outputView{o.Name, o.Value.String(), o.Doc})
	}
	for _, f := range p.Findings {
		v.Checks = append(v.Checks, checkView{f.Step.ID, f.Step.Pos.String(), f.Text, f.Hint, f.Refuses})
	}
	byID := map[engine.StepID]*stepView{}
	for _, n := range p.Nodes {
		s := byID[n.Step.ID]
		if s == nil {
			s = &stepView{ID: n.Step.ID, Pos: n.Step.Pos.String()}
			byID[s.ID] = s
			v.Steps = append(v.Steps, s)
		}
		s.Notes = append(s.Notes, n.Diff.Notes...)
		for _, c := range n.Diff.Changes {
			s.Changes = append(s.Changes, partChange{n.ID.Part(), c})
		}
	}
	for _, s := range v.Steps {
		s.Action = strongest(s.Changes)
		if s.Action == "" {
			v.Summary[unchanged]++
		} else {
			v.Summary[string(s.Action)]++
		}
	}
	for _, o := range p.Orphans {
		if o.Keep {
			v.Keep = append(v.Keep, viewOfOrphan(o))
		} else {
			v.Remove = append(v.Remove, viewOfOrphan(o))
			action := engine.Remove
			if o.Refused != "" {
				action = engine.AdoptRefused
			}
			v.Summary[string(action)]++
		}
	}
	return v
}

func strongest(changes []partChange) engine.Action {
	for _, s := range symbols {
		for _, c := range changes {
			if c.Action == s.action {
				return s.action
			}
		}
	}
	return ""
}

// JSON returns the plan for programs: all steps, those without changes too.
func JSON(p *engine.Plan) ([]byte, error) {
	v := viewOf(p)
	for _, s := range v.Steps {
		for i, c := range s.Changes {
			if !engine.Lasts(c.Seal) {
				s.Changes[i].Seal = ""
			}
		}
	}
	return json.MarshalIndent(v, "", "  ")
}

// Unsealed returns the first change that hides a value and has no seal that a file
// could hold, as "pct_create/web: env.N"; "" if there is none.
func Unsealed(p *engine.Plan) string {
	for _, s := range viewOf(p).Steps {
		for _, c := range s.Changes {
			if !engine.Lasts(c.Seal) {
				return string(s.ID) + ": " + c.Field
			}
		}
	}
	return ""
}

// Text returns the plan as people read it: the steps with something to do, in
// the order of the graph, a line for each change, and a summary. The text is the
// same whenever the plan is.
func Text(p *engine.Plan) string {
	v := viewOf(p)
	var b strings.Builder
	for _, s := range v.Steps {
		if s.Action != "" {
			s.text(&b)
		}
	}
	for _, o := range v.Remove {
		why := "the recipe no longer has it"
		if p.Destroys {
			why = "it belongs to " + v.App
		}
		o.removeText(&b, why)
	}
	for _, o := range v.Keep {
		fmt.Fprintf(&b, "  %s: %s stays: data is removed only by tg destroy --data\n", o.Step, o.text())
	}
	for _, c := range v.Checks {
		word := "warning"
		if c.Refuses {
			word = "refused"
		}
		fmt.Fprintf(&b, "! %s: %s: %s  (%s)\n", word, c.Step, c.Text, c.Pos)
		detail(&b, "hint", c.Hint)
	}
	fmt.Fprintf(&b, "\n%s on %s: %s\n", v.App, v.Host, v.summary())
	if len(v.Outputs) > 0 {
		b.WriteString("outputs:\n")
		for _, o := range v.Outputs {
			fmt.Fprintf(&b, "  %s = %s\n", o.Name, o.Value)
		}
	}
	return strings.TrimPrefix(harmless(b.String()), "\n")
}

func (o orphanView) removeText(b *strings.Builder, why string) {
	symbol := symbolOf(engine.Remove)
	if o.Refused != "" {
		symbol, why = symbolOf(engine.AdoptRefused), o.Refused
	}
	fmt.Fprintf(b, "%s %s: %s\n    %s remove (%s)\n", symbol, o.Step, o.text(), symbol, why)
	detail(b, "loses", o.Loses)
	detail(b, "hint", o.Hint)
}

// detail writes what belongs to the line above.
func detail(b *strings.Builder, label, text string) {
	if text != "" {
		fmt.Fprintf(b, "        %s: %s\n", label, strings.ReplaceAll(text, "\n", "\n          "))
	}
}

func (v *view) summary() string {
	var parts []string
	for _, s := range symbols {
		if n := v.Summary[string(s.action)]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s.verb))
		}
	}
	if n := v.Summary[unchanged]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d unchanged", n))
	}
	if len(parts) == 0 {
		return "nothing there"
	}
	return strings.Join(parts, ", ")
}

func (s *stepView) text(b *strings.Builder) {
	head := symbolOf(s.Action) + " " + string(s.ID)
	if s.Pos != "" {
		head += "  (" + s.Pos + ")"
	}
	b.WriteString(head + "\n")
	for _, n := range s.Notes {
		mark := " "
		if n.Warn {
			mark = "!"
		}
		fmt.Fprintf(b, "    %s %s: %s\n", mark, n.Label, n.Text)
	}
	why := ""
	for _, c := range s.Changes {
		b.WriteString("    " + c.line())
		// A reason is told once for a run of changes that share it.
		if c.Why != why {
			b.WriteString(" (" + c.Why + ")")
		}
		why = c.Why
		b.WriteString("\n")
		detail(b, "loses", c.Loses)
		detail(b, "hint", c.Hint)
	}
}

// line is "~ memory: 512M → 2G", "+ create from …", "- env.TZ: UTC".
func (c partChange) line() string {
	name := c.Field
	switch {
	case name != "":
	case c.Action == engine.AdoptRefused:
		name = actionText(c.Action)
	default:
		name = string(c.Action)
	}
	line := symbolOf(c.Action) + " " + name
	switch {
	case c.From != "" && c.To != "":
		line += ": " + oneLine(c.From) + " → " + oneLine(c.To)
	case c.From != "" && c.Action == engine.Update:
		line += ": " + oneLine(c.From) + " → unset"
	case c.From+c.To != "":
		line += ": " + oneLine(c.From+c.To)
	}
	if c.Restarts {
		line += ", restarts"
	}
	return line
}

// harmless returns text without what misleads its reader, but line ends.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && engine.Misleads(r) {
			return '·'
		}
		return r
	}, s)
}

// oneLine shows text from outside on one line.
func oneLine(s string) string {
	q := strings.ReplaceAll(s, "\n", "·")
	if len(q) > 300 {
		q = q[:297] + "…"
	}
	return q
}
