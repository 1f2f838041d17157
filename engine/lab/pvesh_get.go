package lab

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// pveshGet answers a GET of the API.
func (c *guestCall) pveshGet(parts []string) (any, error) {
	switch strings.Join(parts, "/") {
	case "version":
		return c.node.apiVersion(), nil
	case "cluster/nextid":
		return c.nextID()
	case "cluster/resources":
		return c.node.apiResources(c.opts["type"])
	case "nodes":
		return []any{map[string]any{"id": "node/" + c.node.name, "node": c.node.name, "ssl_fingerprint": nil, "status": "online", "type": "node"}}, nil
	case "storage":
		return c.node.apiStorages()
	}
	if len(parts) < 3 || parts[0] != "nodes" {
		return nil, noHandler("get", parts)
	}
	switch parts[2] {
	case "lxc":
		return c.getGuests(parts)
	case "storage":
		return c.getStorage(parts)
	case "status":
		return c.node.apiNodeStatus(), nil
	case "tasks":
		return c.getTasks(parts)
	case "version":
		return c.node.apiVersion(), nil
	}
	return nil, noHandler("get", parts)
}

func (n *node) apiVersion() map[string]any {
	manager := n.packages().packages["pve-manager"]
	return map[string]any{"release": n.release(), "repoid": "0e85aecd829f838c", "version": manager}
}

// nextID returns the lowest free id, or says of one whether it is free.
func (c *guestCall) nextID() (any, error) {
	if want := c.opts["vmid"]; want != "" {
		id, refused := parseVMID(want)
		if refused != "" {
			return nil, paramError{"vmid": refused}
		}
		if err := c.node.idUnused(id); err != nil {
			return nil, paramError{"vmid": fmt.Sprintf("VM %d already exists", id)}
		}
		return want, nil
	}
	for id := 100; ; id++ {
		if c.node.idUnused(id) == nil {
			return strconv.Itoa(id), nil
		}
	}
}

func (n *node) apiResources(only string) (any, error) {
	out := []any{}
	if only == "" || only == "vm" {
		for _, id := range n.guestIDs() {
			conf, err := n.guestConfig(id)
			if err != nil {
				continue // destroyed meanwhile
			}
			s := n.guestStatus(id, conf)
			r := map[string]any{"id": fmt.Sprintf("lxc/%d", id), "node": n.name, "template": 0}
			for _, k := range []string{"vmid", "name", "type", "status", "tags", "lock", "uptime", "maxmem", "maxdisk"} {
				if v, ok := s[k]; ok {
					r[k] = v
				}
			}
			out = append(out, r)
		}
	}
	if only == "" || only == "node" {
		out = append(out, map[string]any{"id": "node/" + n.name, "node": n.name, "status": "online", "type": "node"})
	}
	if only != "" && only != "storage" {
		return out, nil
	}
	all, err := n.storages()
	for _, s := range all {
		out = append(out, map[string]any{
			"content": strings.Join(s.Content, ","), "id": "storage/" + n.name + "/" + s.Name, "node": n.name,
			"plugintype": s.Type, "shared": 0, "status": "available", "storage": s.Name, "type": "storage",
		})
	}
	return out, err
}

func (n *node) apiNodeStatus() map[string]any {
	return map[string]any{
		"cpu": 0, "cpuinfo": map[string]any{"cores": cores, "cpus": cores, "sockets": 1, "hvm": "1"},
		"current-kernel": map[string]any{"machine": "x86_64", "release": kernelRelease, "sysname": "Linux"},
		"kversion":       "Linux " + kernelRelease, "loadavg": []string{"0.16", "0.07", "0.40"},
		"pveversion": "pve-manager/" + n.packages().packages["pve-manager"] + "/0e85aecd829f838c",
		"uptime":     2373, "wait": 0, "idle": 0,
	}
}

// getGuests answers what lies below /nodes/N/lxc.
func (c *guestCall) getGuests(parts []string) (any, error) {
	if len(parts) == 3 {
		out := []any{}
		for _, id := range c.node.guestIDs() {
			if conf, err := c.node.guestConfig(id); err == nil {
				out = append(out, c.node.guestStatus(id, conf))
			}
		}
		return out, nil
	}
	id, refused := parseVMID(parts[3])
	if refused != "" {
		return nil, paramError{"vmid": refused}
	}
	what := strings.Join(parts[4:], "/")
	if what == "interfaces" {
		return c.interfaces(id), nil
	}
	conf, err := c.loadConfig(id)
	if err != nil {
		return nil, err
	}
	switch what {
	case "":
		return guestSubdirs(), nil
	case "config":
		return c.node.apiConfig(id, conf, c.opts["current"] == "1"), nil
	case "status/current":
		s := c.node.guestStatus(id, conf)
		s["ha"] = map[string]any{"managed": 0}
		return s, nil
	case "pending":
		return c.node.apiPending(id, conf), nil
	case "snapshot":
		return c.node.apiSnapshots(id, conf), nil
	}
	return nil, noHandler("get", parts)
}

func guestSubdirs() []any {
	var out []any
	for _, d := range strings.Fields("config pending status vncproxy termproxy vncwebsocket spiceproxy migrate clone rrd rrddata firewall snapshot resize interfaces") {
		out = append(out, map[string]any{"subdir": d})
	}
	return out
}

// typed returns an option's value as the API types it.
func typed(key, value string) any {
	family, _ := pve.Family(key)
	switch pve.Schema("set")[family].Type {
	case "integer", "boolean":
		if i, err := strconv.ParseInt(value, 10, 64); err == nil {
			return i
		}
	}
	if key == "description" {
		return value
	}
	return undecoded(value)
}

// undecoded is what becomes of text that PVE reads from a file without decoding
// it: each byte is printed as a character.
func undecoded(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

func (n *node) apiConfig(id int, conf *pve.Config, current bool) map[string]any {
	s := merged(conf)
	if current {
		s = &conf.Section
	}
	out := map[string]any{"digest": n.configDigest(id)}
	for _, k := range optionKeys(s) {
		v, _ := option(s, k)
		out[k] = typed(k, v)
	}
	if conf.Get("unprivileged") == "1" {
		out["unprivileged"] = 1
	}
	var raw []any
	for _, kv := range s.Raw {
		raw = append(raw, []string{kv.Key, undecoded(kv.Value)})
	}
	if raw != nil {
		out["lxc"] = raw
	}
	return out
}

func (n *node) apiPending(id int, conf *pve.Config) []any {
	var out []any
	for _, r := range pendingRows(conf) {
		row := map[string]any{"key": r.key}
		if r.set {
			row["value"] = typed(r.key, r.value)
		}
		if r.changed {
			row["pending"] = typed(r.key, r.pending)
		}
		if r.deletion {
			row["delete"] = 1
		}
		out = append(out, row)
	}
	return append(out, map[string]any{"key": "digest", "value": n.configDigest(id)})
}

func (n *node) apiSnapshots(id int, conf *pve.Config) []any {
	var out []any
	for _, s := range conf.Snapshots {
		row := map[string]any{"name": s.Name, "description": s.Description}
		if t, err := strconv.ParseInt(s.Options["snaptime"], 10, 64); err == nil {
			row["snaptime"] = t
		}
		if p := s.Options["parent"]; p != "" {
			row["parent"] = p
		}
		out = append(out, row)
	}
	running := 0
	if n.guest(id).Running {
		running = 1
	}
	row := map[string]any{"name": "current", "description": "You are here!", "digest": n.configDigest(id), "running": running}
	if p := conf.Get("parent"); p != "" {
		row["parent"] = p
	}
	return append(out, row)
}
