package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (s *session) manCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:    "man --dir DIR",
		Short:  "Write the manual pages of tg, one for each command",
		Hidden: true, // for who packs tg
		Args:   exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usagef("man needs --dir, where the pages go\n  hint: %s", cmd.UseLine())
			}
			return s.man(cmd.Root(), dir)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "directory for the pages; made if missing")
	return cmd
}

// man writes a page for each command that is no secret and prints their names.
func (s *session) man(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, cmd := range documented(root) {
		name := filepath.Join(dir, manName(cmd)+".1")
		if err := os.WriteFile(name, manPage(cmd), 0o644); err != nil {
			return err
		}
		s.printf("%s\n", filepath.ToSlash(name))
	}
	return nil
}

// documented returns a command and those below it, without hidden ones and those
// that cobra adds.
func documented(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			all = append(all, documented(sub)...)
		}
	}
	return all
}

// manName is "tg-recipes-list".
func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// A roff is a page in the macros of man(7).
type roff struct{ bytes.Buffer }

// roffText keeps text from being taken for a request: a backslash, a dash, which
// would be printed as a hyphen, and a line that begins like one.
var roffText = strings.NewReplacer(`\`, `\e`, "-", `\-`)

// text writes paragraphs. A line that is indented is kept as it is.
func (r *roff) text(s string) {
	kept := false
	for line := range strings.Lines(strings.Trim(s, "\n") + "\n") {
		line = strings.TrimRight(line, "\n")
		switch indented := strings.HasPrefix(line, "  "); {
		case indented && !kept:
			r.WriteString(".PP\n.nf\n")
			kept = true
		case !indented && kept && line != "":
			r.WriteString(".fi\n.PP\n")
			kept = false
		case line == "" && !kept:
			r.WriteString(".PP\n")
			continue
		}
		r.line(line)
	}
	if kept {
		r.WriteString(".fi\n")
	}
}

func (r *roff) line(s string) {
	s = roffText.Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	r.WriteString(s + "\n")
}

func (r *roff) section(title string) { fmt.Fprintf(r, ".SH \"%s\"\n", title) }

// manPage returns the page of a command. It holds no date, so that it is the same
// whenever it is made.
func manPage(cmd *cobra.Command) []byte {
	r := &roff{}
	name := manName(cmd)
	fmt.Fprintf(r, ".TH %s 1 \"\" \"tg %s\" \"tengil\"\n", roffText.Replace(strings.ToUpper(name)), roffText.Replace(readVersion().Version))
	r.section("NAME")
	r.line(name + " - " + cmd.Short)
	r.section("SYNOPSIS")
	r.WriteString(".B ")
	r.line(cmd.UseLine())
	r.section("DESCRIPTION")
	r.text(strings.TrimSuffix(cmp.Or(cmd.Long, cmd.Short+"."), exitText())) // which has a section of its own
	r.flags("OPTIONS", cmd.NonInheritedFlags())
	r.flags("OPTIONS OF ALL COMMANDS", cmd.InheritedFlags())
	if cmd.Example != "" {
		r.section("EXAMPLES")
		r.text(cmd.Example)
	}
	if !cmd.HasParent() {
		r.section("EXIT STATUS")
		for _, e := range exitMeanings {
			fmt.Fprintf(r, ".TP\n.B %d\n", e.status)
			r.line(e.means)
		}
	}
	r.seeAlso(cmd)
	return r.Bytes()
}

func (r *roff) flags(title string, set *pflag.FlagSet) {
	if !set.HasAvailableFlags() {
		return
	}
	r.section(title)
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		if value != "" {
			value = " " + value
		}
		names := "--" + f.Name
		if f.Shorthand != "" {
			names = "-" + f.Shorthand + ", " + names
		}
		fmt.Fprintf(r, ".TP\n.BI \"%s\" \"%s\"\n", roffText.Replace(names), roffText.Replace(value))
		r.line(usage)
	})
}

// seeAlso names the commands above and below.
func (r *roff) seeAlso(cmd *cobra.Command) {
	var names []string
	if cmd.HasParent() {
		names = append(names, manName(cmd.Parent()))
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, manName(sub))
		}
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	r.section("SEE ALSO")
	for i, n := range names {
		comma := ","
		if i == len(names)-1 {
			comma = ""
		}
		fmt.Fprintf(r, ".BR %s (1)%s\n", roffText.Replace(n), comma)
	}
}
