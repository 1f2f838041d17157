package pve

import (
	"bytes"
	"errors"

	"github.com/tengil/tengil/engine"
)

// NotInContainer reports whether err says that a container does not have the
// program that pct exec was to run there: in LXC's words, whatever the status.
func NotInContainer(err error) bool {
	var exit *engine.ExitError
	return errors.As(err, &exit) && bytes.Contains(exit.Stderr, []byte("lxc_attach_run_command")) && bytes.Contains(exit.Stderr, []byte("Failed to exec"))
}
