package main

import (
	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/pct"
)

func (s *session) stopCmd() *cobra.Command {
	return s.turnCmd(pct.TurnOff, &cobra.Command{
		Short: "Stop an application, or one container of it",
		Long: `Shut the containers of an application down, what needs others before those. Each
gets its stop signal and a minute.

They start again with tg start, with tg run, and with the node unless the recipe
says onboot = False.`,
		Example: `  tg stop immich
  tg stop immich/machine-learning`,
	})
}
