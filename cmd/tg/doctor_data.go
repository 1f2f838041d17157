package main

import (
	"context"

	"github.com/tengil/tengil/builtins/zfs"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// dataDir checks the directory that stands in for a pool on a node without ZFS.
func dataDir(ctx context.Context, host *node, p engine.Pool) check {
	a, err := host.Batch(ctx, append(zfs.DataDirAsks(p.Dir), pve.SpaceAsks([]string{p.Dir})...))
	if err != nil {
		return failed("pool", err)
	}
	if _, err := zfs.CheckDataDir(a, p.Dir); err != nil {
		return failed("pool", err)
	}
	free, err := pve.FreeSpace(a, p.Dir)
	if err != nil {
		return failed("pool", err)
	}
	return room("pool", p.Name+", in "+p.Dir, "on the node:\n    du -xh "+p.Dir+" | sort -h | tail", free)
}
