package main

import (
	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/pct"
)

func (s *session) restartCmd() *cobra.Command {
	return s.turnCmd(pct.Restart, &cobra.Command{
		Short: "Restart an application, or one container of it",
		Long: `Stop the containers of an application and start them again, in order, and wait
until each is ready. A single container is restarted alone; with
--with-dependents, so is all that needs it.`,
		Example: `  tg restart immich
  tg restart immich/db --with-dependents`,
	})
}
