// Package builtins lists the step kinds and constructors that recipes have
// without loading anything.
package builtins

import (
	"github.com/tengil/tengil/builtins/gpu"
	"github.com/tengil/tengil/builtins/host"
	"github.com/tengil/tengil/builtins/oci"
	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/builtins/probe"
	"github.com/tengil/tengil/builtins/script"
	"github.com/tengil/tengil/builtins/secret"
	"github.com/tengil/tengil/builtins/zfs"
	"github.com/tengil/tengil/engine"
)

// Kinds returns the step kinds in reading order: the order of the reference.
func Kinds() []engine.Kind {
	return []engine.Kind{
		oci.Pull(),
		zfs.Dataset(),
		pct.Create(),
		gpu.Attach(),
		pct.Device(),
		host.Dir(),
		pct.File(),
		secret.Secret(),
		pct.Exec(),
		host.Exec(),
		script.Kinds(),
	}
}

// Constructors returns the functions that make values, in reading order.
func Constructors() []engine.Constructor {
	return []engine.Constructor{
		pct.MountConstructor(),
		probe.ExecReady(),
		probe.TCPReady(),
		probe.HTTPReady(),
	}
}
