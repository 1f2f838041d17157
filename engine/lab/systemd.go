package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

// A unit is a transient service of systemd. It runs outside the session that
// started it.
type unit struct {
	Name        string   `json:"name"` // with .service
	Argv        []string `json:"argv"`
	Description string   `json:"description"`
	Type        string   `json:"type"`
	Active      string   `json:"active"` // activating, active, failed, inactive
	Sub         string   `json:"sub"`    // start, running, exited, failed, dead
	Result      string   `json:"result"` // success, exit-code, signal
	Status      int      `json:"status"` // ExecMainStatus
	Code        int      `json:"code"`   // ExecMainCode: 1 exited, 2 killed
	PID         int      `json:"pid"`
	Collect     bool     `json:"collect,omitempty"`
	Remain      bool     `json:"remain,omitempty"`

	run *unitRun // nil once it has ended
}

// A unitRun is the running program of a unit.
type unitRun struct {
	end   context.CancelFunc
	done  chan struct{}
	asked bool // stopped by systemctl; guarded by the node's mu
	exit  int  // set before done is closed
}

// A unitOrder is what systemd-run asks for.
type unitOrder struct {
	unit           unit
	env            []string
	dir            string
	stdin          io.Reader
	stdout, stderr unitStream
	privateTmp     bool
}

// A unitStream is where a unit's output goes: a file of the node, the session's
// pipe, or the journal.
type unitStream struct {
	file   string
	append bool
	pipe   io.Writer
}

func systemdPrograms() map[string]program {
	return map[string]program{"systemd-run": systemdRunProgram, "systemctl": systemctlProgram, "journalctl": journalctlProgram}
}

// startUnit starts a unit; msg is what systemd has against it.
func (n *node) startUnit(o unitOrder) (run *unitRun, msg string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state.Units.has(o.unit.Name) {
		return nil, fmt.Sprintf("Failed to start transient service unit: Unit %s was already loaded or has a fragment file.", o.unit.Name)
	}
	u := o.unit
	ctx, end := context.WithCancel(n.life.context())
	u.run = &unitRun{end: end, done: make(chan struct{})}
	u.Result = "success"
	u.Active, u.Sub = "active", "running"
	if u.Type == "oneshot" {
		u.Active, u.Sub = "activating", "start"
	}
	n.state.Units.put(u.Name, &u)
	run = u.run
	n.background.Go(func() { n.runUnit(ctx, &u, o) })
	return run, ""
}

// runUnit runs the program of a unit to its end.
func (n *node) runUnit(ctx context.Context, u *unit, o unitOrder) {
	defer u.run.end()
	removeTmp := func() {}
	if o.privateTmp {
		private, remove, err := n.withPrivateTmp(ctx, u.Name)
		if err != nil {
			n.log.Error("private tmp", "unit", u.Name, "err", err)
			n.endUnit(u, 226, false) // EXIT_NAMESPACE of systemd.exec(5)
			return
		}
		ctx, removeTmp = private, remove
	}
	stdout, closeOut, err := n.openStream(u.Name, o.stdout)
	if err == nil {
		var closeErr func()
		var stderr io.Writer
		if o.stderr == o.stdout {
			stderr, closeErr = stdout, func() {}
		} else {
			stderr, closeErr, err = n.openStream(u.Name, o.stderr)
		}
		if err == nil {
			n.journalStart(u)
			ctx = context.WithValue(ctx, unitKey{}, u.Name)
			exit := n.exec(withPID(ctx, func(pid int) { n.unitPID(u, pid) }), u.Argv, o.env, o.dir, o.stdin, stdout, stderr)
			closeErr()
			closeOut()
			removeTmp()
			n.endUnit(u, exit, exit == exitKilled || ctx.Err() != nil && exit != 255)
			return
		}
		closeOut()
	}
	removeTmp()
	n.log.Debug("unit output", "unit", u.Name, "err", err)
	n.endUnit(u, 209, false) // EXIT_STDOUT of systemd.exec(5)
}

func (n *node) unitPID(u *unit, pid int) {
	n.mu.Lock()
	u.PID = pid
	n.state.Units.note(u.Name)
	n.mu.Unlock()
	n.save()
}

// openStream opens where a unit writes.
func (n *node) openStream(name string, s unitStream) (io.Writer, func(), error) {
	if err := n.mkdirAll(path.Dir(journalFile(name))); err != nil {
		return nil, nil, err
	}
	if s.pipe != nil {
		return s.pipe, func() {}, nil
	}
	file, flag := s.file, os.O_WRONLY|os.O_CREATE
	if file == "" {
		file, s.append = journalFile(name), true
	}
	if s.append {
		flag |= os.O_APPEND
	}
	f, err := n.open(file, flag, 0o644)
	if err != nil {
		return nil, nil, err
	}
	return f, func() { _ = f.Close() }, nil
}

// unitKey is the key of the unit's name in the context of its programs.
type unitKey struct{}

// journalStart notes that a unit starts.
func (n *node) journalStart(u *unit) {
	if u.Type == "oneshot" {
		n.journal(u.Name, "Starting "+u.title()+"...")
		return
	}
	n.journal(u.Name, "Started "+u.title()+".")
}

// title is how systemd calls a unit in its messages.
func (u *unit) title() string { return u.Name + " - " + u.Description }

// journalEnd notes how a unit ended.
func (n *node) journalEnd(u *unit) {
	if u.Result == "success" {
		if u.Type == "oneshot" {
			n.journal(u.Name, "Finished "+u.title()+".")
		} else {
			n.journal(u.Name, u.Name+": Deactivated successfully.")
		}
		return
	}
	how := map[int]string{1: "exited", 2: "killed"}[u.Code]
	n.journal(u.Name, fmt.Sprintf("%s: Main process exited, code=%s, status=%d/%s", u.Name, how, u.Status, statusName(u.Code, u.Status)))
	n.journal(u.Name, fmt.Sprintf("%s: Failed with result '%s'.", u.Name, u.Result))
	if u.Type == "oneshot" {
		n.journal(u.Name, "Failed to start "+u.title()+".")
	}
}

// statusName is how systemd words an exit status or a signal.
func statusName(code, status int) string {
	if code == 2 {
		return map[int]string{9: "KILL", 15: "TERM"}[status]
	}
	switch status {
	case 1:
		return "FAILURE"
	case 2:
		return "INVALIDARGUMENT"
	case 209:
		return "STDOUT"
	case 255:
		return "EXCEPTION"
	}
	return "n/a"
}

// journal adds a line to what the journal has of a unit.
func (n *node) journal(unit, line string) {
	if err := n.appendFile(journalFile(unit), line+"\n"); err != nil {
		n.log.Debug("journal", "unit", unit, "err", err)
	}
}

// journalFile is where the model keeps what a unit wrote to the journal.
func journalFile(name string) string { return "/var/log/journal/" + name }

// endUnit notes how a unit ended; one with --collect, or that succeeded, goes.
func (n *node) endUnit(u *unit, exit int, killed bool) {
	n.mu.Lock()
	run := u.run
	u.run = nil
	u.Status, u.Code, u.PID = exit, 1, 0
	switch {
	case run.asked:
		u.Active, u.Sub, u.Result = "inactive", "dead", "success"
		u.Status, u.Code = 15, 2
	case killed:
		u.Active, u.Sub, u.Result, u.Status, u.Code = "failed", "failed", "signal", 9, 2
	case exit != 0:
		u.Active, u.Sub, u.Result = "failed", "failed", "exit-code"
	case u.Remain:
		u.Active, u.Sub = "active", "exited"
	default:
		u.Active, u.Sub = "inactive", "dead"
	}
	n.state.Units.note(u.Name)
	if u.Active == "inactive" || u.Active == "failed" && u.Collect {
		n.state.Units.drop(u.Name)
	}
	run.exit = exit
	ended := *u
	n.mu.Unlock()
	n.journalEnd(&ended)
	n.save()
	close(run.done)
}

// endUnits drops the units that ran when the lab was closed: their processes
// are gone.
func (n *node) endUnits() {
	for name, u := range n.state.Units.all() {
		if u.Active != "failed" && u.Sub != "exited" {
			n.state.Units.drop(name)
		}
	}
}

// serviceName completes the name of a unit.
func serviceName(name string) string {
	for _, suffix := range []string{".service", ".scope", ".timer", ".socket", ".target", ".mount"} {
		if strings.HasSuffix(name, suffix) {
			return name
		}
	}
	return name + ".service"
}

// systemdRunProgram is systemd-run for services.
func systemdRunProgram(p *proc) int {
	o, argv, err := grammar{
		names: "u: unit: p: property: E: setenv: q quiet G collect wait P pipe no-block r remain-after-exit " +
			"description: working-directory: d same-dir slice: service-type: no-ask-password expand-environment:",
		inOrder: true,
	}.parse(p.argv[1:])
	if err != nil {
		return p.failf(1, "systemd-run: %v", err)
	}
	if len(argv) == 0 {
		return p.failf(1, "Command line to execute required.")
	}
	order, msg := p.order(o, argv)
	if msg != "" {
		return p.failf(1, "%s", msg)
	}
	run, msg := p.node.startUnit(order)
	if msg != "" {
		return p.failf(1, "%s", msg)
	}
	p.node.save()
	if !o.has("q") && !o.has("quiet") {
		p.failf(0, "Running as unit: %s", order.unit.Name)
	}
	if !o.has("wait") && !o.has("P") && !o.has("pipe") {
		return p.untilStarted(order.unit, run, o.has("no-block"))
	}
	if o.has("P") || o.has("pipe") {
		// The unit writes to the session's pipe and dies of it.
		defer context.AfterFunc(p.ctx, run.end)()
	}
	select {
	case <-run.done:
	case <-p.ctx.Done():
		return exitKilled
	}
	return run.exit
}

// untilStarted waits for a oneshot unit, which has started when it has ended.
func (p *proc) untilStarted(u unit, run *unitRun, noBlock bool) int {
	if u.Type != "oneshot" || noBlock {
		return 0
	}
	select {
	case <-run.done:
	case <-p.ctx.Done():
		return exitKilled
	}
	if run.exit != 0 {
		return p.failf(1, "Job for %s failed because the control process exited with error code.\n"+
			"See \"systemctl status %[1]s\" and \"journalctl -xeu %[1]s\" for details.", u.Name)
	}
	return 0
}

// order reads the options of systemd-run.
func (p *proc) order(o options, argv []string) (unitOrder, string) {
	both := func(short, long string) []string { return slices.Concat(o[short], o[long]) }
	order := unitOrder{env: []string{"PATH=" + p.getenv("PATH"), "LANG=C.UTF-8", "HOME=/root", "USER=root"}, dir: "/", stdin: eofReader{}}
	u := &order.unit
	names := both("u", "unit")
	if len(names) == 0 {
		names = []string{fmt.Sprintf("run-p%d-i%d", p.pid, p.pid+1)}
	}
	u.Name = serviceName(names[len(names)-1])
	u.Argv = slices.Clone(argv)
	u.Type = "simple"
	u.Description = "[systemd-run] " + strings.Join(append([]string{locate(argv[0])}, argv[1:]...), " ")
	u.Collect = o.has("G") || o.has("collect")
	u.Remain = o.has("r") || o.has("remain-after-exit")
	if d := o.last("description"); d != "" {
		u.Description = d
	}
	if d := o.last("working-directory"); d != "" {
		order.dir = d
	}
	for _, kv := range both("E", "setenv") {
		if !strings.Contains(kv, "=") {
			kv += "=" + p.getenv(kv)
		}
		order.env = append(order.env, kv)
	}
	if o.has("P") || o.has("pipe") {
		order.stdin, order.stdout.pipe, order.stderr.pipe = p.stdin, p.stdout, p.stderr
	}
	properties := both("p", "property")
	if t := o.last("service-type"); t != "" {
		properties = append(properties, "Type="+t)
	}
	for _, kv := range properties {
		if msg := order.property(kv); msg != "" {
			return order, msg
		}
	}
	if _, ok := p.node.program(argv[0]); !ok {
		return order, fmt.Sprintf("Failed to find executable %s: No such file or directory", argv[0])
	}
	return order, ""
}

// locate returns the path of a program.
func locate(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	if slices.Contains([]string{"pct", "pvesh", "pvesm", "zfs", "zpool"}, name) {
		return "/usr/sbin/" + name
	}
	return "/usr/bin/" + name
}

// property applies one --property.
func (o *unitOrder) property(kv string) string {
	k, v, ok := strings.Cut(kv, "=")
	if !ok {
		return fmt.Sprintf("Not an assignment: %s", kv)
	}
	stream := map[string]*unitStream{"StandardOutput": &o.stdout, "StandardError": &o.stderr}[k]
	switch {
	case stream != nil:
		file, kind := "", ""
		if kind, file, ok = strings.Cut(v, ":"); ok && (kind == "file" || kind == "append" || kind == "truncate") {
			*stream = unitStream{file: file, append: kind == "append"}
		}
	case k == "Type":
		o.unit.Type = v
	case k == "RemainAfterExit":
		o.unit.Remain = v == "yes" || v == "true"
	case k == "CollectMode":
		o.unit.Collect = v == "inactive-or-failed"
	case k == "WorkingDirectory":
		o.dir = v
	case k == "Description":
		o.unit.Description = v
	case k == "Environment":
		o.env = append(o.env, v)
	case k == "PrivateTmp":
		o.privateTmp = v == "yes" || v == "true"
	case k == "StandardInput" && v == "null":
	case slices.Contains([]string{"KillMode", "KillSignal", "TimeoutStopSec", "TimeoutStartSec", "RuntimeMaxSec", "SendSIGKILL",
		"SyslogIdentifier", "UMask", "IPAccounting", "IOAccounting", "Nice", "IOSchedulingClass", "CPUWeight", "IOWeight", "Restart", "OOMPolicy", "Delegate", "LogLevelMax"}, k):
	default:
		return fmt.Sprintf("Unknown assignment: %s", kv)
	}
	return ""
}
