package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// HTTPReady returns the constructor http_ready.
func HTTPReady() engine.Constructor {
	return engine.Constructor{
		Name:    "http_ready",
		Doc:     "Ready when the container answers a GET with a status from 200 to 399, or the one given. Redirects are not followed.",
		Example: `http_ready(2283, "/api/server/ping")`,
		Params: []engine.Param{
			portParam(),
			{Name: "path", Type: engine.TypeString, Default: `"/"`, Position: 2, Doc: "Path to ask for, with a query if need be.", Example: `"/health"`},
			{Name: "status", Type: engine.TypeInt, Default: "200 to 399", Doc: "The one status that counts.", Example: `204`},
			{Name: "https", Type: engine.TypeBool, Default: "False",
				Doc: "Ask over TLS. The certificate is not checked: only that something answers.", Example: `True`},
			timeoutParam(),
		},
		New: newHTTP,
	}
}

type httpProbe struct {
	port    int
	path    string
	status  int // 0: 200 to 399
	https   bool
	timeout time.Duration
}

func newHTTP(c engine.Call) (any, error) {
	p := httpProbe{path: c.Args.String("path"), https: c.Args.Bool("https"), status: int(c.Args.Int("status"))}
	var err error
	if p.port, err = port(c.Args); err != nil {
		return nil, err
	}
	if p.path == "" || !c.Args.Has("path") {
		p.path = "/"
	}
	if r, at := pve.ControlChars(p.path); at >= 0 {
		return nil, engine.ArgErrorf("path", "%q holds the control character %U at byte %d", p.path, r, at)
	}
	if _, err := url.ParseRequestURI(p.path); err != nil || !strings.HasPrefix(p.path, "/") {
		return nil, engine.ArgErrorf("path", "wanted a path that starts with /, got %q", p.path)
	}
	if !c.Args.Has("status") {
		p.status = 0
	} else if p.status < 100 || p.status > 599 {
		return nil, engine.ArgErrorf("status", "wanted 100 to 599, got %d", p.status)
	}
	p.timeout, err = timeout(c.Args)
	return Probe(p), err
}

func (p httpProbe) Check(ctx context.Context, h engine.Host, t Target) error {
	if t.Address == "" {
		return errNoAddress(p)
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	u := p.scheme() + "://" + net.JoinHostPort(t.Address, strconv.Itoa(p.port)) + p.path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	res, err := p.client(h).Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	defer func() { _ = res.Body.Close() }() // the body is of no interest
	if !p.accepts(res.StatusCode) {
		return fmt.Errorf("%s: answered %s, wanted %s", p, res.Status, p.wants())
	}
	return nil
}

// client asks once, over a connection that the node makes.
func (p httpProbe) client(h engine.Host) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:       h.Dial,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // own certificates are the rule in containers, and nothing is sent
			DisableKeepAlives: true,
			ForceAttemptHTTP2: false,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (p httpProbe) scheme() string {
	if p.https {
		return "https"
	}
	return "http"
}

func (p httpProbe) accepts(status int) bool {
	if p.status != 0 {
		return status == p.status
	}
	return status >= 200 && status < 400
}

func (p httpProbe) wants() string {
	if p.status != 0 {
		return strconv.Itoa(p.status)
	}
	return "200 to 399"
}

func (p httpProbe) String() string { return p.scheme() + " :" + strconv.Itoa(p.port) + p.path }
