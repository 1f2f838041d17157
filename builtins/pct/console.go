package pct

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// What an application prints goes to the console of its container, which LXC writes to
// a file for each container name: one that replaces another goes on with its log.

// logsDir is the directory, below the app's, of the logs.
const logsDir = "logs"

// logDir is where the logs of a container are, for root alone.
func logDir(app, name string) string { return record.LocalFile(app, logsDir+"/"+name) }

func logConfAsk(app string) engine.Ask {
	conf, _ := pve.ConsoleConf(logDir(app, "*"))
	return engine.AskGlob(conf)
}

// logField stands for the line of the config that has LXC keep the log.
const logField = "log"

// logKept is the value of that field.
var logKept = fmt.Sprintf("%s at most", pve.ConsoleLogMax)

// isLogLine reports whether a line of a config is that of a log of tengil's.
func isLogLine(kv pve.KV) bool {
	dir := path.Clean(kv.Value)
	app := path.Base(path.Dir(path.Dir(dir)))
	return kv == pve.ConsoleInclude(dir) && dir == logDir(app, path.Base(dir))
}

// logLines are the lines of the config; none where the recipe keeps a log of its own.
func (c *container) logLines() []pve.KV {
	for _, kv := range c.lxc {
		if kv.Key == pve.ConsoleLogFile {
			return nil
		}
	}
	return []pve.KV{pve.ConsoleInclude(logDir(c.app, c.name))}
}

// observeLog reports whether the file is there that the line leads to.
func (c *container) observeLog(a *engine.Answers) (bool, error) {
	files, err := a.Glob(logConfAsk(c.app).Glob())
	name, want := pve.ConsoleConf(logDir(c.app, c.name))
	return string(files[name]) == string(want), err
}

// keepLog writes that file. It comes before the line of the config, and goes without
// harm where a cut leaves it alone.
func (c *container) keepLog(ctx context.Context, h engine.Host) error {
	if c.logConf || len(c.logLines()) == 0 {
		return nil
	}
	name, data := pve.ConsoleConf(logDir(c.app, c.name))
	if err := act.WriteFile(ctx, h, engine.File{Name: name, Data: data, Perm: 0o600}); err != nil {
		return fmt.Errorf("say where the log is kept: %w", err)
	}
	return nil
}

// removeLog removes the logs of a container that has ended. One that is started again
// all the same starts without.
func removeLog(ctx context.Context, h engine.Host, app, name string) error {
	return act.Do(ctx, h, "rm", "-r", "-f", logDir(app, name))
}

// A logMark is how long the log was when this run started the container: what an
// earlier start printed does not explain a failure of this one.
type logMark struct{ size atomic.Int64 }

// markLog notes how long the log is, right before a start.
func (c *container) markLog(ctx context.Context, h engine.Host) error {
	out, err := act.Look(ctx, h, "stat", "-c", "%s", pve.ConsoleLog(logDir(c.app, c.name)))
	if err != nil && !isExit(err) {
		return err
	}
	size, _ := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64) // no file is no size
	c.mark.size.Store(size)
	return nil
}

// How much of a log an error shows.
const (
	shownLines = 20
	shownWidth = 200
	shownBytes = 16 << 10
)

// withLog adds to a failure the last lines that the application has printed since its
// start. Secrets in it are masked by who shows the error.
func (c *container) withLog(ctx context.Context, h engine.Host, err error) error {
	if err == nil || ctx.Err() != nil || errors.Is(err, engine.ErrTransient) {
		return err
	}
	file := pve.ConsoleLog(logDir(c.app, c.name))
	size, end := engine.AskRun("stat", "-c", "%s", file), engine.AskRun("tail", "-c", strconv.Itoa(shownBytes), file)
	a, lookErr := h.Batch(ctx, []engine.Ask{size, end})
	if lookErr != nil || a.Get(end).Err != nil {
		return err // there is no log; what failed is the news
	}
	text, whole := string(a.Get(end).Result.Stdout), false
	total, _ := strconv.ParseInt(strings.TrimSpace(string(a.Get(size).Result.Stdout)), 10, 64)
	if since := total - c.mark.size.Load(); since >= 0 && since <= int64(len(text)) {
		text, whole = text[len(text)-int(since):], true
	}
	lines := pve.ConsoleTail(text, whole || len(text) < shownBytes, shownLines, shownWidth)
	if len(lines) == 0 {
		return err
	}
	return fmt.Errorf("%w; the end of its log:\n    %s", err, strings.Join(lines, "\n    "))
}

// A Log is where the output of a container is.
type Log struct {
	File string
	// Own says that tengil has the log kept, so that there may be an older part of it
	// with .1 after its name.
	Own bool
}

// LogOf returns the log of a container; the error wraps fs.ErrNotExist if its config
// keeps none.
func LogOf(g *Guest) (Log, error) {
	if file := g.Config.RawValue(pve.ConsoleLogFile); file != "" {
		return Log{File: file}, nil
	}
	for _, kv := range g.Config.Raw {
		if isLogLine(kv) {
			return Log{File: pve.ConsoleLog(path.Clean(kv.Value)), Own: true}, nil
		}
	}
	return Log{}, fmt.Errorf("CT %d keeps no log: %w", g.VMID, fs.ErrNotExist)
}
