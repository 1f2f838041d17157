// Package bind is what zfs_dataset and host_dir tell pct_create about a
// directory of the node that a container may mount, so that the kinds need not
// import one another.
package bind

import "github.com/tengil/tengil/engine"

// A Source is a directory of the node that a container may mount. It is the
// Detail of a zfs_dataset or host_dir handle.
type Source struct {
	// Path is absolute. Of a dataset it is a hole, output "mountpoint" of Node,
	// which is known at plan time: the node, not the recipe, decides where a
	// dataset is mounted.
	Path engine.Text
	// Node must have succeeded before the directory is mounted.
	Node engine.NodeID
	// Dataset is the name of the ZFS dataset, "" for a plain directory.
	Dataset string
	// Dir is the directory that is the dataset on a host without ZFS, else "".
	Dir string
	// Owner is the user id inside the container that the directory is meant for;
	// nil where the recipe does not say.
	Owner *int
}

// Of returns the Source of a handle; ok is false for handles of other kinds.
func Of(h *engine.Handle) (s *Source, ok bool) {
	if h == nil {
		return nil, false
	}
	s, ok = h.Detail.(*Source)
	return s, ok
}

// HostID is the first id of the range that Proxmox gives unprivileged
// containers: id n inside owns files as HostID+n on the node (LXC.pm,
// parse_id_maps; /etc/subuid of a fresh node).
const HostID = 100000

// MaxID is the highest id inside an unprivileged container.
const MaxID = 65535
