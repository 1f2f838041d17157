package probe

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

func TestAProbeIsKeptAsItIs(t *testing.T) {
	for _, p := range []Probe{
		nil,
		tcpProbe{port: 6379, timeout: time.Second},
		httpProbe{port: 80, path: "/health?full=1", status: 204, https: true, timeout: time.Minute},
		execProbe{argv: []string{"pg_isready", "-U", "a b"}, timeout: 5 * time.Second},
	} {
		data, err := Keep(p)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Kept(data); err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%s gives %#v, %v; want %#v", data, got, err, p)
		}
	}
}

func TestWhatIsNoProbeIsRefused(t *testing.T) {
	for _, data := range []string{
		`{"kind":"udp_ready","port":53,"timeout":1000}`,
		`{"kind":"tcp_ready","port":0,"timeout":1000}`,
		`{"kind":"tcp_ready","port":80}`,
		`{"kind":"http_ready","port":80,"path":"@host/","timeout":1000}`,
		`{"kind":"exec_ready","argv":["--help"],"timeout":1000}`,
		`[]`,
	} {
		if p, err := Kept(json.RawMessage(data)); err == nil {
			t.Errorf("%s is %#v; wanted an error", data, p)
		}
	}
}
