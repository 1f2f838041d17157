package pct

import (
	"context"
	"errors"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// isExit reports whether a command ran and failed, as opposed to not having run.
func isExit(err error) bool {
	var exit *engine.ExitError
	return errors.As(err, &exit)
}

// readConfig returns a container's config as it is now; the error wraps
// fs.ErrNotExist if there is none.
func readConfig(ctx context.Context, h engine.Host, vmid int) (*pve.Config, error) {
	data, err := act.ReadFile(ctx, h, ConfigFile(vmid))
	if err != nil {
		return nil, err
	}
	return pve.ParseConfig(data)
}
