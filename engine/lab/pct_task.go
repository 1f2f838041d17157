package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A task is a worker process of PVE (fork_worker in RESTEnvironment.pm). What
// ends the command with a signal that it can catch, and the loss of its session,
// interrupts the worker, which cleans up. SIGKILL of the command leaves the
// worker alone with a closed output: it goes on until it prints something.
// SIGKILL of the worker ends it at once.
type task struct {
	node    *node
	unit    string // that the command runs in, "" if none
	upid    string
	kind    string // "vzcreate"
	id      string // what it works on: "100"
	started time.Time
	ctx     *taskContext
	orphan  chan struct{} // closed when the command was killed
	killed  atomic.Bool   // by SIGKILL or by its closed output: it cleans up nothing
	out     io.Writer     // the command's standard output

	mu  sync.Mutex
	log strings.Builder // what it printed
}

// A taskContext ends with the command that waits for the task, unless that one
// was killed, and with the task's own process.
type taskContext struct {
	context.Context // of the task's process
	end             context.CancelFunc
	command         context.Context
	alone           atomic.Bool
}

// Err implements context.Context. A task has heard of the end of its command as
// soon as there is one.
func (t *taskContext) Err() error {
	if !t.alone.Load() && t.command.Err() != nil {
		t.end()
	}
	return t.Context.Err()
}

// worker runs work as a task of a kind ("vzcreate"): all it prints goes to
// standard output, and its failure makes the exit status 255.
func (c *guestCall) worker(kind string, work func() error) error {
	p := c.proc
	t, pid := newTask(p, kind, strconv.Itoa(c.id))
	if pid == 0 {
		return &endedError{exitKilled}
	}
	defer context.AfterFunc(p.ctx, func() { _ = t.ctx.Err() })()
	if command := p.node.pids.find(p.pid); command != nil {
		command.onKill(sync.OnceFunc(func() { t.ctx.alone.Store(true); close(t.orphan) }))
		defer command.onKill(nil)
	}
	p.caught, c.worked = true, true
	w := *p
	w.ctx, w.pid, w.stdout, w.stderr = t.ctx, pid, t, t
	c.proc, c.warn, c.task = &w, t, t
	err := error(&endedError{255}) // if its output was closed
	done := make(chan struct{})
	p.node.background.Go(func() {
		defer close(done)
		defer t.ctx.end()
		defer p.node.pids.remove(pid)
		err = work()
		t.finish(err)
	})
	select {
	case <-done:
	case <-t.orphan:
		p.fault = nil
		return &endedError{exitKilled}
	}
	p.fault, c.proc, c.warn = w.fault, p, p.stdout
	var die *cliError
	switch {
	case errors.As(err, &die):
		return &cliError{255, die.text}
	case t.killed.Load():
		return &endedError{255}
	}
	return err
}

// newTask returns a task for the command p and its process's number, which is 0
// if there is no power to run it.
func newTask(p *proc, kind, id string) (*task, int) {
	ctx, end := context.WithCancel(context.WithoutCancel(p.ctx))
	context.AfterFunc(p.node.life.context(), end)
	t := &task{
		node: p.node, kind: kind, id: id, started: time.Now(), orphan: make(chan struct{}), out: p.stdout,
		ctx: &taskContext{Context: ctx, end: end, command: p.ctx},
	}
	t.unit, _ = p.ctx.Value(unitKey{}).(string)
	self := &process{group: groupOf(p.ctx), dir: p.dir, end: end}
	self.onKill(func() { t.killed.Store(true); end() })
	pid := p.node.pids.start(self)
	now := t.started.UnixMilli() / 10 // a node counts from its boot, in the same ticks
	t.upid = fmt.Sprintf("UPID:%s:%08X:%08X:%08X:%s:%s:root@pam:", p.node.name, pid, now&0xffffffff, t.started.Unix(), kind, id)
	p.node.pids.name(pid, "task "+t.upid)
	t.syslog("starting task " + t.upid)
	return t, pid
}

// fork shows a second process of the task, such as the one that unpacks in a user
// namespace, until what it returns is called.
func (t *task) fork() (end func()) {
	pid := t.node.pids.start(&process{dir: "/", args: "task " + t.upid, end: func() { t.killed.Store(true); t.ctx.end() }})
	return func() { t.node.pids.remove(pid) }
}

// Write prints to the command's standard output, and ends a task whose command
// is gone.
func (t *task) Write(b []byte) (int, error) {
	if t.ctx.alone.Load() {
		t.killed.Store(true)
		runtime.Goexit()
	}
	t.mu.Lock()
	t.log.Write(b)
	t.mu.Unlock()
	return t.out.Write(b)
}

// finish logs how the task ended.
func (t *task) finish(err error) {
	if t.killed.Load() {
		return
	}
	status, last := "OK", "TASK OK"
	if err != nil {
		status = strings.TrimRight(err.Error(), "\n")
		last = "TASK ERROR: " + status
	}
	t.mu.Lock()
	log := t.log.String()
	t.mu.Unlock()
	n := t.node
	ended := fmt.Sprintf("%s %08X %s\n", t.upid, time.Now().Unix(), strings.ReplaceAll(status, "\n", " "))
	if err := errors.Join(
		n.writeFile(taskLog(t.upid), []byte(log+last+"\n"), 0o640),
		n.appendFile(taskIndex, ended),
	); err != nil {
		n.log.Debug("log of a task", "upid", t.upid, "err", err)
	}
	t.syslog("end task " + t.upid + " " + status)
}

// syslog notes a line in the journal of the unit that the command runs in.
func (t *task) syslog(line string) {
	if t.unit != "" {
		t.node.journal(t.unit, "<root@pam> "+line)
	}
}

// taskIndex lists the tasks that have ended, one a line: UPID, end, status.
const taskIndex = "/var/log/pve/tasks/index"

// taskLog is the file with a task's output, in a directory named by the last
// digit of its start.
func taskLog(upid string) string {
	parts := strings.Split(upid, ":")
	start := parts[min(4, len(parts)-1)]
	return path.Join("/var/log/pve/tasks", start[max(len(start)-1, 0):], upid)
}

// appendFile appends a line to a file of the node.
func (n *node) appendFile(name, line string) error {
	f, err := n.open(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, line)
	return errors.Join(err, f.Close())
}
