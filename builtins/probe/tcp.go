package probe

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/tengil/tengil/engine"
)

// TCPReady returns the constructor tcp_ready.
func TCPReady() engine.Constructor {
	return engine.Constructor{
		Name:    "tcp_ready",
		Doc:     "Ready when a TCP port of the container accepts a connection.",
		Example: `tcp_ready(6379)`,
		Params:  []engine.Param{portParam(), timeoutParam()},
		New:     newTCP,
	}
}

type tcpProbe struct {
	port    int
	timeout time.Duration
}

func newTCP(c engine.Call) (any, error) {
	var p tcpProbe
	var err error
	if p.port, err = port(c.Args); err != nil {
		return nil, err
	}
	p.timeout, err = timeout(c.Args)
	return Probe(p), err
}

func (p tcpProbe) Check(ctx context.Context, h engine.Host, t Target) error {
	if t.Address == "" {
		return errNoAddress(p)
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	conn, err := h.Dial(ctx, "tcp", net.JoinHostPort(t.Address, strconv.Itoa(p.port)))
	if err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	return conn.Close()
}

func (p tcpProbe) String() string { return "tcp :" + strconv.Itoa(p.port) }
