package pve

import (
	"strings"
	"testing"

	"github.com/tengil/tengil/engine"
)

func TestLimitsOfAHost(t *testing.T) {
	for _, tt := range []struct {
		limits engine.Limits
		want   string
	}{
		{engine.Limits{}, ""},
		{engine.Limits{Downloads: 6, Unpacks: 1, Starts: 32}, ""},
		{engine.Limits{Downloads: 7}, "limit of downloads: wanted 1 to 6, or 0 for tengil's own, got 7"},
		{engine.Limits{Unpacks: -1}, "limit of unpacks: wanted 1 to 6, or 0 for tengil's own, got -1"},
		{engine.Limits{Starts: 33}, "limit of starts: wanted 1 to 32, or 0 for tengil's own, got 33"},
	} {
		if got := errText(CheckChoices(engine.Choices{Limits: tt.limits})); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.limits, got, tt.want)
		}
	}
}

func TestMirrorsOfAHost(t *testing.T) {
	for _, tt := range []struct{ registry, mirror, want string }{
		{"docker.io", "mirror.lan:5000", ""},
		{"ghcr.io", "mirror.lan/proxy/ghcr", ""},
		{"registry.lan:5000", "[fd00::1]:5000", ""},
		{"docker.io", "https://mirror.lan", "got"},
		{"docker.io", "mirror.lan/", "got"},
		{"docker.io", "mirror.lan/a b", "got"},
		{"docker.io", "mirror.lan/UPPER", "got"},
		{"docker.io", "-mirror", "got"},
		{"docker.io", "mirror\n", "got"},
		{"docker.io", "", "got"},
		{"docker.io", "docker.io", "that registry itself"},
		{"https://docker.io", "mirror.lan", "wanted a registry, such as docker.io"},
		{"index.docker.io", "mirror.lan", "images name that registry docker.io"},
	} {
		got := errText(CheckChoices(engine.Choices{Mirrors: map[string]string{tt.registry: tt.mirror}}))
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s=%s: got %q, want %q", tt.registry, tt.mirror, got, tt.want)
		}
	}
}

func TestNameserversOfAHost(t *testing.T) {
	for nameserver, want := range map[string]string{
		"": "", "9.9.9.9 fd00::1": "", "nine": `nameserver: wanted IP addresses, got "nine"`, "1.1.1.1,8.8.8.8": `nameserver: wanted IP addresses, got "1.1.1.1,8.8.8.8"`,
	} {
		if got := errText(CheckChoices(engine.Choices{Nameserver: nameserver})); got != want {
			t.Errorf("%q: got %q, want %q", nameserver, got, want)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
