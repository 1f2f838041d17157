package lab

import (
	"context"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// A session is one channel of a connection in which one program runs.
type session struct {
	conn *conn
	ch   ssh.Channel
	ctx  context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	tty *tty // nil: no terminal; set before the program starts

	mu     sync.Mutex
	signal string // that the client sent, "TERM"
}

func (c *conn) session(ask ssh.NewChannel) {
	if c.sessions.Add(1) > maxSessions {
		c.sessions.Add(-1)
		_ = ask.Reject(ssh.ConnectionFailed, "open failed") // as OpenSSH words it
		return
	}
	defer c.sessions.Add(-1)
	ch, requests, err := ask.Accept()
	if err != nil {
		return
	}
	c.server.sessions.Add(1)
	defer c.server.sessions.Add(-1)
	ctx, end := context.WithCancel(c.ctx)
	s := &session{conn: c, ch: ch, ctx: ctx, end: end}
	defer s.work.Wait()
	defer end()
	started := false
	for r := range requests { // ends when the client closes the channel
		ok := false
		var then func()
		switch r.Type {
		case "exec":
			var want struct{ Command string }
			if ok = !started && ssh.Unmarshal(r.Payload, &want) == nil; ok {
				started = true
				c.requests.Add(1)
				then = func() { s.work.Go(func() { s.run(want.Command) }) }
			}
		case "signal":
			ok = s.signalled(r.Payload)
		case "pty-req":
			ok = !started && s.openTerminal(r.Payload)
		case "window-change":
			ok = s.tty != nil && s.tty.changed(r.Payload)
		}
		if r.WantReply {
			_ = r.Reply(ok, nil) // the client may be gone
		}
		if then != nil { // only now, since its end closes the channel
			then()
		}
	}
}

// signalled ends the program; the model has no programs that catch a signal.
func (s *session) signalled(payload []byte) bool {
	var want struct{ Name string }
	if ssh.Unmarshal(payload, &want) != nil {
		return false
	}
	s.mu.Lock()
	s.signal = want.Name
	s.mu.Unlock()
	s.end()
	return true
}

// run runs a command line and sends how it ended.
func (s *session) run(command string) {
	c := s.conn
	if !wait(s.ctx, c.latency) {
		return
	}
	out, errs := newOutbox(s.ch, c.node.settle), newOutbox(s.ch.Stderr(), c.node.settle)
	if s.tty != nil {
		out = newOutbox(crlf{s.ch}, c.node.settle)
		errs = out
	}
	in, done, err := s.stdin(out)
	if err != nil {
		c.node.log.Error("pipe for a session", "err", err)
		return
	}
	exit := s.request(command, in, out, errs)
	done()
	out.wait()
	errs.wait()
	c.node.settle()
	c.node.record.flush()
	s.mu.Lock()
	signal := s.signal
	s.mu.Unlock()
	switch {
	case signal != "":
		s.reply("exit-signal", ssh.Marshal(struct {
			Signal     string
			CoreDumped bool
			Message    string
			Lang       string
		}{Signal: signal}))
	case s.ctx.Err() == nil:
		s.reply("exit-status", ssh.Marshal(struct{ Status uint32 }{uint32(exit)}))
	}
	_ = s.ch.Close() // the client may have closed it
}

// request runs a command line with the faults that are set for requests.
func (s *session) request(command string, in io.Reader, out, errs io.Writer) int {
	n := s.conn.node
	f := n.due(s.ctx, Requests, command)
	if f != nil && (f.When == Before || f.spoils()) {
		if exit, ended := n.strike(s.ctx, f, errs); ended {
			return exit
		}
	}
	exit := spoiled(f, out, func(out io.Writer) int {
		return n.shell(s.ctx, shellBash, []string{command}, rootEnv(), rootHome, in, out, errs)
	})
	if f != nil && f.When != Before && !f.spoils() {
		if status, ended := n.strike(s.ctx, f, errs); ended {
			return status
		}
	}
	return exit
}

func (s *session) reply(kind string, payload []byte) {
	if _, err := s.ch.SendRequest(kind, false, payload); err != nil {
		s.conn.node.log.Debug("session reply", "kind", kind, "err", err)
	}
}

// stdin returns what the client sends as a file, which a program's read can be
// called back from, and how to close it. On a terminal it is echoed.
func (s *session) stdin(echo io.Writer) (*os.File, func(), error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	s.work.Go(func() {
		if s.tty != nil { // ends as below
			_ = s.tty.edit(w, s.ch, echo)
		} else {
			_, _ = pour(w, s.ch) // ends with the channel or when the reader is closed
		}
		_ = w.Close()
	})
	return r, func() { _ = r.Close() }, nil
}

// rootHome is where a session starts.
const rootHome = "/root"

// rootEnv is the environment that sshd gives root's programs.
func rootEnv() []string {
	return strings.Split("USER=root LOGNAME=root HOME=/root SHELL=/bin/bash LANG=C.UTF-8 "+
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", " ")
}
