package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// editConfig changes the configuration file in one step. A file that cannot be
// read, or that somebody else changes meanwhile, is left as it is; a symbolic link
// stays one. Only its owner may read it.
func (s *session) editConfig(edit func(*config) error) error {
	name, err := s.configFile()
	if err != nil {
		return err
	}
	conf, err := s.config()
	if err != nil {
		return err
	}
	was, err := readIfThere(name)
	if err != nil {
		return err
	}
	if err := edit(&conf); err != nil {
		return err
	}
	data, err := json.MarshalIndent(conf, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	if to, err := filepath.EvalSymlinks(name); err == nil {
		name = to
	}
	now, err := readIfThere(name)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, was) {
		return fmt.Errorf("%s was changed meanwhile; try again", name)
	}
	return writePrivate(name, append(data, '\n'))
}

// readIfThere returns nil for a file that is not there.
func readIfThere(name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}
