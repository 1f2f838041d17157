package lab

import (
	"path"
	"strings"

	"github.com/tengil/tengil/engine"
)

// apiStorages answers /storage: what storage.cfg says.
func (n *node) apiStorages() (any, error) {
	all, err := n.storages()
	out := []any{}
	for _, s := range all {
		row := map[string]any{"content": strings.Join(s.Content, ","), "digest": "e52195ba5608a10e656da2681fb75efba5acba22", "storage": s.Name, "type": s.Type}
		if s.Path != "" {
			row["path"] = s.Path
		}
		if s.Pool != "" {
			row["pool"], row["sparse"] = s.Pool, 1
		}
		out = append(out, row)
	}
	return out, err
}

// getStorage answers what lies below /nodes/N/storage.
func (c *guestCall) getStorage(parts []string) (any, error) {
	if len(parts) == 3 {
		all, err := c.node.storages()
		out := []any{}
		for _, s := range all {
			row := c.node.apiStorageStatus(s)
			row["storage"] = s.Name
			if total := row["total"].(int64); total > 0 {
				row["used_fraction"] = float64(row["used"].(int64)) / float64(total)
			}
			out = append(out, row)
		}
		return out, err
	}
	s, err := c.node.storage(parts[3])
	if err != nil {
		return nil, err
	}
	switch strings.Join(parts[4:], "/") {
	case "status":
		return c.node.apiStorageStatus(s), nil
	case "content":
		out := []any{}
		for _, v := range c.node.content(s) {
			if kind := c.opts["content"]; kind != "" && kind != v.kind {
				continue
			}
			row := map[string]any{"content": v.kind, "format": v.format, "size": v.size, "volid": v.id}
			if v.owner > 0 {
				row["vmid"], row["name"], row["parent"] = v.owner, path.Base(v.id[strings.IndexByte(v.id, ':')+1:]), nil
			}
			if v.ctime > 0 {
				row["ctime"] = v.ctime
			}
			out = append(out, row)
		}
		return out, nil
	}
	return nil, noHandler("get", parts)
}

func (n *node) apiStorageStatus(s engine.Storage) map[string]any {
	total, used := n.storageSpace(s)
	return map[string]any{
		"active": 1, "avail": total - used, "content": strings.Join(s.Content, ","), "enabled": 1, "shared": 0,
		"total": total, "type": s.Type, "used": used,
	}
}
