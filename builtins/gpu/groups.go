package gpu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

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
		err = errors.Join(err, pct.Unmount(ctx, h, vmid))
	}
	return groups, err
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
	var exit *engine.ExitError
	switch {
	case err == nil && strings.TrimSpace(string(kind)) == "directory":
		return dir, false, nil
	case err != nil && !errors.As(err, &exit):
		return "", false, err
	}
	dir, err = pct.MountRoot(ctx, h, vmid)
	return dir, err == nil, err
}

// groupsBelow reads the group file below root. A link that leads out of root,
// as any absolute link does when seen from the node, is not followed.
func groupsBelow(ctx context.Context, h engine.Host, root string) (map[string]int, error) {
	name := root + "/etc/group"
	// -m succeeds also where a directory on the way is missing, so that a failure says
	// that it could not be looked at.
	out, err := act.Look(ctx, h, "readlink", "-m", name)
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
