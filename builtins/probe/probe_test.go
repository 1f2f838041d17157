package probe

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tengil/tengil/engine"
)

// A host dials the test's own servers whatever address is asked for, and runs
// nothing.
type host struct {
	engine.Host
	dialled string
	ran     []string
	exit    int
}

func (h *host) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	h.dialled = addr
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}

func (h *host) Run(_ context.Context, c engine.Cmd) (engine.Result, error) {
	h.ran = c.Argv
	if !c.ReadOnly {
		return engine.Result{}, errors.New("a probe changes nothing")
	}
	if h.exit != 0 {
		return engine.Result{Exit: h.exit}, &engine.ExitError{Argv: c.Argv, Exit: h.exit, Stderr: []byte("no server running\n")}
	}
	return engine.Result{}, nil
}

func serve(t *testing.T, tls bool, status int) (port int) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() != "/health?full=1" {
			status = http.StatusNotFound
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	if tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	_, text, _ := net.SplitHostPort(s.Listener.Addr().String())
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestHTTP(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int // of the server
		want   int // of the probe; 0 for its default
		https  bool
		ready  bool
	}{
		{"200 is ready", 200, 0, false, true},
		{"a redirect is ready and not followed", 302, 0, false, true},
		{"an error of the server is not", 503, 0, false, false},
		{"a page that is missing is not", 404, 0, false, false},
		{"a status asked for is the only one", 200, 204, false, false},
		{"a status asked for may be an error", 401, 401, false, true},
		{"a certificate of its own is fine", 200, 0, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &host{}
			p := httpProbe{port: serve(t, tt.https, tt.status), path: "/health?full=1", status: tt.want, https: tt.https, timeout: 5 * time.Second}
			err := p.Check(t.Context(), h, Target{Address: "fd00::7"})
			if (err == nil) != tt.ready {
				t.Errorf("wanted ready=%v, got %v", tt.ready, err)
			}
			if want := net.JoinHostPort("fd00::7", strconv.Itoa(p.port)); h.dialled != want {
				t.Errorf("dialled %q, wanted %q", h.dialled, want)
			}
		})
	}
}

func TestTCP(t *testing.T) {
	p := tcpProbe{port: serve(t, false, 200), timeout: time.Second}
	if err := p.Check(t.Context(), &host{}, Target{Address: "10.0.0.7"}); err != nil {
		t.Errorf("a port that listens: %v", err)
	}
	if err := p.Check(t.Context(), &host{}, Target{}); err == nil || !strings.Contains(err.Error(), "no address yet") {
		t.Errorf("a container without an address: wanted an error that says so, got %v", err)
	}
	closed := tcpProbe{port: 1, timeout: time.Second}
	if err := closed.Check(t.Context(), &host{}, Target{Address: "10.0.0.7"}); err == nil {
		t.Error("a closed port: wanted an error")
	}
}

func TestExec(t *testing.T) {
	h := &host{}
	p := execProbe{argv: []string{"pg_isready", "-U", "a b"}, timeout: time.Second}
	if err := p.Check(t.Context(), h, Target{VMID: 101}); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(h.ran, "|"), "pct|exec|101|--keep-env|0|--|pg_isready|-U|a b"; got != want {
		t.Errorf("ran %q, wanted %q", got, want)
	}
	h.exit = 2
	if err := p.Check(t.Context(), h, Target{VMID: 101}); err == nil || !strings.Contains(err.Error(), "no server running") {
		t.Errorf("wanted the command's own words, got %v", err)
	}
}
