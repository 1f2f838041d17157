package lab

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/tengil/tengil/engine/pve"
)

// guestStatus returns what the API says of a container (vmstatus in LXC.pm).
func (n *node) guestStatus(id int, conf *pve.Config) map[string]any {
	g := n.guest(id)
	number := func(key string, fallback int64) int64 {
		if v, err := strconv.ParseInt(conf.Get(key), 10, 64); err == nil {
			return v
		}
		return fallback
	}
	name := conf.Get("hostname")
	if name == "" {
		name = fmt.Sprintf("CT%d", id)
	}
	s := map[string]any{
		"vmid": id, "name": name, "type": "lxc", "status": "stopped",
		"cpu": 0, "cpus": number("cores", cores), "mem": 0, "swap": 0, "disk": 0, "uptime": 0,
		"maxmem": number("memory", 512) << 20, "maxswap": number("swap", 0) << 20, "maxdisk": n.rootSize(conf),
		"diskread": 0, "diskwrite": 0, "netin": 0, "netout": 0,
	}
	if l := conf.Lock(); l != "" {
		s["lock"] = l
	}
	if t := conf.Get("tags"); t != "" {
		s["tags"] = t
	}
	if conf.Get("template") == "1" {
		s["template"] = 1
	}
	if !g.Running {
		return s
	}
	maps.Copy(s, map[string]any{
		"status": "running", "pid": g.PID, "uptime": int64(time.Since(g.Since).Seconds()),
		"mem": 356352, "disk": n.diskUsage(g), "diskread": 110592, "netin": 340, "netout": 516,
	})
	for _, k := range []string{"cpufull", "cpusome", "iofull", "iosome", "memoryfull", "memorysome"} {
		s["pressure"+k] = "0.00"
	}
	return s
}

// rootSize returns the size of a container's root in bytes.
func (n *node) rootSize(conf *pve.Config) int64 {
	m, err := pve.ParseMount(conf.Get("rootfs"))
	if err != nil {
		return 0
	}
	return parseSize(m.Size)
}

// parseSize reads a size as a mount has it: "8G". What is none is 0.
func parseSize(s string) int64 {
	if s == "" {
		return 0
	}
	shift := map[byte]int{'K': 10, 'M': 20, 'G': 30, 'T': 40}[s[len(s)-1]]
	if shift > 0 {
		s = s[:len(s)-1]
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0
	}
	return int64(f * float64(int64(1)<<shift))
}

// diskUsage returns the bytes of the files in a container's root.
func (n *node) diskUsage(g guestState) int64 {
	if len(g.Mounts) == 0 {
		return 0
	}
	return n.usage(n.host(g.Mounts[0].Source), nil).bytes
}

// pctStatus prints whether the container runs, or all that the API says of it.
func pctStatus(c *guestCall) error {
	conf, err := c.loadConfig(c.id)
	if err != nil {
		return err
	}
	if c.opts["verbose"] != "1" {
		status := "stopped"
		if c.node.guest(c.id).Running {
			status = "running"
		}
		fmt.Fprintf(c.stdout, "status: %s\n", status)
		return nil
	}
	s := c.node.guestStatus(c.id, conf)
	delete(s, "cpu")
	for _, k := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(c.stdout, "%s: %v\n", k, s[k])
	}
	return nil
}

// pctList prints this node's containers.
func pctList(c *guestCall) error {
	for i, id := range c.node.guestIDs() {
		conf, err := c.node.guestConfig(id)
		if err != nil {
			continue // destroyed meanwhile
		}
		if i == 0 {
			fmt.Fprintf(c.stdout, "%-10s %-10s %-12s %-20s\n", "VMID", "Status", "Lock", "Name")
		}
		s := c.node.guestStatus(id, conf)
		fmt.Fprintf(c.stdout, "%-10d %-10s %-12s %-20s\n", id, s["status"], conf.Lock(), s["name"])
	}
	return nil
}
