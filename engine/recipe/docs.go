package recipe

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine"
)

// A Doc describes one recipe function, whatever it is.
type Doc struct {
	Name    string
	Section string // "Declarations", "Steps", "Values", "Kinds"
	Doc     string // first sentence is the summary
	Example string
	Params  []engine.Param
	Outputs []engine.Output
	Result  string // the output that a call evaluates to, if not the step
}

// Summary returns the first sentence of Doc.
func (d Doc) Summary() string {
	if i := strings.Index(d.Doc, ". "); i >= 0 {
		return d.Doc[:i+1]
	}
	return d.Doc
}

// Docs describes every recipe function, in reading order: the language's own
// declarations, then steps, values, and what defines further kinds.
func Docs(kinds []engine.Kind, constructors []engine.Constructor) []Doc {
	var docs, defining []Doc
	for _, d := range declarations() {
		doc := Doc{Name: d.Name, Section: or(d.Section, "Declarations"), Doc: d.Doc, Example: d.Example, Params: d.Params}
		if d.Section != "" {
			defining = append(defining, doc)
			continue
		}
		docs = append(docs, doc)
	}
	docs = append(docs, Doc{
		Name: "fail", Section: "Declarations", Example: `fail("choose a pool or a directory, not both")`,
		Doc: "Ends the evaluation with a message, which is shown with the line. Several arguments are joined with blanks.",
	})
	for _, k := range kinds {
		if k.Define == nil {
			docs = append(docs, Doc{k.Name, "Steps", k.Doc, k.Example, k.Params, k.Outputs, k.Result})
		}
	}
	for _, c := range constructors {
		docs = append(docs, Doc{Name: c.Name, Section: "Values", Doc: c.Doc, Example: c.Example, Params: c.Params})
	}
	return append(docs, defining...)
}

// Help returns the description of one recipe function as plain text. An unknown
// name is an error that says which was meant.
func Help(name string, kinds []engine.Kind, constructors []engine.Constructor) (string, error) {
	docs := Docs(kinds, constructors)
	names := make([]string, len(docs))
	for i, d := range docs {
		if names[i] = d.Name; d.Name == name {
			return d.Text(), nil
		}
	}
	if hint := engine.DidYouMean(name, names); hint != "" {
		return "", fmt.Errorf("there is no recipe function %q%s", name, hint)
	}
	return "", fmt.Errorf("there is no recipe function %q; there are %s", name, strings.Join(names, ", "))
}

// ScriptDoc describes a kind that a file defines.
func ScriptDoc(s engine.Script) Doc {
	k := s.Kind()
	return Doc{Name: k.Name, Section: "Steps", Doc: k.Doc, Example: k.Example, Params: k.Params}
}

// Text lays a Doc out for a terminal, 80 columns wide.
func (d Doc) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s", d.signature(), wrap(d.Doc, "  "))
	if d.Example != "" {
		fmt.Fprintf(&b, "\nExample\n%s", indent(d.Example, "  "))
	}
	if len(d.Params) > 0 {
		b.WriteString("\nParameters\n")
	}
	for _, p := range d.Params {
		fmt.Fprintf(&b, "  %s  %s\n%s", p.Name, typeText(p), wrap(p.Doc, "      "))
		if p.Example != "" {
			fmt.Fprintf(&b, "      %s = %s\n", p.Name, p.Example)
		}
	}
	if len(d.Outputs) > 0 {
		b.WriteString("\nReturns\n")
	}
	for _, o := range d.Outputs {
		fmt.Fprintf(&b, "  %s\n%s", d.outputName(o), wrap(o.Doc, "      "))
	}
	return b.String()
}

// signature returns "pct_create(name, image, …)": what must be given.
func (d Doc) signature() string {
	var args []string
	more := false
	for _, p := range d.Params {
		switch {
		case p.Required && p.Position > 0:
			args = append(args, p.Name)
		case p.Required:
			args = append(args, p.Name+" = …")
		default:
			more = true
		}
	}
	if more {
		args = append(args, "…")
	}
	return d.Name + "(" + strings.Join(args, ", ") + ")"
}

func (d Doc) outputName(o engine.Output) string {
	if o.Name == d.Result {
		return "the value itself"
	}
	return "." + o.Name
}

// typeText returns "size, default 512M" or "string, required".
func typeText(p engine.Param) string {
	t := string(p.Type)
	switch p.Type {
	case typeAny, typeRaw:
		t = "any value"
	case engine.TypeObject, engine.TypeStep:
		t = orList(p.Of, t)
	case engine.TypeStepOrString:
		t = "string or " + orList(p.Of, "step")
	case engine.TypeObjects, engine.TypeSteps:
		t = "list of " + orList(p.Of, t)
	case engine.TypeStrings, engine.TypeTexts:
		t = "list of strings"
	case engine.TypeTextMap, engine.TypeMap:
		t = "dict"
	}
	if len(p.Choices) > 0 {
		t += " (" + quotedList(p.Choices) + ")"
	}
	switch {
	case p.Required:
		t += ", required"
	case p.Default != "":
		t += ", default " + p.Default
	}
	return t
}

// Reference writes the reference page of the recipe language as Markdown.
func Reference(w io.Writer, kinds []engine.Kind, constructors []engine.Constructor) error {
	var b strings.Builder
	b.WriteString(referenceIntro)
	docs := Docs(kinds, constructors)
	section := ""
	for _, d := range docs {
		if d.Section != section {
			section = d.Section
			fmt.Fprintf(&b, "\n## %s\n", section)
		}
		d.markdown(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

const referenceIntro = `# Recipe reference

This page is generated from the tables that check the arguments of a recipe; ` + "`tg docs NAME`" + ` prints the same.

A recipe is a Starlark file. Besides the functions below it may use Starlark's own, ` + "`struct`, `json`, `math`" + `
and ` + "`host`" + `, the facts of the node: ` + "`host.node`, `host.arch`, `host.pve`, `host.cores`, `host.memory`, `host.pools`,\n`host.storages`, `host.bridges`, `host.gpus`, `host.default`, `host.packages`" + `. There is no recursion and no ` + "`while`" + `.
` + "`load(\"//lib/x.star\", \"f\")`" + ` takes functions from the recipe's own catalog, ` + "`\"@name//x.star\"`" + ` from another one, any other path is
relative to the file. Passing ` + "`None`" + ` is the same as leaving a parameter out.
`

func (d Doc) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n### %s\n\n%s\n", d.Name, d.Doc)
	if d.Example != "" {
		fmt.Fprintf(b, "\n```python\n%s\n```\n", strings.TrimSpace(d.Example))
	}
	if len(d.Params) > 0 {
		b.WriteString("\n| parameter | type | what it is | example |\n| --- | --- | --- | --- |\n")
	}
	for _, p := range d.Params {
		example := ""
		if p.Example != "" {
			example = "`" + cell(p.Example) + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", p.Name, cell(typeText(p)), cell(p.Doc), example)
	}
	if len(d.Outputs) > 0 {
		b.WriteString("\n| returns | what it is |\n| --- | --- |\n")
	}
	for _, o := range d.Outputs {
		fmt.Fprintf(b, "| `%s` | %s |\n", d.outputName(o), cell(o.Doc))
	}
}

// cell keeps text inside one cell of a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s)
}

func indent(s, by string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(s)) {
		b.WriteString(by + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}

// wrap breaks s into lines of at most 80 columns, indented.
func wrap(s, by string) string {
	var b strings.Builder
	line := by
	for word := range strings.FieldsSeq(s) {
		if len(line) > len(by) && len(line)+1+len(word) > 80 {
			b.WriteString(line + "\n")
			line = by
		}
		if len(line) > len(by) {
			line += " "
		}
		line += word
	}
	if len(line) > len(by) {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// CheckDocs reports what the tables of kinds and constructors leave unsaid:
// functions, parameters and outputs without a Doc, functions without an Example.
func CheckDocs(kinds []engine.Kind, constructors []engine.Constructor) error {
	var errs []error
	for _, d := range Docs(kinds, constructors) {
		if d.Doc == "" || d.Example == "" {
			errs = append(errs, fmt.Errorf("%s needs a Doc and an Example", d.Name))
		}
		for _, p := range d.Params {
			if p.Doc == "" {
				errs = append(errs, fmt.Errorf("%s: parameter %s needs a Doc", d.Name, p.Name))
			}
		}
		if i := slices.IndexFunc(d.Outputs, func(o engine.Output) bool { return o.Doc == "" }); i >= 0 {
			errs = append(errs, fmt.Errorf("%s: output %s needs a Doc", d.Name, d.Outputs[i].Name))
		}
	}
	return errors.Join(errs...)
}
