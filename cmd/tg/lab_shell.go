package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab"
)

// labShellCmd makes the lab reachable through a real SSH server, whose
// ForceCommand it is.
func (s *session) labShellCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "shell [COMMAND]",
		Short:  "Run one command line on the running lab",
		Long:   "Run one command line on the running lab; without COMMAND, the one in SSH_ORIGINAL_COMMAND.",
		Hidden: true, // it is there for measurements and for a lab behind sshd
		Args:   cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			line := s.getenv("SSH_ORIGINAL_COMMAND")
			if len(args) > 0 {
				line = args[0]
			}
			return s.labShell(cmd.Context(), line)
		},
	}
}

func (s *session) labShell(ctx context.Context, line string) error {
	if line == "" {
		return usagef("nothing to run; wanted COMMAND or SSH_ORIGINAL_COMMAND")
	}
	const hint = "to start the lab:\n    tg lab start"
	status, err := s.runOnLab(ctx, line)
	if err != nil {
		return engine.WithHint(err, hint)
	}
	if status != 0 {
		return statusError(status)
	}
	return nil
}

// runOnLab runs a command line; where OpenSSH's server has started tg, the lab gets
// the files of the session themselves.
func (s *session) runOnLab(ctx context.Context, line string) (int, error) {
	if inner := s.getenv(lab.InnerAddr); inner != "" {
		return lab.Hand(ctx, inner, line, [3]*os.File{os.Stdin, os.Stdout, os.Stderr})
	}
	dir, err := s.labDir()
	if err != nil {
		return 0, err
	}
	at, err := lab.Last(dir) // that it answers shows when it is used
	if err != nil {
		return 0, errors.New("the lab does not run")
	}
	return lab.Shell(ctx, at, line, s.term.In, s.term.RawOut(), s.term.RawErrOut())
}
