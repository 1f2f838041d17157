package probe

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tengil/tengil/engine"
)

// kept is a probe as a node keeps it, so that an application is started as its
// recipe says where the recipe is not at hand. A probe holds no secret: its
// parameters are plain strings and numbers, which a secret never is in a recipe.
type kept struct {
	Kind    string        `json:"kind"` // the constructor's name
	Port    int           `json:"port,omitempty"`
	Path    string        `json:"path,omitempty"`
	Status  int           `json:"status,omitempty"`
	HTTPS   bool          `json:"https,omitempty"`
	Argv    []string      `json:"argv,omitempty"`
	Timeout time.Duration `json:"timeout"` // nanoseconds
}

// Keep returns a probe as JSON; nil for none.
func Keep(p Probe) (json.RawMessage, error) {
	var k kept
	switch p := p.(type) {
	case nil:
		return nil, nil
	case tcpProbe:
		k = kept{Kind: "tcp_ready", Port: p.port, Timeout: p.timeout}
	case httpProbe:
		k = kept{Kind: "http_ready", Port: p.port, Path: p.path, Status: p.status, HTTPS: p.https, Timeout: p.timeout}
	case execProbe:
		k = kept{Kind: "exec_ready", Argv: p.argv, Timeout: p.timeout}
	default:
		return nil, fmt.Errorf("probe %s of type %T cannot be kept", p, p)
	}
	return json.Marshal(k)
}

// Kept returns the probe that Keep gave; nil for none.
func Kept(data json.RawMessage) (Probe, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	port, path := k.Port >= 1 && k.Port <= 65535, strings.HasPrefix(k.Path, "/")
	switch ok := k.Timeout > 0 && k.Timeout <= time.Hour; {
	case ok && k.Kind == "tcp_ready" && port:
		return tcpProbe{port: k.Port, timeout: k.Timeout}, nil
	case ok && k.Kind == "http_ready" && port && path:
		return httpProbe{port: k.Port, path: k.Path, status: k.Status, https: k.HTTPS, timeout: k.Timeout}, nil
	case ok && k.Kind == "exec_ready" && CheckArgv(k.Argv) == nil:
		return execProbe{argv: k.Argv, timeout: k.Timeout}, nil
	}
	return nil, engine.WithHint(fmt.Errorf("%s is no probe that this tg knows", data), "a newer tg may have kept it; update this one")
}
