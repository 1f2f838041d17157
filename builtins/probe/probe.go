// Package probe holds the ways in which a recipe tells that an application is
// ready: a command inside its container, an open port, an HTTP answer. Ports are
// dialled through the connection to the node, so that neither the node nor the
// container needs a tool for it.
package probe

import (
	"context"
	"fmt"
	"time"

	"github.com/tengil/tengil/engine"
)

// A Target is a running container as far as a probe needs it.
type Target struct {
	VMID    int
	Address string // IP address; "" if it has none
}

// A Probe asks once whether an application is ready.
type Probe interface {
	// Check returns nil if it is, otherwise why not (yet). It changes nothing. An
	// error that wraps engine.ErrTransient says nothing about the application:
	// the connection to the node failed.
	Check(ctx context.Context, h engine.Host, t Target) error
	// String says what is asked, for plans and messages.
	String() string
}

// defaultTimeout is how long one try may take.
const defaultTimeout = 5 * time.Second

// timeoutParam is the parameter that all probes have.
func timeoutParam() engine.Param {
	return engine.Param{Name: "timeout", Type: engine.TypeDuration, Default: `"5s"`,
		Doc:     "How long one try may take. The container's `ready_timeout` limits all tries together.",
		Example: `"10s"`}
}

func timeout(a engine.Args) (time.Duration, error) {
	if !a.Has("timeout") {
		return defaultTimeout, nil
	}
	if d := a.Duration("timeout"); d > 0 && d <= time.Hour {
		return d, nil
	}
	return 0, engine.ArgErrorf("timeout", "wanted more than 0 and at most 1h, got %s", a.Duration("timeout"))
}

func portParam() engine.Param {
	return engine.Param{Name: "port", Type: engine.TypeInt, Required: true, Position: 1,
		Doc: "Port on the container's address.", Example: `8080`}
}

func port(a engine.Args) (int, error) {
	if p := a.Int("port"); p >= 1 && p <= 65535 {
		return int(p), nil
	}
	return 0, engine.ArgErrorf("port", "wanted 1 to 65535, got %d", a.Int("port"))
}

// errNoAddress is what a probe of a port says before a lease has come.
func errNoAddress(p Probe) error { return fmt.Errorf("%s: the container has no address yet", p) }
