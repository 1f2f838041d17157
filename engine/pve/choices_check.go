package pve

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/tengil/tengil/engine"
)

// The most that a host's owner may choose to run at once. A download and an unpacking hold a
// session of the connection each, of which there are 8 and two must stay free.
const (
	maxLong   = 6
	maxStarts = 32
)

// CheckChoices checks what of an owner's choices can be checked without the node:
// limits, mirrors, nameservers and the range.
func CheckChoices(c engine.Choices) error {
	if _, err := ParseRange(c.Range, c.Gateway); err != nil {
		return err
	}
	for _, addr := range strings.Fields(c.Nameserver) {
		if _, err := netip.ParseAddr(addr); err != nil {
			return fmt.Errorf("nameserver: wanted IP addresses, got %q", addr)
		}
	}
	if err := checkLimits(c.Limits); err != nil {
		return err
	}
	return checkMirrors(c.Mirrors)
}

// checkLimits checks the limits that a host's owner has chosen.
func checkLimits(l engine.Limits) error {
	for _, c := range []struct {
		name      string
		have, max int
	}{
		{"downloads", l.Downloads, maxLong}, {"unpacks", l.Unpacks, maxLong}, {"starts", l.Starts, maxStarts},
	} {
		if c.have < 0 || c.have > c.max {
			return fmt.Errorf("limit of %s: wanted 1 to %d, or 0 for tengil's own, got %d", c.name, c.max, c.have)
		}
	}
	return nil
}

// A registry is a host, maybe with a port; a mirror may have a path besides, as
// one that stands for several registries does (distribution/reference).
var (
	registryName = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?$`)
	})
	mirrorName = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(registryName().String()[:len(registryName().String())-1] + `(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	})
)

// checkMirrors checks the mirrors that a host's owner has chosen, by registry.
func checkMirrors(mirrors map[string]string) error {
	for _, registry := range slices.Sorted(maps.Keys(mirrors)) {
		mirror := mirrors[registry]
		switch {
		case !registryName().MatchString(registry):
			return fmt.Errorf("mirror of %q: wanted a registry, such as docker.io", registry)
		case registry == "index.docker.io" || registry == "registry-1.docker.io":
			return fmt.Errorf("mirror of %q: images name that registry docker.io", registry)
		case !mirrorName().MatchString(mirror):
			return fmt.Errorf("mirror of %s: wanted a registry, such as mirror.lan:5000 or mirror.lan/hub, got %q", registry, mirror)
		case mirror == registry:
			return fmt.Errorf("mirror of %s: it is that registry itself", registry)
		}
	}
	return nil
}
