package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine"
)

// A config is the file of what a person decides once: the hosts and what each
// gives to applications.
type config struct {
	Default string                `json:"default,omitempty"` // name of a host
	Hosts   map[string]hostConfig `json:"hosts"`
}

// A hostConfig is one host: how to reach it, and its owner's choices.
type hostConfig struct {
	Address string `json:"address"` // ssh://user@host:port, user@host, or an alias of ssh_config
	engine.Choices
}

// configFile returns where the configuration is: $XDG_CONFIG_HOME/tengil/config.json,
// by default below ~/.config.
func (s *session) configFile() (string, error) {
	dir := s.getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home, err := s.home()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "tengil", "config.json"), nil
}

// config reads the configuration file; without one it is empty. A field that
// nothing knows is an error, as it is a typing mistake.
func (s *session) config() (config, error) {
	name, err := s.configFile()
	if err != nil {
		return config{}, err
	}
	data, err := readInputFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return config{}, nil
	}
	if err != nil {
		return config{}, err
	}
	var c config
	if err := decodeInput(data, &c); err != nil {
		return config{}, fmt.Errorf("%s:%w", name, err)
	}
	if _, ok := c.Hosts[c.Default]; c.Default != "" && !ok && c.Default != labName {
		return config{}, fmt.Errorf("%s: default is %q, but hosts has %q", name, c.Default, slices.Sorted(maps.Keys(c.Hosts)))
	}
	for _, host := range slices.Sorted(maps.Keys(c.Hosts)) {
		h := c.Hosts[host]
		if host == "" || strings.HasPrefix(host, "-") {
			return config{}, fmt.Errorf("%s: %q is no name of a host", name, host)
		}
		if h.Address == "" {
			return config{}, fmt.Errorf("%s: host %q has no address", name, host)
		}
	}
	return c, nil
}
