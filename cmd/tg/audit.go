package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/record"
)

type auditFlags struct {
	since string
	sh    bool
}

func (s *session) auditCmd() *cobra.Command {
	var f auditFlags
	cmd := &cobra.Command{
		Use:   "audit APP",
		Short: "Show what was run on the node for an application",
		Long: `Show every command that changed the node for an application: when, for which step,
and how it ended. The node keeps the log (` + engine.AuditLog + `); secrets are
masked in it.

With --sh the commands are printed as a script that can be read and run again. A
line that lacks something, since a secret was masked, or a command read what no log
holds, or a file was written, ends the script and says so.`,
		Example: `  tg audit immich --since 2h
  tg audit immich --sh >immich.sh`,
		Args:              exactly("APP"),
		ValidArgsFunction: s.completeApp,
		RunE:              func(cmd *cobra.Command, args []string) error { return s.audit(cmd.Context(), args[0], f) },
	}
	cmd.Flags().StringVar(&f.since, "since", "", "only what is newer: how long ago (2h, 3d), or a day (2026-11-20)")
	cmd.Flags().BoolVar(&f.sh, "sh", false, "print lines for a shell")
	return cmd
}

// audit shows what was run.
func (s *session) audit(ctx context.Context, app string, f auditFlags) error {
	if f.sh && s.json() {
		return usagef("--sh and --output json are two ways to print; wanted one")
	}
	since, err := parseSince(f.since, time.Now())
	if err != nil {
		return err
	}
	host, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer host.Close()
	answers, err := host.Batch(ctx, record.AuditAsks(record.AuditTail))
	if err != nil {
		return err
	}
	trail, err := record.AuditTrail(answers, record.AuditTail)
	if err != nil {
		return err
	}
	lines, err := linesOf(trail, app, host.Name())
	if err != nil {
		return err
	}
	lines = slices.DeleteFunc(lines, func(l record.Audited) bool { return l.Time.Before(since) })
	if trail.Foreign > 0 {
		s.notef("left out: %d lines that are not tengil's, or torn\n", trail.Foreign)
	}
	if trail.Partial {
		s.notef("left out: what is older than the end of the log; all of it is %s on %s\n", engine.AuditLog, host.Name())
	}
	switch {
	case s.json():
		return s.term.JSON(lines)
	case len(lines) == 0:
		s.printf("nothing since %s\n", f.since)
		return nil
	case f.sh:
		s.auditScript(lines)
		return nil
	}
	return s.auditTable(lines)
}

// linesOf returns the lines of one app.
func linesOf(t record.Trail, app, host string) ([]record.Audited, error) {
	lines := []record.Audited{}
	var apps []string
	for _, l := range t.Lines {
		if l.App == app {
			lines = append(lines, l)
		} else if !slices.Contains(apps, l.App) {
			apps = append(apps, l.App)
		}
	}
	if len(lines) > 0 {
		return lines, nil
	}
	return nil, fmt.Errorf("the audit log of %s has nothing of %q%s", host, app, engine.DidYouMean(app, apps))
}

func (s *session) auditTable(lines []record.Audited) error {
	rows := make([][]string, len(lines))
	for i, l := range lines {
		rows[i] = []string{localTime(l.Time), string(l.Step), strconv.Itoa(l.Exit), ui.OneLine(l.Argv)}
	}
	return s.term.Table([]string{"TIME", "STEP", "EXIT", "COMMAND"}, rows)
}

// localTime is a time as people read it, in the zone of this machine.
func localTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// wrote begins the argv of a line that tells of a file that was written, which no
// command did.
const wrote = "write"

func (s *session) auditScript(lines []record.Audited) {
	for _, l := range lines {
		s.printf("# %s %s, exit status %d\n", l.Time.Format(time.RFC3339), strings.Join(strings.Fields(string(l.Step)), " "), l.Exit)
		if l.Argv[0] == wrote {
			s.printf("%s\n", ui.NoReplay(strings.Join(l.Argv[1:], ", ")+": this file was written, and no log holds what"))
			continue
		}
		if l.Stdin {
			s.printf("%s\n", ui.NoReplay(ui.OneLine(l.Argv)+": this read its standard input, and no log holds what"))
			continue
		}
		s.printf("%s\n", ui.Replay(l.Argv))
	}
}

// parseSince reads how long before now, or a point in time; "" is ever since.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", time.DateTime} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	return time.Time{}, &usageError{errors.New("--since is " + strconv.Quote(text) + "; wanted how long ago, as in 2h or 3d, or a day, as in 2026-11-20")}
}
