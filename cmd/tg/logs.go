package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

type logFlags struct {
	follow      bool
	since, tail string
}

func (s *session) logsCmd() *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:        "logs APP[/CONTAINER]",
		SuggestFor: []string{"log", "journal", "output"},
		Short:      "Show what an application prints",
		Long: fmt.Sprintf(`Show what the containers of an application print, each line with the container's
name before it. The node keeps the last %s to %s of each container, over restarts
and updates, for root alone; they go with the container.

Nothing on the node notes when a line was printed. Where the application itself
writes a time into its lines, as most do, lines of several containers are put in
its order, and --since goes by it; a line without one belongs to the line before
it, and a time without a zone is taken as the container's TZ has it, else as UTC.
For an application that writes no times --since is refused, unless all of its
output is older.

With --follow it goes on until Ctrl-C, over restarts of the containers.`, pve.ConsoleLogSize, pve.ConsoleLogMax),
		Example: `  tg logs immich -f
  tg logs immich/db --since 2h
  tg logs immich --tail all -o json`,
		Args:              exactly("APP[/CONTAINER]"),
		ValidArgsFunction: s.completeAppOrContainer,
		RunE:              func(cmd *cobra.Command, args []string) error { return s.logs(cmd.Context(), args[0], f) },
	}
	cmd.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on with what is printed from now on")
	cmd.Flags().StringVar(&f.since, "since", "", "only what is newer: how long ago (2h, 3d), a day (2026-11-20) or a time")
	cmd.Flags().StringVarP(&f.tail, "tail", "n", "", "how many lines of each container, or all; 100 without --since, else all")
	return cmd
}

// defaultTail is how many lines of a container are shown that nobody chose.
const defaultTail = 100

// lines returns how many lines of each container are wanted; below 0 is all.
func (f logFlags) lines() (int, error) {
	switch {
	case f.tail == "" && f.since == "":
		return defaultTail, nil
	case f.tail == "" || f.tail == "all":
		return -1, nil
	}
	n, err := strconv.Atoi(f.tail)
	if err != nil || n < 0 {
		return 0, usagef("--tail is %q; wanted a number of lines, or all", f.tail)
	}
	return n, nil
}

// logs shows what the containers of an app print.
func (s *session) logs(ctx context.Context, name string, f logFlags) error {
	app, container, one := strings.Cut(name, "/")
	if app == "" || one && (container == "" || strings.Contains(container, "/")) {
		return usagef("%q is no application and no container; wanted APP or APP/CONTAINER", name)
	}
	lines, err := f.lines()
	if err != nil {
		return err
	}
	since, err := parseSince(f.since, time.Now())
	if err != nil {
		return err
	}
	host, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { host.Close() }()
	v := &logView{session: s, app: app, zones: map[string]*time.Location{}, guests: map[string]*pct.Guest{}}
	reader, err := v.choose(ctx, host, container)
	if err != nil {
		return err
	}
	want := lines
	if !since.IsZero() {
		want = -1
	}
	texts, err := reader.First(ctx, host, want)
	if err != nil {
		return err
	}
	if texts, err = v.cut(texts, since, lines); err != nil && !f.follow {
		return err
	} else if err != nil {
		s.notef("%v\n", err)
	}
	v.show(texts)
	if !f.follow {
		v.show(reader.Rest())
		return nil
	}
	for s.pause(ctx, pollEvery) {
		texts, err := reader.Next(ctx, host)
		if errors.Is(err, engine.ErrTransient) && ctx.Err() == nil {
			s.notef("%s: %v; connecting again\n", host.Name(), err)
			again, err := s.connect(ctx)
			if err != nil {
				s.pause(ctx, reconnectEvery)
				continue
			}
			host.Close()
			host = again
			continue
		}
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return err
		}
		v.show(texts)
	}
	v.show(reader.Rest())
	return nil // Ctrl-C is how one ends it
}

// How often the node is asked for more, and after which pause it is tried again.
const (
	pollEvery      = 500 * time.Millisecond
	reconnectEvery = 3 * time.Second
)

// pause waits; it reports false if ctx ends first.
func (s *session) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// A logView shows the logs of an app's containers.
type logView struct {
	*session
	app    string
	names  []string // those that are shown
	prefix bool     // lines begin with the container's name
	guests map[string]*pct.Guest
	zones  map[string]*time.Location // of a container; nil where it is not known
}

// choose finds the containers and has a reader for those that keep a log.
func (v *logView) choose(ctx context.Context, host *node, container string) (*pct.LogReader, error) {
	guests, node, err := pct.Look(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, g := range guests.Mine() {
		if g.ID.App != v.app || g.Node != node || container != "" && g.ID.Name != container || v.guests[g.ID.Name] != nil {
			continue
		}
		v.guests[g.ID.Name] = guests.Current(node, v.app, g.ID.Name)
		v.names = append(v.names, g.ID.Name)
	}
	if len(v.names) == 0 && container != "" {
		return nil, v.noSuchContainer(ctx, host, guests, v.app, container)
	}
	if len(v.names) == 0 {
		if err := v.mustHave(ctx, host, v.app, ""); err != nil {
			return nil, err
		}
	}
	v.prefix = container == "" && len(v.names) > 1
	reader := &pct.LogReader{}
	var without []string
	for _, name := range v.names {
		v.zones[name] = zoneOf(v.guests[name].Config)
		l, err := pct.LogOf(v.guests[name])
		if err != nil {
			without = append(without, name)
			continue
		}
		reader.Add(name, l)
	}
	if len(without) == len(v.names) {
		what := "no container of " + v.app + " keeps a log"
		if container != "" {
			what = "container " + v.app + "/" + container + " keeps no log"
		}
		return nil, engine.WithHint(errors.New(what+": an older tg made it"),
			"to have it kept, without a restart:\n    "+v.line("run", "RECIPE")+"\nit begins with the next start:\n    "+v.line("restart", v.app))
	}
	if len(without) > 0 {
		v.notef("left out, as no log is kept until tg run: %s\n", strings.Join(without, ", "))
	}
	return reader, nil
}

// cut leaves out what is older than since, then all but the last lines. The error
// names the containers of which nobody can tell what is newer.
func (v *logView) cut(texts []pct.LogText, since time.Time, lines int) ([]pct.LogText, error) {
	var untold []string
	for i := range texts {
		t := &texts[i]
		if t.Missing {
			v.notKept(t.Container)
		}
		if !since.IsZero() && !v.newer(t, since) {
			untold = append(untold, v.app+"/"+t.Container)
			t.Lines = nil
		}
		if lines >= 0 {
			t.Lines = t.Lines[max(0, len(t.Lines)-lines):]
		}
	}
	if len(untold) == 0 {
		return texts, nil
	}
	err := engine.WithHint(fmt.Errorf("nothing tells what of %s is newer than %s: the application writes no times that tg can read", strings.Join(untold, ", "), localTime(since)),
		"without --since:\n    "+v.line("logs", untold[0], "--tail", "200"))
	if len(untold) < len(texts) {
		v.notef("left out: %v\n", err)
		return texts, nil
	}
	return nil, err
}

// notKept says why there is no log of a container that has one coming.
func (v *logView) notKept(name string) {
	if v.guests[name].Running {
		v.notef("%s/%s: the log begins with its next start: %s\n", v.app, name, v.line("restart", v.app+"/"+name))
	}
}

// newer leaves the lines that are newer; it reports false if nobody can tell.
func (v *logView) newer(t *pct.LogText, since time.Time) bool {
	if len(t.Lines) == 0 {
		return true
	}
	if !t.Written.IsZero() && t.Written.Before(since.Truncate(time.Second)) {
		t.Lines = nil
		return true
	}
	first, told := -1, false
	for i, line := range t.Lines {
		at, ok := timeIn(line, v.zones[t.Container])
		told = told || ok
		if ok && !at.Before(since) {
			first = i
			break
		}
	}
	switch {
	case !told:
		return false
	case first < 0:
		t.Lines = nil
	default:
		t.Lines = t.Lines[first:]
	}
	return true
}

// A logLine is one line, as --output json prints it.
type logLine struct {
	App       string     `json:"app"`
	Container string     `json:"container"`
	Time      *time.Time `json:"time,omitempty"` // as the application wrote it
	Line      string     `json:"line"`

	order time.Time
}

// show prints lines in the order of their times: those of a container stay in their
// own, and where it has told no time yet, before all others.
func (v *logView) show(texts []pct.LogText) {
	var all []logLine
	for _, t := range texts {
		if t.Lost {
			v.notef("%s/%s: lines are missing here: it prints faster than they are read\n", v.app, t.Container)
		}
		var last time.Time
		for _, line := range t.Lines {
			l := logLine{App: v.app, Container: t.Container, Line: line}
			if at, ok := timeIn(line, v.zones[t.Container]); ok {
				l.Time = &at
				if at.After(last) {
					last = at
				}
			}
			l.order = last
			all = append(all, l)
		}
	}
	slices.SortStableFunc(all, func(a, b logLine) int { return a.order.Compare(b.order) })
	for _, l := range all {
		v.print(l)
	}
}

func (v *logView) print(l logLine) {
	switch {
	case v.json():
		// A string has no newline in JSON, so that each line is one value.
		enc := json.NewEncoder(v.term.Out)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(l) // as with printf: who does not read on has what they wanted
	case v.prefix:
		width := 0
		for _, name := range v.names {
			width = max(width, len(name))
		}
		label := fmt.Sprintf("%-*s |", width, l.Container)
		v.printf("%s %s\n", v.term.Label(slices.Index(v.names, l.Container), label), l.Line)
	default:
		v.printf("%s\n", l.Line)
	}
}
