package pct

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// unmountTimeout is how long a run that was called off still waits for the
// unmount: a container that stays mounted stays locked.
const unmountTimeout = 30 * time.Second

// MountRoot mounts the root file system of a container on the node, which locks
// the container, and returns where. The caller must call Unmount.
func MountRoot(ctx context.Context, h engine.Host, vmid int) (string, error) {
	err := Unmounted(ctx, h, vmid, func() error { return act.Do(ctx, h, "pct", "mount", strconv.Itoa(vmid)) })
	var exit *engine.ExitError
	if errors.As(err, &exit) && !errors.Is(err, pve.ErrLocked) {
		// The lock comes before the mount and stays when that fails (pct.pm, mount).
		err = errors.Join(err, Unmount(ctx, h, vmid))
	}
	return "/var/lib/lxc/" + strconv.Itoa(vmid) + "/rootfs", err
}

// Unmount undoes MountRoot, also where nothing is mounted under the lock.
func Unmount(ctx context.Context, h engine.Host, vmid int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unmountTimeout)
	defer cancel()
	return act.Do(ctx, h, "pct", "unmount", strconv.Itoa(vmid))
}

// Unmounted does something that the lock of a mounted container refuses. A mount
// that a run left when it was killed is ended first: the app's lock, which the
// caller holds, tells that no run is at it.
func Unmounted(ctx context.Context, h engine.Host, vmid int, do func() error) error {
	err := do()
	var locked *pve.LockedError
	if !errors.As(err, &locked) || locked.Lock != "mounted" {
		return err
	}
	if err := Unmount(ctx, h, vmid); err != nil {
		return err
	}
	return do()
}

// doUnmounted is act.Do of a command that changes a container, by Unmounted.
func doUnmounted(ctx context.Context, h engine.Host, vmid int, argv ...string) error {
	return Unmounted(ctx, h, vmid, func() error { return act.Do(ctx, h, argv...) })
}
