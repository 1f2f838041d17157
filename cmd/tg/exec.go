package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/engine"
)

func (s *session) execCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec APP/CONTAINER -- COMMAND…",
		Short: "Run a command in a container",
		Long: `Run a command in a container of an application, as the container's root and with
its environment. Standard input, what the command prints and its exit status are
passed on; in a loop that reads its own input, give tg </dev/null.`,
		Example: `  tg exec immich/db -- psql -U postgres -c 'select 1'
  tg exec immich/db -- psql -U postgres immich <dump.sql`,
		Args: func(cmd *cobra.Command, args []string) error {
			if rest := command(args); len(rest) == 0 {
				return exactly("APP/CONTAINER", "COMMAND")(cmd, args[:min(1, len(args))])
			}
			return nil
		},
		ValidArgsFunction: s.completeApp,
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.exec(cmd.Context(), args[0], command(args))
		},
	}
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

// exec runs a command in a container.
func (s *session) exec(ctx context.Context, name string, argv []string) error {
	app, container, ok := strings.Cut(name, "/")
	if !ok || app == "" || container == "" {
		return usagef("%q is no container; wanted APP/CONTAINER, as in immich/db", name)
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
	_, err = host.Run(ctx, engine.Cmd{
		Argv:   append([]string{"pct", "exec", strconv.Itoa(c.VMID), "--keep-env", "0", "--"}, argv...),
		Stdin:  s.term.In,
		Stdout: s.term.RawOut(),
		Stderr: s.term.RawErrOut(),
	})
	var exit *engine.ExitError
	if errors.As(err, &exit) {
		return statusError(exit.Exit)
	}
	return err
}

// pickGuest returns the named container, or an error that says which there are.
func (s *session) pickGuest(ctx context.Context, host engine.Host, app, name string) (*pct.Guest, error) {
	guests, node, err := pct.Look(ctx, host)
	if err != nil {
		return nil, err
	}
	return s.pickFrom(host, guests, node, app, name)
}

func (s *session) pickFrom(host engine.Host, guests *pct.Guests, node, app, name string) (*pct.Guest, error) {
	if g := guests.Current(node, app, name); g != nil {
		return g, nil
	}
	full := app + "/" + name
	err := fmt.Errorf("there is no container %q on %s", full, host.Name())
	if there := guests.Named(app, name); len(there) > 0 {
		return nil, engine.WithHint(err, "it is on the node "+there[0].Node+" of the cluster")
	}
	var all, ofApp []string
	for _, g := range guests.Mine() {
		all = append(all, g.ID.App+"/"+g.ID.Name)
		if g.ID.App == app {
			ofApp = append(ofApp, g.ID.Name)
		}
	}
	switch near := nearest(full, all); {
	case near != "":
		return nil, fmt.Errorf("%w (did you mean %q?)", err, near)
	case len(ofApp) > 0:
		return nil, engine.WithHint(err, "containers of "+app+": "+strings.Join(slices.Compact(ofApp), ", "))
	}
	return nil, engine.WithHint(err, "to see what is there:\n    "+s.line("ps"))
}
