package main

import (
	"github.com/tengil/tengil/builtins/zfs"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// dataDir checks the directory that stands in for a pool on a node without ZFS.
func dataDir(p engine.Pool, a *engine.Answers) check {
	if _, err := zfs.CheckDataDir(a, p.Dir); err != nil {
		return failed("pool", err)
	}
	free, err := pve.FreeSpace(a, p.Dir)
	if err != nil {
		return failed("pool", err)
	}
	return room("pool", p.Name+", in "+p.Dir, "on the node:\n    du -xh "+p.Dir+" | sort -h | tail", free)
}
