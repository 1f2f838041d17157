package main

import (
	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/pct"
)

func (s *session) startCmd() *cobra.Command {
	return s.turnCmd(pct.TurnOn, &cobra.Command{
		Short: "Start an application, or one container of it",
		Long: `Start the containers of an application in the order in which they need each other,
and wait until each is ready. A single container brings along what it needs.

Order and probes are those of the last tg run, which the node remembers.`,
		Example: `  tg start immich
  tg start immich/server`,
	})
}
