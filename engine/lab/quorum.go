package lab

// withoutQuorum is a subcommand of pct on a node whose cluster has no quorum.
// Those that make, change or start a container ask for it first
// (check_cfs_quorum in Cluster.pm). Of others that write the config it is
// inferred that pmxcfs refuses them. What runs can be looked at and stopped.
func withoutQuorum(name string, run func(c *guestCall) error) func(c *guestCall) error {
	switch name {
	case "create", "set", "start", "reboot":
		return func(*guestCall) error { return dief(255, "cluster not ready - no quorum?") }
	case "destroy", "unlock", "mount", "unmount", "resize", "move-volume", "snapshot", "delsnapshot", "rollback":
		return func(c *guestCall) error {
			if _, err := c.node.guestConfig(c.id); err != nil {
				return run(c) // it says that there is none
			}
			return dief(13, "unable to open file '/etc/pve/nodes/%s/lxc/%d.conf.tmp.%d' - Permission denied", c.node.name, c.id, c.pid)
		}
	}
	return run
}
