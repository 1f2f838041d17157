package sshhost

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tengil/tengil/engine"
)

// maxScript is the longest script that is sent as one string: Linux allows 128
// KiB for one argument (MAX_ARG_STRLEN).
const maxScript = 120 << 10

// A process is a shell that a link started.
type process struct {
	stdin          io.WriteCloser
	stdout, stderr io.Reader
	// wait blocks until the shell has ended or was closed, and reports whether it
	// is known to have ended. It is called once, after the streams have ended.
	wait func() bool
	// resize and status are those of a session with a terminal, which has no stderr.
	// Status is called instead of wait.
	resize func(engine.WindowSize) error
	status func() (status int, ended bool)
	// close ends the session whatever still uses it. It may be called at any time.
	close func()
}

// A job is what one frame does.
type job struct {
	name   string // for messages
	body   string // shell text
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer // gets a copy of what the body says there, may be nil
	audit  *engine.Audit
	mark   mark // newMark() if the body needs it, else ""
}

// A reply is how a job ended, as told by its marks.
type reply struct {
	status int
	stderr []byte
}

// do runs one job. The error is nil if the body ran and ended, whatever its status.
func (h *Host) do(ctx context.Context, j job) (reply, error) {
	if j.mark == "" {
		j.mark = newMark()
	}
	after, err := auditScript(h.auditLog, j.audit)
	if err != nil {
		return reply{}, err
	}
	script := frame(j.mark, j.stdin != nil, j.body, after)
	if len(script) > maxScript {
		return reply{}, fmt.Errorf("%s: command of %d bytes is too long, wanted at most %d", j.name, len(script), maxScript)
	}
	var p *process
	var release func()
	err = h.onConnection(ctx, func(number int) (err error) {
		p, release, err = h.open(ctx, number, script, false)
		return err
	})
	if err != nil {
		return reply{}, err
	}
	return h.follow(ctx, j, p, release)
}

// follow runs the protocol of a frame to its end, and sees to it that release is
// called.
func (h *Host) follow(ctx context.Context, j job, p *process, release func()) (reply, error) {
	var said capture
	live := &until{end: []byte(j.mark.exit()), sink: j.stderr}
	s := &session{
		host: h, p: p, in: newInput(p.stdin),
		out: newStream(j.mark, j.stdout), errs: newStream(j.mark, io.MultiWriter(&said, live)), live: live,
		ends: make(chan struct{}, 2), broken: make(chan error, 2),
	}
	s.read()
	cause := s.await(ctx, j.stdin)
	complete := s.out.ended() && s.errs.ended()
	exited := make(chan bool, 1)
	h.ends.Go(func() {
		defer release()
		h.end(s, complete, exited)
	})

	stderr, status, note, ok := splitExit(j.mark, said.Bytes())
	r := reply{status, stderr}
	switch {
	case cause != nil && !complete:
		return r, fmt.Errorf("%s on %s: %w (not known whether the program has ended)", j.name, h.name, cause)
	case cause != nil:
		return r, fmt.Errorf("%s on %s: %w", j.name, h.name, cause)
	case !complete || !ok:
		return r, h.incomplete(j, s, <-exited)
	}
	if note = strings.TrimSpace(note); note != "" {
		h.log.WarnContext(ctx, "audit log", "cmd", j.name, "err", note)
	}
	return r, nil
}

// incomplete explains a session that ended without its marks.
func (h *Host) incomplete(j job, s *session, exited bool) error {
	if exited && !s.out.started {
		said := strings.TrimSpace(string(s.errs.noise) + "\n" + string(s.out.noise))
		err := fmt.Errorf("%s on %s: the login shell did not run the command, but said %q", j.name, h.name, said)
		return engine.WithHint(err, "the user needs a POSIX login shell, such as bash, and no forced command")
	}
	return engine.Transient(fmt.Errorf("%s on %s: connection lost while it ran", j.name, h.name))
}

// A session is the client's side of one frame.
type session struct {
	host      *Host
	p         *process
	in        *input
	out, errs *stream
	live      *until        // the copy of errs for who watches
	ends      chan struct{} // one for each stream: marked or closed
	broken    chan error    // the sink of a stream failed
}

// read copies both streams until they are closed, which may be long after ends.
func (s *session) read() {
	s.host.wg.Go(func() { s.copy(s.out, &s.out.body, s.p.stdout) })
	s.host.wg.Go(func() { s.copy(s.errs, s.live, s.p.stderr) })
}

// copy feeds one stream; of last, where its output goes in the end, it reports the
// error.
func (s *session) copy(to *stream, last *until, from io.Reader) {
	buf := make([]byte, 32<<10)
	for !to.ended() {
		n, err := from.Read(buf)
		_, _ = to.Write(buf[:n])
		if err != nil {
			to.flush()
			last.flush()
		}
		if last.err != nil {
			select {
			case s.broken <- last.err:
			default:
			}
		}
		if err != nil {
			break
		}
	}
	s.ends <- struct{}{}
	_, _ = io.Copy(io.Discard, from)
}

// await feeds stdin and returns when both streams have ended. The error is why
// the program was made to end, nil if it was not.
func (s *session) await(ctx context.Context, stdin io.Reader) error {
	var fed chan error
	if stdin != nil {
		fed = make(chan error, 1)
		go func() { fed <- s.in.copy(stdin) }() // waited for below, if it does not hang in Read
	}
	var cause error
	var overdue <-chan time.Time
	stop := func(why error) {
		if cause == nil {
			cause = why
			overdue = time.After(s.host.grace)
		}
	}
	begun, done := s.out.begun, ctx.Done()
	for left, stopped := 2, false; left > 0; {
		// Not before the program is there to get the signal: see frame.
		if cause != nil && begun == nil && !stopped {
			stopped = true
			if !s.in.cancel() {
				s.p.close()
			}
		}
		select {
		case <-begun:
			begun = nil
		case <-s.ends:
			left--
		case err := <-s.broken:
			stop(err)
		case err := <-fed:
			fed = nil
			if err != nil {
				stop(err)
			}
		case <-done:
			done = nil
			stop(context.Cause(ctx))
		case <-overdue:
			overdue = nil
			s.p.close()
		}
	}
	if fed != nil {
		s.in.cancelled.Store(cause != nil)
		select {
		case <-fed:
		case <-time.After(100 * time.Millisecond): // in a Read that only its owner can end
		}
	}
	return cause
}

// end lets the remote shell leave, and waits until it has.
func (h *Host) end(s *session, complete bool, exited chan<- bool) {
	const patience = 5 * time.Second
	timer := time.AfterFunc(patience, s.p.close)
	defer timer.Stop()
	if !complete || !s.in.finish(patience) {
		s.in.cancel()
	}
	exited <- s.p.wait()
}
