package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

type eventsFlags struct {
	since    string
	follow   bool
	interval time.Duration
}

func (s *session) eventsCmd() *cobra.Command {
	f := eventsFlags{interval: 5 * time.Second}
	cmd := &cobra.Command{
		Use:   "events [APP]",
		Short: "Show what happened to applications",
		Long: `Show what happened to applications, the oldest first: runs of tg, and what Proxmox
did with their containers, whoever asked for it, as the node's list of tasks tells.
At the end stands what is not as it should be now: a container that does not
run, or is locked.

With --follow, go on until Ctrl-C. Containers that tengil did not make are left out.`,
		Example: `  tg events immich --since 1d
  tg events --follow --output json`,
		Args:              atMost("APP"),
		ValidArgsFunction: s.completeApp,
		RunE: func(cmd *cobra.Command, args []string) error {
			app := ""
			if len(args) > 0 {
				app = args[0]
			}
			return s.events(cmd.Context(), app, f)
		},
	}
	cmd.Flags().StringVar(&f.since, "since", "", "only what is newer: how long ago (2h, 3d), or a day (2026-11-20)")
	cmd.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on until Ctrl-C")
	cmd.Flags().DurationVar(&f.interval, "interval", f.interval, "with --follow: how often the node is asked")
	return cmd
}

// A happening is one line of tg events.
type happening struct {
	Time      time.Time `json:"time"`
	App       string    `json:"app"`
	Container string    `json:"container,omitempty"`
	VMID      int       `json:"vmid,omitempty"`
	What      string    `json:"what"`
	By        string    `json:"by,omitempty"`
	Failed    bool      `json:"failed,omitempty"`
	Error     string    `json:"error,omitempty"`

	key string // the same for what is told twice
}

const (
	eventTasks = 500      // of the node's list
	followTail = 64 << 10 // bytes of the audit log that one interval may add
)

// events shows what happened.
func (s *session) events(ctx context.Context, app string, f eventsFlags) error {
	since, err := parseSince(f.since, time.Now())
	if err != nil {
		return err
	}
	if f.interval < time.Second {
		return usagef("--interval is %s; wanted 1s or more", f.interval)
	}
	host, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer host.Close()
	_, node, err := pct.Look(ctx, host)
	if err != nil {
		return err
	}
	w := eventWatch{session: s, host: host, node: node, app: app, since: since, told: map[string]bool{}, lives: map[string][]life{}}
	all, err := w.poll(ctx, record.AuditTail)
	if err != nil {
		return err
	}
	if app != "" && !w.known {
		return s.noSuchApp(ctx, host, app)
	}
	if !f.follow {
		return w.table(all)
	}
	return w.follow(ctx, all, f.interval)
}

// follow tells all and then what is new, a line each, until it is interrupted.
func (w *eventWatch) follow(ctx context.Context, all []happening, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		for _, h := range all {
			if err := w.line(h); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		var err error
		if all, err = w.poll(ctx, followTail); err != nil {
			return err
		}
	}
}

// An eventWatch asks a node again and again what happened.
type eventWatch struct {
	*session
	host  *node
	node  string
	app   string // "" for all
	since time.Time

	told  map[string]bool   // by key
	lives map[string][]life // of ids, by what the audit log told so far
	known bool              // something of the app was seen
}

// A life is an id of a container from its creation on.
type life struct {
	from           time.Time // by the clock of who ran tg
	app, container string
}

// skew is how far the clocks of a node and of who runs tg may be apart.
const skew = 10 * time.Minute

// poll asks once and returns what was not told before, the oldest first.
func (w *eventWatch) poll(ctx context.Context, tail int) ([]happening, error) {
	tasksAsk := engine.AskRun(pve.TasksArgv(w.node, eventTasks)...)
	answers, err := w.host.Batch(ctx, append(append(pct.GuestAsks(w.node), tasksAsk), record.AuditAsks(tail)...))
	if err != nil {
		return nil, err
	}
	guests, err := pct.GuestsOf(answers, w.node)
	if err != nil {
		return nil, err
	}
	trail, err := record.AuditTrail(answers, tail)
	if err != nil {
		return nil, err
	}
	listed := answers.Get(tasksAsk)
	if listed.Err != nil {
		return nil, fmt.Errorf("list the tasks of %s: %w", w.node, listed.Err)
	}
	tasks, err := pve.ParseTasks(listed.Result.Stdout)
	if err != nil {
		return nil, err
	}
	w.learn(trail)
	all := slices.Concat(w.runs(trail), w.tasks(tasks, guests))
	slices.SortStableFunc(all, func(a, b happening) int { return a.Time.Compare(b.Time) })
	all = append(all, w.states(guests)...)
	return slices.DeleteFunc(all, func(h happening) bool {
		w.known = w.known || h.App == w.app
		if w.app != "" && h.App != w.app || h.Time.Before(w.since) || w.told[h.key] {
			return true
		}
		w.told[h.key] = h.key != ""
		return false
	}), nil
}

// learn notes from the log which ids tengil gave to which containers.
func (w *eventWatch) learn(t record.Trail) {
	for _, l := range t.Lines {
		i := slices.Index(l.Argv, "create")
		if i < 1 || l.Argv[i-1] != "pct" || i+1 == len(l.Argv) {
			continue
		}
		born := life{l.Time, l.App, l.Step.Name()}
		if id := l.Argv[i+1]; !slices.Contains(w.lives[id], born) {
			w.lives[id] = append(w.lives[id], born)
		}
	}
}

// runs returns the runs that the log tells of.
func (w *eventWatch) runs(t record.Trail) []happening {
	var out []happening
	for _, l := range t.Lines {
		stage, who := l.Run()
		if stage == "" {
			continue
		}
		out = append(out, happening{Time: l.Time, App: l.App, What: stage, By: who, Failed: stage == record.RunFails,
			key: "run " + l.App + stage + l.Time.String()})
	}
	return out
}

// tasks returns what Proxmox did with containers of tengil. Ids are used again, so
// a task counts if it happened to the container that has the id now, or to one
// that tengil made at that time.
func (w *eventWatch) tasks(tasks []pve.Task, guests *pct.Guests) []happening {
	var out []happening
	owner := map[int]*life{}
	slices.Reverse(tasks) // times are in whole seconds, so that their order counts
	slices.SortStableFunc(tasks, func(a, b pve.Task) int { return cmp.Or(a.ID-b.ID, a.Start.Compare(b.Start)) })
	last := map[int]int{} // where the present life of an id begins
	for i, t := range tasks {
		if bears(t.Type) {
			last[t.ID] = i
		}
	}
	for i, t := range tasks {
		if bears(t.Type) {
			owner[t.ID] = w.born(t)
		}
		of := owner[t.ID]
		if g := guests.ByID[t.ID]; g != nil && g.Node == w.node && i >= last[t.ID] {
			of = nil
			if g.Mine {
				of = &life{app: g.ID.App, container: g.ID.Name}
			}
		}
		if of == nil || t.End.IsZero() {
			continue
		}
		h := happening{Time: t.End, App: of.app, Container: of.container, VMID: t.ID, What: taskWord(t.Type), By: t.User, Failed: t.Failed(), key: "task " + t.UPID}
		if h.Failed {
			h.Error = t.Status
		}
		out = append(out, h)
	}
	return out
}

// born returns the container that tengil made by a task, which is the one that the
// log tells of nearest in time; nil if it was not tengil.
func (w *eventWatch) born(t pve.Task) *life {
	var nearest *life
	least := skew
	for _, l := range w.lives[strconv.Itoa(t.ID)] {
		if far := l.from.Sub(t.Start).Abs(); far < least {
			nearest, least = &l, far
		}
	}
	return nearest
}

// bears reports whether a task gives an id to a new guest.
func bears(kind string) bool {
	return slices.Contains([]string{"vzcreate", "vzrestore", "vzclone", "qmcreate", "qmrestore", "qmclone"}, kind)
}

// taskWord says what a task did.
func taskWord(kind string) string {
	if word, ok := map[string]string{
		"vzcreate": "create", "vzrestore": "restore", "vzstart": "start", "vzstop": "kill", "vzshutdown": "shut down",
		"vzreboot": "reboot", "vzdestroy": "destroy", "vzclone": "clone", "vzmigrate": "migrate", "vztemplate": "turn into a template",
		"vzsnapshot": "take a snapshot", "vzdelsnapshot": "remove a snapshot", "vzrollback": "roll back",
		"hastart": "ask HA to start", "hastop": "ask HA to stop", "hamigrate": "ask HA to migrate",
	}[kind]; ok {
		return word
	}
	return kind
}

// states returns what is not as it should be at this moment. It is told again once
// it has been otherwise.
func (w *eventWatch) states(guests *pct.Guests) []happening {
	var out []happening
	for _, g := range guests.Mine() {
		if g.Node != w.node {
			continue
		}
		w.known = w.known || g.ID.App == w.app
		lock := g.Config.Get("lock")
		for what, bad := range map[string]bool{"is stopped": !g.Running, "is locked": lock != ""} {
			key := fmt.Sprint("state ", g.VMID, what)
			if !bad {
				delete(w.told, key)
				continue
			}
			h := happening{Time: time.Now(), App: g.ID.App, Container: g.ID.Name, VMID: g.VMID, What: what, Failed: true, key: key}
			if what == "is locked" {
				h.Error = lock
			}
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b happening) int { return cmp.Compare(a.key, b.key) })
	return out
}

func (h happening) cells() []string {
	name := h.App
	if h.Container != "" {
		name += "/" + h.Container
	}
	id, how := "", ""
	if h.VMID != 0 {
		id = strconv.Itoa(h.VMID)
	}
	if h.Failed {
		how = cmp.Or(h.Error, "!")
	}
	return []string{localTime(h.Time), name, id, h.What, h.By, how}
}

func (w *eventWatch) table(all []happening) error {
	if w.json() {
		return w.term.JSON(append([]happening{}, all...))
	}
	if len(all) == 0 {
		w.printf("nothing has happened\n")
		return nil
	}
	rows := make([][]string, len(all))
	for i, h := range all {
		rows[i] = h.cells()
	}
	return w.term.Table([]string{"TIME", "WHAT", "ID", "EVENT", "BY", "PROBLEM"}, rows)
}

// line tells one event of a stream: with --output json, a line of JSON.
func (w *eventWatch) line(h happening) error {
	if w.json() {
		data, err := json.Marshal(h)
		if err != nil {
			return err
		}
		w.printf("%s\n", data)
		return nil
	}
	c := h.cells()
	text := fmt.Sprintf("%s  %s  %s", c[0], c[1], h.What)
	if h.By != "" {
		text += " by " + h.By
	}
	if h.Failed && h.Error != "" {
		text += ": " + h.Error
	}
	if h.Failed {
		text = w.term.Bad(text)
	}
	w.printf("%s\n", text)
	return nil
}
