package lab

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// applyOptions writes options to the main section as update_pct_config does.
func (c *guestCall) applyOptions(conf *pve.Config, options map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(options)) {
		v, err := c.storedValue(k, options[k])
		if err != nil {
			return err
		}
		if isIndexed(k, "net") {
			if v, err = c.completeNet(v); err != nil {
				return err
			}
		}
		setOption(&conf.Section, k, v)
	}
	return nil
}

// storedValue checks an option further than the schema does and returns the text
// that is kept.
func (c *guestCall) storedValue(key, value string) (string, error) {
	switch {
	case key == "tags":
		return pve.NormalizeTags(pve.ParseTags(value)), nil
	case key == "nameserver" || key == "searchdomain":
		return strings.Join(pve.ParseTags(value), " "), nil
	case isIndexed(key, "net"):
		return value, checkNet(key, value)
	case isIndexed(key, "dev"):
		return value, c.node.checkDevice(value)
	}
	return value, nil
}

// checkNet refuses what an interface that the node configures cannot do.
func checkNet(key, value string) error {
	nic, err := pve.ParseNet(value)
	if err != nil {
		return dief(255, "%v", err)
	}
	if nic.IP6 == "auto" && nic.HostManaged.True() {
		return dief(25, "%s: SLAAC is not supported for host-managed network configuration.", key)
	}
	return nil
}

// completeNet prints an interface as PVE does, with a hardware address if it had none.
func (c *guestCall) completeNet(value string) (string, error) {
	nic, err := pve.ParseNet(value)
	if err != nil {
		return "", dief(255, "%v", err)
	}
	if nic.HWAddr == "" {
		nic.HWAddr = c.node.drawHWAddr(c.id)
	}
	if nic.Type == "" {
		nic.Type = "veth"
	}
	return nic.String(), nil
}

// drawHWAddr returns a new hardware address with Proxmox's prefix. Which one
// depends on nothing but the container's id and how many were drawn for it.
func (n *node) drawHWAddr(id int) string {
	var drawn int
	n.changeGuest(id, func(g *guestState) {
		g.Drawn++
		drawn = g.Drawn
	})
	x := uint32(id)*2654435761 + uint32(drawn)*40503
	x ^= x >> 15
	x *= 2246822519
	x ^= x >> 13
	return fmt.Sprintf("BC:24:11:%02X:%02X:%02X", byte(x>>16), byte(x>>8), byte(x))
}

// checkDevice refuses a device node that the node does not have. The lab's device
// nodes are plain files below /dev.
func (n *node) checkDevice(value string) error {
	d, err := pve.ParseDevice(value)
	if err != nil {
		return dief(255, "%v", err)
	}
	fi, err := n.stat(d.Path)
	if err != nil {
		return dief(2, "Device %s does not exist", d.Path)
	}
	if fi.IsDir() {
		return dief(2, "%s is not a device", d.Path)
	}
	return nil
}
