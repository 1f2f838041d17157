package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab"
)

// labStart makes the lab run until it is stopped, in the background, and returns
// when it answers.
func (s *session) labStart(ctx context.Context, f labFlags) error {
	dir, err := s.labDir()
	if err != nil {
		return err
	}
	at, running := lab.Find(dir)
	if running {
		if err := f.fits(dir, at); err != nil {
			return err
		}
		if at.Term == lab.UntilIdle {
			running, err = keepLab(ctx, dir, at.PID)
		}
	}
	if err == nil && !running {
		at, err = s.labSpawn(ctx, dir, f)
	}
	if err == nil {
		err = f.fits(dir, at) // another start may have been faster
	}
	if err != nil {
		return err
	}
	if !at.Real {
		s.notef("%s\n", lab.StandInNotice)
	}
	if s.json() {
		at.Term = lab.UntilStopped
		return s.term.JSON(stateOf(dir, at))
	}
	if running {
		s.printf("lab runs already: Proxmox VE %s, process %d\n", at.PVE, at.PID)
		return nil
	}
	s.printf("lab started: Proxmox VE %s, process %d\n", at.PVE, at.PID)
	s.printf("to use it:\n    export TG_HOST=lab\n")
	return nil
}

// fits refuses a running lab that is another than the flags ask for.
func (f labFlags) fits(dir string, at lab.Endpoint) error {
	switch {
	case f.pve != "" && f.pve != at.PVE:
		return engine.WithHint(fmt.Errorf("the lab in %q is Proxmox VE %s, not %s", dir, at.PVE, f.pve),
			"to make a new one:\n    tg lab stop && tg lab reset && tg lab start --pve "+f.pve)
	case f.gpu != "" && f.gpu != at.GPU:
		return engine.WithHint(fmt.Errorf("the lab in %q has GPU %q, not %q", dir, at.GPU, f.gpu),
			"to make a new one:\n    tg lab stop && tg lab reset && tg lab start --gpu "+f.gpu)
	case f.storage != "" && f.storage != at.Storage:
		return engine.WithHint(fmt.Errorf("the lab in %q has storage %q, not %q", dir, at.Storage, f.storage),
			"to make a new one:\n    tg lab stop && tg lab reset && tg lab start --storage "+f.storage)
	case f.sshd && !at.SSHD:
		return engine.WithHint(fmt.Errorf("the lab in %q runs already, without OpenSSH", dir),
			"to start it again:\n    tg lab stop && tg lab start --sshd")
	case f.real && !at.Real:
		return engine.WithHint(fmt.Errorf("the lab in %q runs already, as a model", dir),
			"to start it again:\n    tg lab stop && tg lab start --real")
	case f.pull && !at.Pull:
		return engine.WithHint(fmt.Errorf("the lab in %q runs already, with stand-in images only", dir),
			"to start it again:\n    tg lab stop && tg lab start --pull")
	}
	return nil
}

func (s *session) labServeCmd() *cobra.Command {
	var f labFlags
	cmd := &cobra.Command{
		Use:    "serve",
		Short:  "Run the lab in this process",
		Hidden: true, // what runs in the background
		Args:   exactly(),
		RunE:   func(cmd *cobra.Command, _ []string) error { return s.labServe(cmd.Context(), f) },
	}
	addLabFlags(cmd, &f)
	cmd.Flags().DurationVar(&f.idle, "idle", 0, "end when nobody has used it for so long")
	return cmd
}

// labServe runs the lab in this process until it is interrupted or, with an idle
// time, nobody uses it. With one, that another process runs it is just as well.
func (s *session) labServe(ctx context.Context, f labFlags) error {
	dir, err := s.labDir()
	if err != nil {
		return err
	}
	f.real = f.real || f.sshd
	real, err := s.labRealOptions(dir, f)
	if err != nil {
		return err
	}
	if f.real && real == nil {
		return s.labEnclose(ctx, dir, f)
	}
	asked, release := catchLabSignals(f.idle)
	defer release()
	term := lab.UntilStopped
	if f.idle > 0 {
		term = lab.UntilIdle
	}
	l, err := lab.Open(ctx, lab.Options{Dir: dir, PVE: f.pve, GPU: f.gpu, Storage: f.storage, Pull: f.pull, Real: real, Term: term, Log: s.log()})
	var used *lab.InUseError
	if errors.As(err, &used) && used.Endpoint.PID != 0 && f.idle > 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(s.tellServing(dir, l.Endpoint()), stayLab(ctx, l, f.idle, asked), l.Close())
}

// tellServing says where the lab that this process runs is.
func (s *session) tellServing(dir string, at lab.Endpoint) error {
	if s.json() {
		return s.term.JSON(stateOf(dir, at))
	}
	s.printf("lab: Proxmox VE %s at %s; Ctrl-C stops it\n", at.PVE, at.Addr)
	return nil
}

// labIdle is how long a lab that a command started stays when nobody uses it.
const labIdle = time.Minute

// askTimeout is how long a lab may take to do what it is asked.
const askTimeout = 2 * time.Second

// A labAsk is what other processes ask of one that runs a lab until it is idle.
type labAsk int

const (
	labLeave labAsk = iota // end as soon as nobody uses the lab, within askTimeout
	labKeep                // stay until stopped
)

// stayLab returns when the lab is to end.
func stayLab(ctx context.Context, l *lab.Lab, idle time.Duration, asked <-chan labAsk) error {
	var look <-chan time.Time
	if idle > 0 {
		tick := time.NewTicker(min(time.Second, idle))
		defer tick.Stop()
		look = tick.C
	}
	var leaveBy time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look:
			if l.Retire(idle) {
				return nil
			}
		case ask := <-asked:
			switch {
			case ask == labKeep:
				look, leaveBy = nil, time.Time{}
				if err := l.Keep(); err != nil {
					return err
				}
			case look != nil: // not if it is to stay
				leaveBy = time.Now().Add(askTimeout)
			}
		case <-l.Left(): // of a command that ended before the lab was asked to, say
		}
		if time.Now().Before(leaveBy) && l.Retire(0) {
			return nil
		}
	}
}
