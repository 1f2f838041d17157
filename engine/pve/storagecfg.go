package pve

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/tengil/tengil/engine"
)

// ParseStorageCfg reads /etc/pve/storage.cfg (SectionConfig.pm): sections
// "TYPE: NAME" with indented "key value" lines, in order.
func ParseStorageCfg(data []byte) ([]engine.Storage, error) {
	var out []engine.Storage
	for i, line := range strings.Split(string(data), "\n") {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		if line[0] != ' ' && line[0] != '\t' {
			kind, name, ok := strings.Cut(trimmed, ":")
			name = strings.TrimSpace(name)
			if !ok || !storageType.MatchString(kind) || CheckStorageID(name) != nil {
				return nil, fmt.Errorf("%s: line %d is %.80q; wanted TYPE: NAME", StorageCfgFile, i+1, line)
			}
			out = append(out, engine.Storage{Name: name, Type: kind})
			continue
		}
		if len(out) == 0 {
			return nil, fmt.Errorf("%s: line %d is %.80q before any section", StorageCfgFile, i+1, line)
		}
		setStorage(&out[len(out)-1], trimmed)
	}
	for i := range out {
		completeStorage(&out[i])
	}
	return out, nil
}

var storageType = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

func setStorage(s *engine.Storage, line string) {
	key, value, _ := strings.Cut(line, " ")
	value = strings.TrimSpace(value)
	switch key {
	case "content":
		s.Content = strings.FieldsFunc(value, isListSeparator)
	case "path":
		s.Path = value
	case "pool":
		if s.Type == "zfspool" {
			s.Pool = value
		}
	case "nodes":
		s.Nodes = strings.FieldsFunc(value, isListSeparator)
	case "disable":
		s.Off = value == "" || value == "1"
	}
}

// completeStorage fills in what PVE takes when a section has no content line.
func completeStorage(s *engine.Storage) {
	if s.Content != nil {
		return
	}
	switch s.Type {
	case "dir", "btrfs", "nfs", "cifs", "cephfs":
		s.Content = []string{"images", "rootdir", "vztmpl", "iso", "snippets"}
	case "zfspool", "lvm", "lvmthin", "rbd":
		s.Content = []string{"images", "rootdir"}
	}
}

// StorageMounts returns where storages say that something has to be mounted
// before they are used: their is_mountpoint, which is yes or a path.
func StorageMounts(data []byte) []string {
	var out []string
	var dir, at string
	end := func() {
		switch at {
		case "", "0", "no", "off", "false":
		case "1", "yes", "on", "true":
			out = append(out, dir)
		default:
			out = append(out, at)
		}
		dir, at = "", ""
	}
	for line := range strings.Lines(string(data)) {
		if line[0] != ' ' && line[0] != '\t' && line[0] != '\n' {
			end()
		}
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key {
		case "path":
			dir = strings.TrimSpace(value)
		case "is_mountpoint":
			at = strings.TrimSpace(value)
		}
	}
	end()
	return out
}
