package gpu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/builtins/bind"
	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// readGroups returns the groups that the image of a container has, by name; none
// where it has no /etc/group.
func readGroups(ctx context.Context, h engine.Host, vmid int) (map[string]int, error) {
	root, mounted, err := rootDir(ctx, h, vmid)
	if err != nil {
		return nil, err
	}
	groups, err := groupsBelow(ctx, h, root)
	if mounted {
		err = errors.Join(err, unmount(ctx, h, vmid))
	}
	return groups, err
}

// unmountTimeout is how long a run that was called off still waits for the
// unmount: a container that stays mounted stays locked.
const unmountTimeout = 30 * time.Second

func unmount(ctx context.Context, h engine.Host, vmid int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unmountTimeout)
	defer cancel()
	return act.Do(ctx, h, "pct", "unmount", strconv.Itoa(vmid))
}

// mount mounts the root file system of a container. One that a run left mounted
// when it was killed is unmounted first; the app's lock tells that no run is at it.
func mount(ctx context.Context, h engine.Host, vmid int) error {
	argv := []string{"pct", "mount", strconv.Itoa(vmid)}
	err := act.Do(ctx, h, argv...)
	var locked *pve.LockedError
	if !errors.As(err, &locked) || locked.Lock != "mounted" {
		return err
	}
	if err := unmount(ctx, h, vmid); err != nil {
		return err
	}
	return act.Do(ctx, h, argv...)
}

// rootDir returns where the root file system of a container lies. One that is no
// directory (a disk image) is mounted; the caller must then unmount it.
func rootDir(ctx context.Context, h engine.Host, vmid int) (dir string, mounted bool, err error) {
	data, err := act.ReadFile(ctx, h, pct.ConfigFile(vmid))
	if err != nil {
		return "", false, err
	}
	config, err := pve.ParseConfig(data)
	if err != nil {
		return "", false, err
	}
	rootfs, err := pve.ParseMount(config.Get("rootfs"))
	if err != nil {
		return "", false, fmt.Errorf("CT %d: rootfs: %w", vmid, err)
	}
	out, err := act.Look(ctx, h, "pvesm", "path", rootfs.Volume)
	if err != nil {
		return "", false, err
	}
	dir = strings.TrimSuffix(string(out), "\n")
	kind, err := act.Look(ctx, h, "stat", "-c", "%F", dir)
	if err == nil && strings.TrimSpace(string(kind)) == "directory" {
		return dir, false, nil
	}
	if err := mount(ctx, h, vmid); err != nil {
		return "", false, err
	}
	return "/var/lib/lxc/" + strconv.Itoa(vmid) + "/rootfs", true, nil
}

// groupsBelow reads the group file below root. A link that leads out of root,
// as any absolute link does when seen from the node, is not followed.
func groupsBelow(ctx context.Context, h engine.Host, root string) (map[string]int, error) {
	name := root + "/etc/group"
	out, err := act.Look(ctx, h, "readlink", "-f", name)
	var exit *engine.ExitError
	if errors.As(err, &exit) {
		return nil, nil // a directory on the way is missing
	}
	if err != nil {
		return nil, err
	}
	real := strings.TrimSuffix(string(out), "\n")
	if !strings.HasPrefix(real, root+"/") {
		return nil, nil
	}
	data, err := act.ReadFile(ctx, h, real)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseGroups(data), nil
}

// parseGroups reads a group file (group(5)). The image wrote it, so lines that
// make no sense are passed over, and of two groups of one name the first counts,
// as it does for the C library.
func parseGroups(data []byte) map[string]int {
	groups := map[string]int{}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) < 3 {
			continue
		}
		gid, err := strconv.Atoi(f[2])
		if _, dup := groups[f[0]]; dup || err != nil || gid < 0 || gid > bind.MaxID {
			continue
		}
		groups[f[0]] = gid
	}
	return groups
}
