//go:build !linux

package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab"
)

var errNoLXC = engine.WithHint(errors.New("containers run for real on Linux only"), "the model runs here:\n    tg lab start")

func (*session) labEnclose(context.Context, string, labFlags) error { return errNoLXC }

func labChecks() []check { return []check{problem("system", "", "%v", errNoLXC)} }

func (*session) labRealOptions(string, labFlags) (*lab.Real, error) { return nil, nil }

func labSweep(string) error { return nil }

func (*session) labInitCmd() *cobra.Command {
	return &cobra.Command{Use: "init", Hidden: true, RunE: func(*cobra.Command, []string) error { return errNoLXC }}
}
