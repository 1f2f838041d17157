package pve

import (
	"fmt"
	"strconv"
	"strings"
)

// DatacenterFile holds the options of the whole cluster, among them the ids that
// new guests get.
const DatacenterFile = "/etc/pve/datacenter.cfg"

// ParseNextIDRange returns the range of ids for new guests out of DatacenterFile:
// the option next-id, by default 100 to 999999 (DataCenterConfig.pm of pve-cluster).
func ParseNextIDRange(data []byte) (lowest, highest int, err error) {
	lowest, highest = 100, 999999
	for line := range strings.Lines(string(data)) {
		value, ok := strings.CutPrefix(strings.TrimSpace(line), "next-id:")
		if !ok {
			continue
		}
		p, err := ParseProps(strings.TrimSpace(value), "")
		if err != nil {
			return 0, 0, fmt.Errorf("%s: next-id: %w", DatacenterFile, err)
		}
		for key, to := range map[string]*int{"lower": &lowest, "upper": &highest} {
			text, ok := p.Get(key)
			if !ok {
				continue
			}
			if *to, err = strconv.Atoi(text); err != nil || *to < 100 {
				return 0, 0, fmt.Errorf("%s: next-id: %s is %q, wanted a number from 100", DatacenterFile, key, text)
			}
		}
	}
	return lowest, highest, nil
}

// A Volume is a volume of a storage.
type Volume struct {
	ID   string
	Size int64 // bytes
}

// ParseVolumeList returns the volumes that "pvesm list STORAGE" prints: a heading,
// then a line for each with its id, format, type, size in bytes and, if it has one,
// its guest.
func ParseVolumeList(out []byte) ([]Volume, error) {
	var volumes []Volume
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "Volid" {
			continue
		}
		if _, err := ParseVolID(f[0]); err != nil {
			return nil, fmt.Errorf("pvesm list: %w", err)
		}
		v := Volume{ID: f[0]}
		if len(f) > 3 {
			v.Size, _ = strconv.ParseInt(f[3], 10, 64) // what has no size has none that counts
		}
		volumes = append(volumes, v)
	}
	return volumes, nil
}
