package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/builtins/probe"
	"github.com/tengil/tengil/engine"
)

func (s *session) execCmd() *cobra.Command {
	var tty bool
	cmd := &cobra.Command{
		Use:        "exec APP/CONTAINER -- COMMAND…",
		SuggestFor: []string{"ssh", "attach"},
		Short:      "Run a command in a container",
		Long: `Run a command in a container of an application, as the container's root and with
its environment. Standard input, what the command prints and its exit status are
passed on; in a loop that reads its own input, give tg </dev/null.

Called from a terminal, with its input and output not redirected, the command gets
one too; --tty=false keeps it from that.`,
		Example: `  tg exec immich/db -- psql -U postgres -c 'select 1'
  tg exec immich/db -- psql -U postgres immich <dump.sql`,
		Args: func(cmd *cobra.Command, args []string) error {
			if rest := command(args); len(rest) == 0 {
				return exactly("APP/CONTAINER", "COMMAND")(cmd, args[:min(1, len(args))])
			}
			return nil
		},
		ValidArgsFunction: s.completeContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			var wanted *bool
			if cmd.Flags().Changed("tty") {
				wanted = &tty
			}
			return s.exec(cmd.Context(), args[0], command(args), wanted)
		},
	}
	cmd.Flags().BoolVarP(&tty, "tty", "t", false, "give the command a terminal; the default where tg has one")
	cmd.Flags().SetInterspersed(false) // flags after the container are the command's
	return cmd
}

// command returns what follows the container; a -- between them may be left out.
func command(args []string) []string {
	switch {
	case len(args) < 2:
		return nil
	case args[1] == "--":
		return args[2:]
	}
	return args[1:]
}

// exec runs a command in a container: on a terminal where there is one, or where tty
// is given, as it says.
func (s *session) exec(ctx context.Context, name string, argv []string, tty *bool) error {
	app, container, err := containerName(name)
	if err != nil {
		return err
	}
	onTerminal := s.term.Talks()
	if tty != nil {
		if *tty && !onTerminal {
			return usagef("--tty needs a terminal on standard input and output")
		}
		onTerminal = *tty
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
	if !c.Running {
		return s.stopped(c)
	}
	// Arguments are left out of the log: people type passwords there, and nothing
	// tells which they are.
	audit := inside(c, argv...)
	if len(argv) > 1 {
		audit = inside(c, argv[0], engine.Masked)
	}
	if onTerminal {
		return s.talk(ctx, host, c, argv, audit)
	}
	_, err = host.Run(ctx, engine.Cmd{
		Argv:   probe.ExecArgv(c.VMID, argv...),
		Stdin:  s.term.In,
		Stdout: s.term.RawOut(),
		Stderr: s.term.RawErrOut(),
		Audit:  audit,
	})
	return exitOf(err)
}

// containerName parts APP/CONTAINER.
func containerName(name string) (app, container string, err error) {
	app, container, ok := strings.Cut(name, "/")
	if !ok || app == "" || container == "" {
		return "", "", usagef("%q is no container; wanted APP/CONTAINER, as in immich/db", name)
	}
	return app, container, nil
}

// exitOf passes on the status of a program that ran.
func exitOf(err error) error {
	var exit *engine.ExitError
	if errors.As(err, &exit) {
		return statusError(exit.Exit)
	}
	return err
}

// inside is the audit line of what somebody runs in a container.
func inside(c *pct.Guest, argv ...string) *engine.Audit {
	return &engine.Audit{Time: time.Now().UTC(), App: c.ID.App, Step: engine.StepID("pct_create/" + c.ID.Name), Argv: probe.ExecArgv(c.VMID, argv...)}
}

// pickGuest returns the named container, or an error that says which there are.
func (s *session) pickGuest(ctx context.Context, host *node, app, name string) (*pct.Guest, error) {
	guests, node, err := pct.Look(ctx, host)
	if err != nil {
		return nil, err
	}
	if g := guests.Current(node, app, name); g != nil {
		return g, nil
	}
	return nil, s.noSuchContainer(ctx, host, guests, app, name)
}

// noSuchContainer says that a container is not on the node, and which one may be meant,
// or what became of its app.
func (s *session) noSuchContainer(ctx context.Context, host *node, guests *pct.Guests, app, name string) error {
	full := app + "/" + name
	err := fmt.Errorf("there is no container %q on %s", full, host.Name())
	if there := guests.Named(app, name); len(there) > 0 {
		return engine.WithHint(err, "it is on the node "+there[0].Node+" of the cluster")
	}
	var all, ofApp []string
	for _, g := range guests.Mine() {
		all = append(all, g.ID.App+"/"+g.ID.Name)
		if g.ID.App == app {
			ofApp = append(ofApp, g.ID.Name)
		}
	}
	if len(ofApp) == 0 {
		if gone := s.onlyDataLeft(ctx, host, app); gone != nil {
			return gone
		}
	}
	switch near := nearest(full, all); {
	case near != "":
		return fmt.Errorf("%w (did you mean %q?)", err, near)
	case len(ofApp) > 0:
		return engine.WithHint(err, "containers of "+app+": "+strings.Join(slices.Compact(ofApp), ", "))
	}
	return s.noSuchApp(ctx, host, app)
}
