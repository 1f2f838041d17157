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

// labStopTimeout is how long a lab may take to end what runs on it.
const labStopTimeout = 20 * time.Second

func (s *session) labStopCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Stop the lab; keep what is on it",
		Args:  exactly(),
		RunE:  func(cmd *cobra.Command, _ []string) error { return s.labStop(cmd.Context()) },
	}
}

func (s *session) labStop(ctx context.Context) error {
	dir, err := s.labDir()
	if err != nil {
		return err
	}
	at, running := lab.Find(dir)
	if !running {
		if err := labSweep(dir); err != nil {
			return fmt.Errorf("remove what a lab that was killed has left: %w", err)
		}
	}
	if !running && s.json() {
		return s.labStatus()
	}
	if !running {
		s.printf("lab is not running\n")
		return nil
	}
	if at.Term == lab.AsOpener {
		return errLabHeld(at)
	}
	if err := stopProcess(ctx, at.PID); err != nil {
		return fmt.Errorf("stop the lab: %w", err)
	}
	if s.json() {
		return s.labStatus()
	}
	s.printf("lab stopped\n")
	return nil
}

// errLabHeld says that a program which is no "tg lab" runs the lab: to end the
// lab would be to end that.
func errLabHeld(at lab.Endpoint) error {
	return engine.WithHint(fmt.Errorf("process %d runs the lab for itself", at.PID), "the lab ends with that process")
}

func (s *session) labResetCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "reset",
		Short: "Remove the lab and all that is on it",
		Args:  exactly(),
		RunE:  func(cmd *cobra.Command, _ []string) error { return s.labReset(cmd.Context()) },
	}
}

func (s *session) labReset(ctx context.Context) error {
	dir, err := s.labDir()
	if err != nil {
		return err
	}
	if at, running := lab.Find(dir); running && at.Term == lab.UntilIdle {
		if err := leaveLab(ctx, dir, at.PID); err != nil {
			return err
		}
	}
	var used *lab.InUseError
	err = lab.Reset(dir)
	switch {
	case errors.Is(err, lab.ErrNoLab) && s.json():
		return s.labStatus()
	case errors.Is(err, lab.ErrNoLab):
		s.printf("there is no lab in %s\n", dir)
		return nil
	case errors.As(err, &used):
		return errLabRuns(used.Endpoint)
	case err != nil:
		return err
	}
	if s.json() {
		return s.labStatus()
	}
	s.printf("lab removed: %s\n", dir)
	return nil
}

// errLabRuns says that what is asked for needs a lab that does not run.
func errLabRuns(at lab.Endpoint) error {
	switch {
	case at.PID == 0:
		return errors.New("another process starts or ends the lab; try again")
	case at.Term == lab.AsOpener:
		return errLabHeld(at)
	case at.Term == lab.UntilIdle:
		return engine.WithHint(errors.New("another command uses the lab"), "wait for it, or:\n    tg lab stop")
	}
	return engine.WithHint(errors.New("the lab is running"), "tg lab stop")
}

// waitFor asks again and again until done says yes or the time is over.
func waitFor(ctx context.Context, limit time.Duration, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
