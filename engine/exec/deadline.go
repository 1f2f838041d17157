package exec

import (
	"context"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/tengil/tengil/engine"
)

// lateTries is how often work is tried that does not end in time. Every Apply may be
// run again after any failure, and what hung once may have hung by chance; but see engine.Lingering.
const lateTries = 2

// defaultDeadlines are documented at Options.
var defaultDeadlines = map[engine.Class]time.Duration{
	engine.Light:     5 * time.Minute,
	engine.Configure: 10 * time.Minute, // a container has a minute to shut down
	engine.Start:     10 * time.Minute, // and so has the one that is replaced; DHCP may take another
	engine.Unpack:    time.Hour,
	engine.Download:  6 * time.Hour,
}

// deadline returns how long one try of j may take.
func (r *run) deadline(j *job) time.Duration {
	class := j.class
	if j.orphan != nil {
		class = engine.Unpack // a root file system is removed as long as it is made
	}
	d, ok := r.opts.Deadlines[class]
	if !ok {
		d = defaultDeadlines[class]
	}
	if j.node != nil {
		if p, ok := j.node.Spec.(engine.Patient); ok {
			d += p.Patience()
		}
	}
	return d
}

// inTime is a try that is ended when its time is up: what runs on the node for it is
// ended too.
func (w worker) inTime(ctx context.Context, n int) (engine.Outputs, error) {
	limit := w.run.deadline(w.job)
	ctx, stop := w.run.opts.Deadline(ctx, limit, &engine.TimeoutError{After: limit})
	defer stop()
	out, err := w.try(ctx, n)
	if err == nil || !engine.TimedOut(ctx) {
		return out, err
	}
	return nil, engine.WithHint(fmt.Errorf("%w, and was ended", &engine.TimeoutError{What: w.late.what(), After: limit}),
		"the node may be overloaded, or a disk or its network stuck; what it says itself:\n    journalctl --since -1h --priority warning\nthen run it again")
}

// late remembers what was under way when the time of a try was up.
type late struct {
	mu   sync.Mutex
	text string
}

func (l *late) see(ctx context.Context, err error, what string) {
	if err == nil || !engine.TimedOut(ctx) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text == "" {
		l.text = what
	}
}

func (l *late) what() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text
	l.text = ""
	if text == "" {
		return "its work"
	}
	return text
}

// named shortens a command for a message: of a unit, what it runs.
func named(argv []string) string {
	if path.Base(argv[0]) == "systemd-run" {
		for i, a := range argv {
			if a == "--" && i+1 < len(argv) {
				argv = argv[i+1:]
				break
			}
		}
	}
	return strings.Join(argv[:min(len(argv), 3)], " ")
}
