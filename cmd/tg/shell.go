package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/builtins/probe"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

func (s *session) shellCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "shell APP/CONTAINER",
		Short: "Open a shell in a container",
		Long: `Open a shell in a container of an application, as the container's root and with its
environment: /bin/bash where the image has it, else /bin/sh. It needs a terminal;
a script uses tg exec.`,
		Example:           `  tg shell immich/server`,
		Args:              exactly("APP/CONTAINER"),
		ValidArgsFunction: s.completeContainer,
		RunE:              func(cmd *cobra.Command, args []string) error { return s.shell(cmd.Context(), args[0]) },
	}
}

// shell opens a shell in a container.
func (s *session) shell(ctx context.Context, name string) error {
	app, container, err := containerName(name)
	if err != nil {
		return err
	}
	if !s.term.Talks() {
		return usagef("tg shell needs a terminal\n  hint: %s", s.line("exec", name, "--", "/bin/sh", "-c", "COMMAND"))
	}
	host, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer host.Close()
	c, err := s.pickGuest(ctx, host, app, container)
	if err != nil {
		return err
	}
	argv, err := s.shellOf(ctx, host, c)
	if err != nil {
		return err
	}
	return s.talk(ctx, host, c, argv, inside(c, argv...))
}

// shellOf returns the best shell that a container has. TERM is told to it where
// the image has env: pct exec passes no variable of this machine on.
func (s *session) shellOf(ctx context.Context, host engine.Host, c *pct.Guest) ([]string, error) {
	term := "TERM=" + s.getenv("TERM")
	for _, argv := range [][]string{{"env", term, "/bin/bash"}, {"env", term, "/bin/sh"}, {"/bin/bash"}, {"/bin/sh"}} {
		try := engine.Cmd{Argv: probe.ExecArgv(c.VMID, append(argv, "-c", ":")...), ReadOnly: true}
		_, err := host.Run(ctx, try)
		if err == nil {
			return argv, nil
		}
		if err = s.notThere(c, err); err != nil {
			return nil, err
		}
	}
	return nil, engine.WithHint(fmt.Errorf("container %s of %s has no shell: its image holds neither /bin/bash nor /bin/sh", c.ID.Name, c.ID.App),
		"what the application itself does is to be seen with tg exec and the programs that it has")
}

// notThere returns nil for a program that the container does not have, and else
// why it was not reached.
func (s *session) notThere(c *pct.Guest, err error) error {
	var exit *engine.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if err := pve.Explain(err); errors.Is(err, pve.ErrNotRunning) {
		return s.stopped(c)
	} else if errors.Is(err, pve.ErrNoSuchCT) || errors.Is(err, pve.ErrLocked) {
		return err
	}
	return nil
}

// stopped says that nothing can run in a container.
func (s *session) stopped(c *pct.Guest) error {
	name := c.ID.App + "/" + c.ID.Name
	return engine.WithHint(fmt.Errorf("container %s is stopped", name), "to start it:\n    "+s.line("start", name))
}

// talk runs a program in a container on the terminal of the person who called tg.
func (s *session) talk(ctx context.Context, host engine.Host, c *pct.Guest, argv []string, audit *engine.Audit) error {
	handed, done, err := s.term.Talk(s.getenv("TERM"))
	if err != nil {
		return err
	}
	defer done()
	_, err = host.Run(ctx, engine.Cmd{
		Argv: probe.ExecArgv(c.VMID, argv...), Stdin: s.term.In, Stdout: s.term.RawOut(), Terminal: handed,
		Audit: audit,
	})
	return exitOf(err)
}
